"""What is measured beside the batch sizes: gradient accumulation and prefetching, each against the plain step.

Sources: playbook, "Determining the feasible batch sizes and estimating training throughput" (accumulation gives no
throughput) and "Optimizing the input pipeline" (prefetching may).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from refplay.analysis.throughput import Comparison, Timing, measured, saturation
from refplay.data import prefetching
from refplay.errors import InputError
from refplay.procedures.setup import Setup, plain_step
from refplay.procedures.stopwatch import Contender, time_in_turns
from refplay.train import make_accumulated_step

PIECES = 4  # of a batch whose gradient is accumulated


def accumulation(
    setup: Setup, ours: Sequence[Timing], seconds: float, progress: Callable[[str], object]
) -> Comparison | None:
    """Time one batch of the largest size worth considering against the same batch in pieces.

    None where it cannot be cut into pieces with the same gradient, or memory runs out.
    """
    size = saturation(ours).batch_size
    try:
        network = setup.network()
        pieces = make_accumulated_step(network, setup.optimizer, size, PIECES, hyperparameters=setup.hyperparameters)
        progress(f"gradient accumulation at batch size {size}")
        other = Contender(setup.gather(size), plain_step(network, pieces), setup.waits_every)
        return _compare(setup, size, f"in {PIECES} pieces of {size // PIECES}", other, seconds)
    except (InputError, MemoryError):
        return None


def prefetch(
    setup: Setup, ours: Sequence[Timing], seconds: float, progress: Callable[[str], object]
) -> Comparison | None:
    """Time training without and with a thread that gathers ahead, at the size that waits for the largest share of it.

    None where memory runs out, or where batches are gathered on a device: there is nothing to wait for.
    """
    if setup.device is not None:
        return None
    size = max(measured(ours), key=lambda timing: timing.waiting_share).batch_size
    progress(f"prefetching at batch size {size}")
    with prefetching(setup.data.train, size, seed=0) as gather:
        try:
            other = Contender(gather, setup.step(setup.network(), size))
            return _compare(setup, size, "with a thread that gathers ahead", other, seconds)
        except MemoryError:
            return None


def _compare(setup: Setup, size: int, what: str, other: Contender, seconds: float) -> Comparison | None:
    plain = Contender(setup.gather(size), setup.step(setup.network(), size), setup.waits_every)
    found = time_in_turns({"plain": plain, "other": other}, size, {}, seconds)
    failed = any(timing.failed for timing in found.values())
    return None if failed else Comparison(what, found["plain"], found["other"])

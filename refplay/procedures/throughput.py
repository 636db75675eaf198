"""Measure how fast a model trains at each batch size, on this machine.

The procedure of the playbook's "Determining the feasible batch sizes and estimating training throughput": a few steps
at increasing sizes until the memory (here: a stated budget), the training set or the range ends; at each size long
enough for a reliable estimate. What the numbers mean is `refplay.analysis.throughput`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter

import numpy as np

from refplay.analysis.throughput import Measured, Timing, failure, measured
from refplay.data import make_gather
from refplay.errors import InputError
from refplay.nn import Network
from refplay.procedures.beside import accumulation, prefetch
from refplay.procedures.machine import others
from refplay.procedures.peers import check_peer, make_peer_gather, make_peer_step, sees_gpu
from refplay.procedures.setup import LEARNING_RATE, Setup, key_of
from refplay.procedures.stopwatch import Contender, time_in_turns

GIB = 2**30
OURS = "refplay"


def batch_sizes(first: int, last: int) -> list[int]:
    """Return first, 2 first, 4 first, ... up to last.

    >>> batch_sizes(48, 400)
    [48, 96, 192, 384]
    """
    return [first << i for i in range((last // first).bit_length())]


def measure(
    setup: Setup,
    sizes: Sequence[int],
    *,
    memory: int | None = None,
    peers: Sequence[str] = (),
    seconds: float = 1.0,
    progress: Callable[[str], object] = lambda what: None,
) -> Measured:
    """Measure throughput and time per step over batch sizes.

    A step is all of it: gathering the batch as the training loop does, loss, gradient and update, on real examples. A
    size that does not fit is recorded with the reason and ends the measurement.

    Parameters
    ----------
    setup : Setup
        What to train.
    sizes : sequence of int, increasing
        Batch sizes. Those above the training set are left out, but for the first, which must fit.
    memory : int, optional
        Bytes that a step of refplay may take by `step_memory`; larger sizes are not tried. A peer may take more. None:
        4 GiB, or on a device all of its memory, so that what it refuses ends the doubling.
    peers : sequence of str
        Names of `refplay.procedures.peers.PEERS`: measured in turns with refplay, on the same batches.
    seconds : float
        That each of them is timed for at each size; see `refplay.procedures.stopwatch.time_in_turns`.
    progress : callable
        Told what is measured next.

    Raises
    ------
    InputError
        Before anything is measured: a peer that is unknown or not installed, sizes that are not whole numbers from 1 on
        in increasing order, a first size above the training set or the memory budget, a size that batch norm cannot
        split.

    >>> from refplay.data import load_dataset
    >>> from refplay.nn import mlp
    >>> setup = Setup(mlp((8, 8, 1), 10, width=16), load_dataset("digits"), "momentum", backend="numpy")
    >>> found = measure(setup, batch_sizes(512, 65536), seconds=0.01)
    >>> [timing.batch_size for timing in found.ours], found.ended
    ([512, 1024], 'the training set of digits has 1197 examples')
    """
    for peer in peers:
        check_peer(peer)
    memory = memory or (setup.device and setup.device.memory()) or 4 * GIB
    fitting = check_sizes(setup, sizes, memory)
    begun, used = perf_counter(), others()
    ours: list[Timing] = []
    theirs: dict[str, list[Timing]] = {peer: [] for peer in peers}
    for size in fitting:
        stated = setup.memory(size)
        if stated > memory:
            ours.append(failure(size, stated, "over the memory budget"))
            break
        progress(f"batch size {size}")
        standing = [peer for peer in peers if not (theirs[peer] and theirs[peer][-1].failed)]
        found = _measure_size(setup, size, standing, seconds)
        ours.append(found[OURS])
        for peer in standing:
            theirs[peer].append(found[peer])
        if ours[-1].failed:
            break
    pieces = accumulation(setup, ours, seconds, progress) if measured(ours) else None
    ahead = prefetch(setup, ours, seconds, progress) if measured(ours) else None
    return Measured(
        key_of(setup, peers), memory, tuple(ours), {peer: tuple(rows) for peer, rows in theirs.items()}, pieces, ahead,
        ended=_end(setup, sizes, fitting, ours[-1]), busy=max(0.0, others() - used) / (perf_counter() - begun))


def check_sizes(setup: Setup, sizes: Sequence[int], memory: int) -> list[int]:
    """Return the sizes that the training set allows; InputError where they, or the first of them, cannot be run."""
    whole = all(isinstance(size, int | np.integer) and not isinstance(size, bool) and size >= 1 for size in sizes)
    if not sizes or not whole or list(sizes) != sorted(set(sizes)):
        raise InputError(f"batch sizes {list(sizes)}; give whole numbers of at least 1 in increasing order")
    if sizes[0] > setup.examples:
        raise InputError(f"batch size {sizes[0]} is above the {setup.examples} training examples of "
                         f"{setup.data.name}; give at most that")
    fitting = [int(size) for size in sizes if size <= setup.examples]
    stated = [setup.memory(size) for size in fitting]  # also refuses what batch norm cannot split
    if stated[0] > memory:
        raise InputError(f"batch size {fitting[0]} needs {stated[0]:,} bytes, over the memory budget of {memory:,}; "
                         "give a smaller size, or a larger budget by --memory")
    return fitting


def _end(setup: Setup, sizes: Sequence[int], fitting: Sequence[int], last: Timing) -> str:
    """Say what ended the doubling."""
    if last.failed:
        return f"batch size {last.batch_size}: {last.failed}"
    if len(fitting) < len(sizes):
        return f"the training set of {setup.data.name} has {setup.examples} examples"
    return "the end of the range"


def _measure_size(setup: Setup, size: int, peers: Sequence[str], seconds: float) -> dict[str, Timing]:
    """Return the timings of refplay and of peers at one size; what is allocated for it is free again afterwards."""
    stated, contenders, failed = {OURS: setup.memory(size)}, {}, {}
    network = None
    for name in (OURS, *peers):
        try:
            network = network or setup.network()
            contenders[name] = make_contender(setup, name, network, size)
        except MemoryError:
            failed[name] = failure(size, stated.get(name, 0), "out of memory")
    return {**time_in_turns(contenders, size, stated, seconds), **failed}


def make_contender(setup: Setup, name: str, network: Network, size: int) -> Contender:
    """Return refplay or a peer with its step and its batches: on a GPU, both work where the data set lies there.

    refplay trains `network` itself, a peer a copy of it as it is now.
    """
    if name == OURS:
        return Contender(setup.gather(size), setup.step(network, size), setup.waits_every)
    gpu = setup.device is not None and sees_gpu(name)
    step = make_peer_step(name, network, setup.optimizer, size, setup.hyperparameters, learning_rate=LEARNING_RATE,
                          gpu=gpu)
    split = setup.data.train
    gather = make_peer_gather(name, split, size, seed=0) if gpu else make_gather(split, size, seed=0)
    return Contender(gather, step, setup.waits_every)

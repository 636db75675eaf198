"""Whole training steps of a GPU backend over batch sizes, against PyTorch and JAX in the same run.

    python bench/gpu_steps.py --backend cupy        # three models, seven batch sizes, four peers; within nine minutes
    python bench/gpu_steps.py --backend cupy --models convnet --sizes 16384 65536

A step is what `refplay throughput` measures: gathering the batch from a data set in the memory of the GPU, loss,
gradient, update by Adam. All contenders begin with the same weights, and the losses of their first steps must be the
same. They are then timed in turns; beside them stands the roofline of the step (gpu_roofline.py). Results go to
bench/results/gpu-<backend>.json beside those of gpu.py, size by size; a contender that fails is written down as failed
and the others go on (exit code 1). Without a GPU:

    REFPLAY_CUDA_ON_CPU=1 python bench/gpu_steps.py --backend cupy --sizes 1 2 --peers torch --examples 8
    NUMBA_ENABLE_CUDASIM=1 python bench/gpu_steps.py --backend numba-cuda --models small --sizes 2 --examples 8
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import traceback
from time import monotonic
from typing import Any

import numpy as np
from gpu_clock import Ceilings
from gpu_roofline import least_us
from gpu_run import add_options, attempt, in_short, is_dry, load_backend, results_of, run_parts
from summary import OURS, summarize
from tables import number
from workloads import CLASSES, MODELS

from refplay.data import Dataset, Split
from refplay.errors import InputError
from refplay.nn import mlp
from refplay.procedures.peers import PEERS, check_peer, sees_gpu
from refplay.procedures.setup import Setup
from refplay.procedures.stopwatch import Contender, time_in_turns
from refplay.procedures.throughput import OURS as REFPLAY
from refplay.procedures.throughput import make_contender

NAMES = ("mlp-256", "mlp-1024", "convnet")  # the one that takes longest last: it gets the time that is left
SMALL = {"small": lambda batch: mlp((16,), CLASSES, depth=1, width=8)}  # of a dry run in Numba's simulator
SIZES = (1, 8, 64, 512, 4096, 16384, 65536)
EXAMPLES = 2**17  # of the training set
COMPARED, CLOSE = 5, 5e-5  # first steps, and how far their losses may lie apart: by four updates they fall by 1e-3
TURN = 25.0  # seconds that a size takes at least: with less left, none is begun


class OtherWorkError(Exception):
    """A contender whose losses are others."""


def drawn(shape: tuple[int, ...], examples: int) -> Dataset:
    """Return a training set: no zero that a kernel could skip, and labels that have nothing to do with the examples."""
    rng = np.random.default_rng(4)
    x = rng.random((examples, *shape), np.float32) * np.float32(0.95) + np.float32(0.05)
    split = Split(x, rng.integers(0, CLASSES, examples))
    return Dataset("drawn", split, split, split, CLASSES)


def make_contenders(
    setup: Setup, size: int, peers: list[str], dry: bool
) -> tuple[dict[str, Contender], dict[str, str]]:
    """Return the contenders whose first steps run and give the losses that the others give; and what others raised."""
    import torch

    network = setup.network()
    made: dict[str, Contender] = {}
    errors: dict[str, str] = {}
    expected: list[float] = []

    def make(name: str) -> None:
        if name != REFPLAY and not dry and not sees_gpu(name):
            raise OtherWorkError("sees no GPU")
        made[name] = make_contender(setup, name, network, size)

    def begin(name: str) -> None:
        if name not in made:
            return
        tidy(setup.backend, torch)  # or those before would keep what they need in their steps, and more
        losses = [float(made[name].step(*made[name].gather(step))) for step in range(COMPARED)]
        expected.extend(losses[len(expected) :])  # of the first that runs: a peer, if there is one
        for step, (loss, others) in enumerate(zip(losses, expected, strict=True)):
            if not abs(loss - others) <= CLOSE * abs(others):
                raise OtherWorkError(f"its loss in step {step} is {loss:.7g}, not {others:.7g}")

    turns = [(make, name) for name in (REFPLAY, *peers)]  # all take the weights before ours is trained
    turns += [(begin, name) for name in (*peers, REFPLAY)]
    for action, name in turns:
        try:
            action(name)
        except Exception as error:
            traceback.print_exc(limit=-4)
            made.pop(name, None)
            errors[name] = in_short(error)
    return made, errors


def measure_size(setup: Setup, size: int, peers: list[str], seconds: float, dry: bool) -> dict[str, Any]:
    """Return the record of a batch size; in a dry run, without times."""
    contenders, errors = make_contenders(setup, size, peers, dry)
    if dry:
        return {"errors": errors, "median_us": dict.fromkeys(contenders, 0.0)}
    timings = time_in_turns(contenders, size, {REFPLAY: setup.memory(size)}, seconds)
    errors |= {name: timing.failed for name, timing in timings.items() if timing.failed}
    done = {OURS if name == REFPLAY else name: timing for name, timing in timings.items() if not timing.failed}
    if REFPLAY in errors:
        errors[OURS] = errors.pop(REFPLAY)
    return summarize({name: [1e6 * second for second in timing.rounds] for name, timing in done.items()}) | {
        "errors": errors, "gather_us": {name: 1e6 * timing.waiting for name, timing in done.items()},
        "rounds_us": {name: [1e6 * second for second in timing.rounds] for name, timing in done.items()},
        "steps": {name: timing.steps for name, timing in done.items()}, "memory": setup.memory(size)}  # fmt: skip


def measure_model(model: str, given: argparse.Namespace, run: dict[str, Any]) -> int:
    """Measure a model at every batch size, in a dry run only run and compare it; return how many sizes failed."""
    import torch

    dry, results = is_dry(given.backend), results_of(given, run)
    load_backend(given.backend)
    torch.backends.cudnn.benchmark = True  # as a user would have it who wants speed
    make_model = (MODELS | SMALL)[model]
    data = drawn(make_model(1).input_shape, given.examples)
    peers = [peer for peer in given.peers if len(data.train.x.shape) == 4 or peer != "torch-channels-last"]  # no images
    failed: set[int] = set()
    ceilings = Ceilings(torch, torch.cuda.synchronize)

    def one_size(size: int) -> str:
        if "torch-compile" in peers:  # for this size alone: for the second one it would make code for all
            torch._dynamo.reset()
        setup = Setup(make_model(size), data, "adam", backend=given.backend, name=model)
        record = measure_size(setup, size, peers, given.seconds, dry)
        if results is not None:
            rates = {kind: ceilings[kind] for kind in ("copy", "float32")}
            record |= {"ceilings": rates, "roofline_us": least_us(setup.model, size, rates)}
            results.put(f"{model}:{size}", record)
        if record["errors"]:
            failed.add(size)
        return line(f"{model}:{size}", record, dry)

    for size in given.sizes:
        if not dry and given.end - monotonic() < TURN:
            print(f"{model}:{size} and larger: no time was left", flush=True)
            return len(failed) + 1
        if not attempt(f"{model}:{size}", lambda size=size: one_size(size), results):
            failed.add(size)
        tidy(given.backend, torch)
    return len(failed)


def tidy(backend: str, torch: Any) -> None:
    """Give back to the GPU what the contenders of a size had; JAX keeps its memory as long as the process lasts."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if backend == "cupy" and not is_dry(backend):
        import cupy

        cupy.get_default_memory_pool().free_all_blocks()


def installed(peer: str) -> bool:
    """Return whether a peer can be measured; say so where it cannot."""
    try:
        check_peer(peer)
    except InputError as error:
        print(f"without {peer}: {error}", flush=True)
        return False
    return True


def line(name: str, record: dict[str, Any], dry: bool) -> str:
    """Return what is printed of a size."""
    wrong = "".join(f"  {who} FAILED: {why}" for who, why in record["errors"].items())
    if dry:
        return f"{name:16} the same losses: {', '.join(record['median_us'])}{wrong}"
    times = "  ".join(f"{who} {number(value)} us" for who, value in record["median_us"].items())
    ratio = f"  best peer / ours {record['ratio']:.2f}" if record["ratio"] is not None else ""
    return f"{name:16} {times}{ratio}  roofline {number(record['roofline_us'])} us{wrong}"


def main() -> int:
    """Run the command."""
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # JAX would take three quarters of the memory
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--models", nargs="+", default=NAMES, choices=(*NAMES, *SMALL))
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="batch sizes")
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS))
    parser.add_argument("--examples", type=int, default=EXAMPLES, help="of the training set")
    parser.add_argument("--seconds", type=float, default=0.5, help="for each contender and size, at least")
    given = parser.parse_args()
    given.peers = [peer for peer in given.peers if installed(peer)]
    settings = {"sizes": list(given.sizes), "examples": given.examples, "seconds": given.seconds, "optimizer": "adam",
                "peers": given.peers}  # fmt: skip
    return run_parts(measure_model, given.models, given, settings, given.limit)


if __name__ == "__main__":
    sys.exit(main())

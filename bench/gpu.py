"""The kernels of a GPU backend against what the GPU can do and against PyTorch, cuBLAS and cuDNN, in the same run.

    python bench/gpu.py --backend cupy                       # all, within nine minutes (--limit); or numba-cuda
    python bench/gpu.py --backend cupy --only rules products

Kernels that wait for memory are held against a copy within the GPU (bytes read and written), products and convolutions
against cuBLAS's product of 8192 in the same precision: float32 is that with TF32 off. What a kernel moves and computes
is counted, not guessed: see gpu_cases.py. Results go to bench/results/gpu-<backend>.json with device, driver, versions,
commit and command, case by case; one that fails is written down as failed, and the others go on (exit code 1).

Without a GPU everything can be run once and compared, and no time is taken, nothing written:

    REFPLAY_CUDA_ON_CPU=1 python bench/gpu.py --backend cupy --size 8192 --side 64
    NUMBA_ENABLE_CUDASIM=1 python bench/gpu.py --backend numba-cuda --size 4096 --side 32
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import Any

import gpu_cases
import numpy as np
from gpu_cases import Arrays, Case
from gpu_clock import Ceilings, graphs, measure
from gpu_products import PRECISIONS, products
from gpu_run import add_options, attempt, is_dry, load_backend, results_of, run_parts
from summary import OURS

from refplay.kernels import resident

GROUPS = ("activations", "rules", "vectors", "norms", "loss", "products", "convolutions")
TENSOR_CORES = ("tf32", "bf16")  # products that CuPy's backend has beside
SIDES = (1024, 2048, 4096, 8192)
MOST = 150.0  # seconds of a group


class OtherResultError(Exception):
    """Contenders that do not do the same work."""


def groups_of(backend: str) -> tuple[str, ...]:
    """Return the groups of cases that a backend has."""
    return GROUPS + (TENSOR_CORES if backend == "cupy" else ())


def cases(arrays: Arrays, group: str, given: argparse.Namespace) -> Iterator[Case]:
    """Return the cases of a group, each made when its turn has come, so that few are in memory at a time."""
    if group in PRECISIONS:
        for side in given.side:
            yield from products(arrays, group, given.backend, side)
    else:
        yield from getattr(gpu_cases, group)(arrays, given.size)


def check(case: Case, to_host: Callable[[Any], np.ndarray]) -> float | None:
    """Return how far results lie from the first peer's, relative to their norm; None where they are not comparable.

    Raises
    ------
    OtherResultError
        More than rounding explains.
    """
    results = {name: call() for name, call in case.calls.items()}
    if case.values is not None:
        results = dict(zip(("ours", "torch"), case.values(), strict=True))
    elif results["ours"] is None:
        return None
    peer = next(name for name in results if not name.startswith(OURS))
    expected = to_host(results.pop(peer)).astype(np.float64)
    norm, apart = np.linalg.norm(expected.ravel()), {}
    for name, result in results.items():
        apart[name] = float(np.linalg.norm((to_host(result) - expected).ravel()) / norm)
        if not apart[name] <= case.close:
            raise OtherResultError(f"{name} and {peer} differ by {apart[name]:.2g} of the norm of the result")
    return max(apart.values())


def measure_group(group: str, given: argparse.Namespace, run: dict[str, Any]) -> int:
    """Measure the cases of a group, in a dry run only run and compare them; return how many failed."""
    import torch

    dry = is_dry(given.backend)
    kernels, results = load_backend(given.backend), results_of(given, run)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    if not dry and not torch.cuda.is_available():
        sys.exit("no GPU that PyTorch can use")

    def wait() -> None:  # ours has a stream of its own
        kernels.synchronize()
        if not dry:
            torch.cuda.synchronize()

    def to_host(x: Any) -> np.ndarray:
        if isinstance(x, float):
            return np.array(x)
        return x.detach().float().cpu().numpy() if isinstance(x, torch.Tensor) else kernels.to_host(x)

    arrays, ceilings = Arrays(kernels, torch, "cpu" if dry else "cuda"), Ceilings(torch, wait)
    graph = None if dry else graphs(getattr(resident(kernels), "Graph", None), torch)
    failed = 0

    def all_cases() -> str:
        nonlocal failed
        for case in cases(arrays, group, given):
            failed += not attempt(case.name, lambda case=case: one_case(case), results)
        return f"{group}: done"

    def one_case(case: Case) -> str:
        apart = check(case, to_host)
        if results is None:
            return f"{case.name:32} {'ran (PyTorch computes another)' if apart is None else f'agrees to {apart:.1g}'}"
        record = measure(case, wait, graph) | {"group": group, "apart": apart, "errors": {}}
        record |= ceilings.share(case, record)
        results.put(case.name, record)
        return line(case, record)

    rest = f"rest of {group}"  # making a case can fail too
    if not attempt(rest, all_cases, results):
        return failed + 1
    if results is not None:
        results.forget(rest)
    return failed


def line(case: Case, record: dict[str, Any]) -> str:
    """Return what is printed of a case."""
    times = "  ".join(f"{name} {value:.1f} us" for name, value in record["median_us"].items())
    rate = f"{record['tflops']:.1f} TFLOP/s" if case.operations else f"{record['gb_per_s']:.0f} GB/s"
    return f"{case.name:32} {times}  {rate}, {record['share']:.0%} of {case.ceiling}"


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    every = groups_of("cupy")
    parser.add_argument("--only", nargs="+", choices=every, metavar="GROUP", help=", ".join(every))
    parser.add_argument("--size", type=int, default=2**26, help="values of a vector")
    parser.add_argument("--side", type=int, nargs="+", default=SIDES, help="of square products")
    given = parser.parse_args()
    groups = given.only or groups_of(given.backend)
    if unknown := set(groups) - set(groups_of(given.backend)):
        parser.error(f"{given.backend} has no {', '.join(sorted(unknown))}")
    return run_parts(measure_group, groups, given, {"size": given.size, "sides": list(given.side)}, MOST)


if __name__ == "__main__":
    sys.exit(main())

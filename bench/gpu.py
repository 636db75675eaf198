"""The kernels of a GPU backend against what the GPU can do and against PyTorch, cuBLAS and cuDNN, in the same run.

    python bench/gpu.py --backend numba-cuda                       # all, about five minutes on an H200
    python bench/gpu.py --backend numba-cuda --only rules products

First the two ceilings are measured: a copy within the memory of the GPU (bytes read and written), and cuBLAS's float32
product with TF32 off. What a kernel moves and computes is counted, not guessed: see gpu_cases.py. Results go to
bench/results/gpu-<backend>.json with device, driver, versions, commit and command. In Numba's CUDA simulator
(NUMBA_ENABLE_CUDASIM=1, with --size and --side small) everything is run once and compared, and no time is taken.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from time import perf_counter
from typing import Any

import gpu_cases
import numpy as np
from gpu_cases import Arrays, Case
from results import ROOT, Results, describe_run

from refplay.kernels import load

GROUPS = ("activations", "rules", "vectors", "norms", "loss", "products", "convolutions")
ROUNDS, BURST = 7, 0.03  # bursts of each contender in turn, and their seconds
SIDES = (1024, 2048, 4096, 8192)
TILED = "4"  # the version of the product that is used; the slower ones are not measured above 4096


def seconds(call: Callable[[], Any], wait: Callable[[], None]) -> float:
    """Return the seconds of a call in a burst of calls that are not waited for one by one."""
    begin = perf_counter()
    call()
    wait()
    count = max(1, int(BURST / max(perf_counter() - begin, 1e-6)))
    begin = perf_counter()
    for _ in range(count):
        call()
    wait()
    return (perf_counter() - begin) / count


def measure(case: Case, wait: Callable[[], None]) -> dict[str, Any]:
    """Return medians of alternating bursts, and the ratio of the peer's to ours in each round."""
    for call in case.calls.values():  # compiled, allocated, warm
        call()
        call()
        wait()
    rounds = {name: [] for name in case.calls}  # type: dict[str, list[float]]
    for _ in range(ROUNDS):
        for name, call in case.calls.items():
            rounds[name].append(seconds(call, wait))
    ours = median(rounds["ours"])
    return {"median_us": {name: 1e6 * median(values) for name, values in rounds.items()}, "rounds_us": rounds,
            "gb_per_s": case.bytes / ours / 1e9, "tflops": case.operations / ours / 1e12}


def check(case: Case, to_host: Callable[[Any], np.ndarray]) -> float | None:
    """Return how far the contenders' results lie apart, relative to their norm; None where a call returns nothing.

    Raises
    ------
    SystemExit
        More than 1e-4, which no rounding in float32 explains.
    """
    results = [call() for call in case.calls.values()]
    if any(result is None or isinstance(result, float | tuple) for result in results):
        return None
    mine, theirs = (to_host(result).astype(np.float64) for result in results)
    apart = float(np.linalg.norm((mine - theirs).ravel()) / np.linalg.norm(theirs.ravel()))
    if not apart <= 1e-4:
        sys.exit(f"{case.name}: the contenders' results differ by {apart:.2g} of their norm: not the same work")
    return apart


def ceilings(torch: Any, wait: Callable[[], None]) -> dict[str, float]:
    """Return the copy bandwidth in GB/s over 1 GiB, and cuBLAS's float32 rate in TFLOP/s at 8192."""
    x = torch.randn(2**28, device="cuda")
    y = torch.empty_like(x)
    a, b = (torch.randn(8192, 8192, device="cuda") for _ in range(2))
    copy = Case("copy", {"ours": lambda: y.copy_(x)}, 2 * x.nbytes)
    product = Case("product", {"ours": lambda: a @ b}, 0, 2 * 8192**3)
    return {"copy_gb_per_s": measure(copy, wait)["gb_per_s"], "float32_tflops": measure(product, wait)["tflops"]}


def cases(arrays: Arrays, groups: Sequence[str], n: int, sides: Sequence[int], backend: str) -> Iterator[Case]:
    """Return the cases of the groups, each made when its turn has come, so that few are in memory at a time."""
    for group in groups:
        if group == "products":
            versions, product = product_versions(backend)
            for side in sides:
                yield from gpu_cases.products(arrays, side, tuple(v for v in versions if v == TILED or side <= 4096),
                                              product)
        elif group == "convolutions":
            yield from gpu_cases.convolutions(arrays, min(1.0, n / 2**26))
        else:
            yield from getattr(gpu_cases, group)(arrays, n)


def product_versions(backend: str) -> tuple[tuple[str, ...], Callable[[str, Any, Any, Any], None]]:
    """Return the names of a backend's products, and the function that runs one by name."""
    from refplay.kernels.numba_cuda import product

    return product.VERSIONS, product.product_version


def describe_device(torch: Any) -> dict[str, Any]:
    """Return what a reader needs to know of the GPU."""
    import subprocess

    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    found = subprocess.run(query, capture_output=True, text=True, check=False).stdout.strip().split("\n")[0]
    return {"device": torch.cuda.get_device_name(), "driver": found.split(", ")[1] if ", " in found else "unknown",
            "capability": ".".join(map(str, torch.cuda.get_device_capability())), "cuda": torch.version.cuda}


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="numba-cuda", choices=("numba-cuda",))
    parser.add_argument("--only", nargs="+", default=GROUPS, choices=GROUPS, metavar="GROUP", help=", ".join(GROUPS))
    parser.add_argument("--size", type=int, default=2**26, help="values of a vector")
    parser.add_argument("--side", type=int, nargs="+", default=SIDES, help="of square products")
    given = parser.parse_args()
    import torch

    simulated = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
    if not simulated and not torch.cuda.is_available():
        sys.exit("no GPU that PyTorch can use; refplay backends says what can run here")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    kernels = load(given.backend)
    arrays = Arrays(kernels, torch, "cpu" if simulated else "cuda")

    def wait() -> None:
        kernels.synchronize()
        if not simulated:
            torch.cuda.synchronize()

    def to_host(x: Any) -> np.ndarray:
        return x.detach().cpu().numpy() if isinstance(x, torch.Tensor) else kernels.to_host(x)

    if simulated:
        for case in cases(arrays, given.only, given.size, given.side, given.backend):
            apart = check(case, to_host)
            print(f"{case.name:32} {'ran' if apart is None else f'agrees to {apart:.1g}'}", flush=True)
        return 0
    run = describe_run({"size": given.size, "sides": list(given.side)}) | {"gpu": describe_device(torch)}
    limits = ceilings(torch, wait)
    results = Results(ROOT / "bench" / "results" / f"gpu-{given.backend}.json", run)
    results.put("ceilings", limits)
    print(f"{run['gpu']['device']}: copy {limits['copy_gb_per_s']:.0f} GB/s, "
          f"cuBLAS float32 {limits['float32_tflops']:.1f} TFLOP/s")
    for case in cases(arrays, given.only, given.size, given.side, given.backend):
        apart = check(case, to_host)
        record = measure(case, wait) | {"apart": apart, "bytes": case.bytes, "operations": case.operations}
        results.put(case.name, record)
        print(line(case, record, limits), flush=True)
    return 0


def line(case: Case, record: dict[str, Any], limits: dict[str, float]) -> str:
    """Return what is printed of a case."""
    times = "  ".join(f"{name} {value:.1f} us" for name, value in record["median_us"].items())
    if case.operations:
        share = f"{record['tflops']:.1f} TFLOP/s, {record['tflops'] / limits['float32_tflops']:.0%} of cuBLAS at 8192"
    else:
        share = f"{record['gb_per_s']:.0f} GB/s, {record['gb_per_s'] / limits['copy_gb_per_s']:.0%} of the copy"
    return f"{case.name:32} {times}  {share}"


if __name__ == "__main__":
    sys.exit(main())

"""What gpu.py and gpu_steps.py share: dry runs, what is told of a run, and work that may fail.

A fault on a GPU (a wrong address, a kernel that never ends) is the end of the process that it happens in. So a
measurement is cut into parts, each in a process of its own, that may end or be ended without harm to the others.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

from results import ROOT, Results, describe_run
from summary import OURS, summarize

from refplay.kernels import gpu, load

DRY = {"numba-cuda": "NUMBA_ENABLE_CUDASIM", "cupy": "REFPLAY_CUDA_ON_CPU"}  # set to 1: no GPU, no times, no results
PACKAGES = ("numba-cuda", "cupy-cuda12x", "cupy-cuda13x", "cuda-bindings", "triton", "nvidia-cublas",
            "nvidia-cudnn-cu13", "nvidia-cuda-nvrtc", "nvidia-cuda-runtime", "jax-cuda13-plugin")  # fmt: skip
SOME_FAILED = 3  # exit code of a part whose cases tell themselves what went wrong; an exception ends it with 1
Part = Callable[[str, argparse.Namespace, dict[str, Any]], int]  # (name, options, run) -> how many cases failed


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that both commands have."""
    parser.add_argument("--backend", required=True, choices=tuple(DRY))
    parser.add_argument("--results", type=Path, help="bench/results/gpu-<backend>.json")
    parser.add_argument("--limit", type=float, default=540.0, help="seconds, of all: what is not measured then is not")


def is_dry(backend: str) -> bool:
    """Return whether everything is to run once, on the CPU, to see that it runs."""
    return os.environ.get(DRY[backend]) == "1"


def load_backend(backend: str) -> Any:
    """Return the kernels of a backend; in a dry run of CuPy's, those that g++ has compiled (docs/cuda_on_cpu.md)."""
    if backend == "cupy" and is_dry(backend):
        sys.path.insert(0, str(ROOT / "tests"))
        import cuda_on_cpu.cupy_on_cpu

        cuda_on_cpu.cupy_on_cpu.install()
        gpu.missing = lambda found: ""
    return load(backend)


def results_of(given: argparse.Namespace, run: dict[str, Any]) -> Results | None:
    """Return the file of results; None in a dry run, which has none."""
    if is_dry(given.backend):
        return None
    return Results(given.results or ROOT / "bench" / "results" / f"gpu-{given.backend}.json", run)


def describe(backend: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Return what a reader needs to know of a run on a GPU: of the host, of the device, and of all software."""
    return describe_run(settings, PACKAGES) | {"gpu": describe_device() | _libraries(backend)}


def describe_device() -> dict[str, str]:
    """Return what the driver says of the GPU; asked in a process of its own, so that this one leaves it alone."""
    names = {"device": "name", "driver": "driver_version", "memory": "memory.total", "capability": "compute_cap"}
    query = ["nvidia-smi", "--id=0", f"--query-gpu={','.join(names.values())}", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, check=True, timeout=60).stdout
        return dict(zip(names, answer.strip().split(", "), strict=True))
    except (OSError, subprocess.SubprocessError, ValueError):  # no reason to measure nothing
        return dict.fromkeys(names, "unknown")


def _libraries(backend: str) -> dict[str, str]:
    import torch

    found = {"cuda": str(torch.version.cuda), "cudnn": str(torch.backends.cudnn.version())}
    if backend == "cupy":
        from cupy.cuda import nvrtc

        found["nvrtc"] = ".".join(map(str, nvrtc.getVersion()))
    return found


def attempt(name: str, action: Callable[[], str], results: Results | None) -> bool:
    """Do `action` and print the line that it returns; return whether it came to its end.

    Whatever it raises is printed and recorded for the case `name`, and the other cases can go on.
    """
    try:
        print(action(), flush=True)
    except Exception as error:
        traceback.print_exc(limit=-4)
        print(f"{name:32} FAILED: {in_short(error)}", flush=True)
        if results is not None:
            results.put(name, failure(in_short(error)))
        return False
    return True


def in_short(error: BaseException) -> str:
    """Return type and first line of an error."""
    first = (str(error).strip() or "no message").splitlines()[0]
    return f"{type(error).__name__}: {first[:300]}"


def failure(why: str) -> dict[str, Any]:
    """Return the record of a case, or of a part, that could not be measured."""
    return summarize({}) | {"errors": {OURS: why}}


def run_parts(
    part: Part, names: Sequence[str], given: argparse.Namespace, settings: dict[str, Any], most: float
) -> int:
    """Do `part` for each name, each in a process of its own that has at most `most` seconds; return an exit code.

    All have `given.limit` seconds together; when they are over is `given.end`, as `time.monotonic` has it. A dry run
    does them one after the other in this process.
    """
    if is_dry(given.backend):
        failed = sum(part(name, given, {}) for name in names)
        print("a dry run: no time was taken, nothing was written", file=sys.stderr)
        return int(failed > 0)
    if reason := gpu.missing(gpu.find(given.backend)):
        sys.exit(reason)
    run, failed = describe(given.backend, settings), 0
    given.end = monotonic() + given.limit
    print(f"{run['gpu']['device']}, driver {run['gpu']['driver']}, commit {run['commit']}", flush=True)
    for name in names:
        left = given.end - monotonic()
        wrong = in_process(_do, (part, name, given, run), min(most, left)) if left > 0 else "no time was left"
        failed += bool(wrong)
        results, key = results_of(given, run), f"part {name}"
        assert results is not None
        if wrong in ("", f"exit code {SOME_FAILED}"):
            results.forget(key)
        else:
            print(f"{key:32} FAILED: {wrong}", flush=True)
            results.put(key, failure(wrong))
    return int(failed > 0)


def _do(part: Part, name: str, given: argparse.Namespace, run: dict[str, Any]) -> None:
    if part(name, given, run):
        sys.exit(SOME_FAILED)


def in_process(target: Callable[..., None], arguments: tuple[Any, ...], seconds: float) -> str:
    """Call `target` in a fresh process, for so many seconds at most; return what went wrong, "" if nothing."""
    process = multiprocessing.get_context("spawn").Process(target=target, args=arguments)
    process.start()
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join(30)
        return f"stopped after {seconds:.0f} s"
    return f"exit code {process.exitcode}" if process.exitcode else ""

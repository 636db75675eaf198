"""Run Python under AddressSanitizer or ThreadSanitizer: their libraries have to be there before everything else."""

import ctypes
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cuda_on_cpu.build import preload

_OPTIONS = {
    "plain": {},
    "address": {"ASAN_OPTIONS": "detect_leaks=0:halt_on_error=0:suppress_equal_pcs=0:allocator_may_return_null=1"},
    "thread": {"TSAN_OPTIONS": "exitcode=0:suppress_equal_addresses=0:report_signal_unsafe=0:log_path={races}"},
}
_NO_RANDOMIZATION = 0x0040000  # ThreadSanitizer has fixed addresses, and newer kernels place libraries there


def run_python(variant: str, arguments: Sequence[str], timeout: float = 600) -> subprocess.CompletedProcess[str]:
    """Run this Python with `arguments`, the kernels in `variant`; what it prints is in `stdout`."""
    with tempfile.TemporaryDirectory() as folder:
        races = str(Path(folder) / "races")
        options = {name: value.format(races=races) for name, value in _OPTIONS[variant].items()}
        environment = {
            **os.environ, **options, "CUDA_ON_CPU": variant, "CUDA_ON_CPU_RACES": races, "LD_PRELOAD": preload(variant),
            "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1]),
        }  # fmt: skip
        return subprocess.run(
            [sys.executable, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", timeout=timeout, check=False, preexec_fn=_fix_addresses if variant == "thread" else None,
        )  # fmt: skip


def run_tests(variant: str, paths: Sequence[Path], timeout: float = 600) -> subprocess.CompletedProcess[str]:
    """Run the tests in `paths` with the kernels in `variant`."""
    options = ("-q", "-x", "-p", "no:cacheprovider", "--no-header", "--tb=short")
    return run_python(variant, ("-m", "pytest", *options, *map(str, paths)), timeout)


def _fix_addresses() -> None:
    ctypes.CDLL(None).personality(_NO_RANDOMIZATION)

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


class Run:
    """This Python with `arguments`, the kernels in `variant`, in a process of its own that runs beside the caller."""

    def __init__(self, variant: str, arguments: Sequence[str]) -> None:
        self._folder = tempfile.TemporaryDirectory()
        races = str(Path(self._folder.name) / "races")
        options = {name: value.format(races=races) for name, value in _OPTIONS[variant].items()}
        environment = {
            **os.environ, **options, "CUDA_ON_CPU": variant, "CUDA_ON_CPU_RACES": races, "LD_PRELOAD": preload(variant),
            "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1]),
            "PYTEST_ADDOPTS": "",  # what the caller selects or says is not for this one
        }  # fmt: skip
        self._output = Path(self._folder.name) / "output"  # a file: a pipe that nobody reads would stop it
        with self._output.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, *arguments], env=environment, stdout=output, stderr=subprocess.STDOUT,
                preexec_fn=_fix_addresses if variant == "thread" else None,
            )  # fmt: skip

    def wait(self, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Return what it printed, in `stdout`, and its exit status."""
        self._process.wait(timeout)
        output = self._output.read_text(errors="replace")
        return subprocess.CompletedProcess(self._process.args, self._process.returncode, output)

    def stop(self) -> None:
        """End it, if nobody has waited for it."""
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()


def run_python(variant: str, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run this Python with `arguments`, the kernels in `variant`; what it prints is in `stdout`."""
    run = Run(variant, arguments)
    try:
        return run.wait()
    finally:
        run.stop()


def start_tests(variant: str, paths: Sequence[Path]) -> Run:
    """Start the tests in `paths` with the kernels in `variant`."""
    return Run(variant, ("-m", "pytest", "-x", "-p", "no:cacheprovider", "--tb=short", *map(str, paths)))


def _fix_addresses() -> None:
    ctypes.CDLL(None).personality(_NO_RANDOMIZATION)

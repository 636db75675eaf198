"""Run Python under AddressSanitizer or ThreadSanitizer: their libraries have to be there before everything else.

    PYTHONPATH=tests python -m cuda_on_cpu.sanitizers thread tests/cuda_on_cpu/kernels/test_reduce_cu.py    # or address
"""

import ctypes
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from cuda_on_cpu.build import preload

_OPTIONS = {
    "plain": {},
    "address": {"ASAN_OPTIONS": "detect_leaks=0:halt_on_error=0:suppress_equal_pcs=0:allocator_may_return_null=1"},
    "thread": {"TSAN_OPTIONS": "exitcode=0:suppress_equal_addresses=0:report_signal_unsafe=0:log_path={races}"},
}
_TESTS = Path(__file__).parents[1]
_NO_RANDOMIZATION = 0x0040000  # ThreadSanitizer has fixed addresses, and newer kernels place libraries there


class Run:
    """This Python with `arguments`, the kernels in `variant`, in a process of its own that runs beside the caller."""

    def __init__(
        self, arguments: Sequence[str], variant: str = "plain", environment: Mapping[str, str] | None = None
    ) -> None:
        self._folder = tempfile.TemporaryDirectory()
        races = str(Path(self._folder.name) / "races")
        options = {name: value.format(races=races) for name, value in _OPTIONS[variant].items()}
        environment = {
            **os.environ, **options, "CUDA_ON_CPU": variant, "CUDA_ON_CPU_RACES": races, "LD_PRELOAD": preload(variant),
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(_TESTS), os.environ.get("PYTHONPATH", "")]).strip(os.pathsep),
            "PYTEST_ADDOPTS": "",  # what the caller selects or says is not for this one
            **(environment or {}),
        }  # fmt: skip
        self._output = Path(self._folder.name) / "output"  # a file: a pipe that nobody reads would stop it
        before = _personality(_NO_RANDOMIZATION) if variant == "thread" else 0  # the process inherits it
        with self._output.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, *arguments], cwd=_TESTS.parent, env=environment, stdout=output,
                stderr=subprocess.STDOUT,
            )
        if variant == "thread":
            _personality(before)

    def wait(self, timeout: float = 1200) -> subprocess.CompletedProcess[str]:
        """Return what it printed, in `stdout`, and its exit status."""
        self._process.wait(timeout)
        output = self._output.read_text(errors="replace")
        return subprocess.CompletedProcess(self._process.args, self._process.returncode, output)

    def stop(self) -> None:
        """End it, if nobody has waited for it."""
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()


def run_python(arguments: Sequence[str], variant: str) -> subprocess.CompletedProcess[str]:
    """Run this Python with `arguments`, the kernels in `variant`; what it prints is in `stdout`."""
    run = Run(arguments, variant)
    try:
        return run.wait()
    finally:
        run.stop()


def run_of_tests(
    paths: Sequence[Path], variant: str = "plain", environment: Mapping[str, str] | None = None
) -> Run:
    """Start the tests in `paths` with the kernels in `variant`."""
    arguments = ("-m", "pytest", "-x", "-p", "no:cacheprovider", "--tb=short", *map(str, paths))
    return Run(arguments, variant, environment)


def _personality(flags: int) -> int:
    """Set the way Linux runs what this thread starts, and return what it was."""
    return int(ctypes.CDLL(None).personality(flags))


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in ("address", "thread"):
        sys.exit("which one, and of which tests? address FILE ..., or thread FILE ...")
    done = run_of_tests([Path(name).resolve() for name in sys.argv[2:]], sys.argv[1]).wait()
    print(done.stdout, end="")
    sys.exit(done.returncode)

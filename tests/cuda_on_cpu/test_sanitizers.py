"""The tests of the runtime and of all kernels again, under AddressSanitizer and under ThreadSanitizer."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cuda_on_cpu.build import build
from cuda_on_cpu.launch import Module
from cuda_on_cpu.sanitizers import run_of_tests

HERE = Path(__file__).parent


@pytest.mark.parametrize("beside", ["address", "thread"], indirect=True)
def test_runtime_and_kernels(beside: subprocess.CompletedProcess[str], passed: Callable[..., int]) -> None:
    passed(beside)
    files = {path.name for path in [HERE / "test_semantics.py", *HERE.glob("kernels/test_*.py")]}
    assert set(re.findall(r"^\S+/(test_\w+\.py) \.", beside.stdout, re.MULTILINE)) == files


@pytest.mark.parametrize("variant", ["address", "thread"])
def test_a_failure_under_a_sanitizer_is_a_failure(variant: str, tmp_path: Path) -> None:
    """With what was found, and where: of a kernel whose result is right."""
    kernel = {"address": "out_of_bounds_read", "thread": "missing_second_syncthreads"}[variant]
    test = tmp_path / "test_planted.py"
    test.write_text(
        "from cuda_on_cpu.run_bugs import verdict\n"
        f"def test():\n    tool, message = verdict('{kernel}')\n    assert not tool, message\n"
    )
    run = run_of_tests([test], variant)
    done = run.wait()
    run.stop()
    assert done.returncode == 1
    assert kernel in done.stdout
    assert "bugs.cu:" in done.stdout


def test_fibers_by_swapcontext(tmp_path: Path) -> None:
    """The way of CPUs other than x86-64 gives the same."""
    module = Module(HERE / "semantics.cu", defines=["CUDA_CPU_UCONTEXT"])
    x, sums = np.arange(1024.0), np.zeros(1)
    module.get_function("block_sums")((1,), (1024,), (x, sums, np.int32(1024)), shared_mem=8 * 1024)
    assert sums[0] == 1023 * 512


def test_a_library_is_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    library = build(HERE / "semantics.cu")
    monkeypatch.setattr("cuda_on_cpu.build._compile", lambda *_: pytest.fail("compiled again"))
    assert build(HERE / "semantics.cu") == library


def test_a_library_needs_nothing_that_is_not_there() -> None:
    """The compiler's checks end in the runtime, not in a library of their own."""
    needed = subprocess.check_output(["ldd", str(build(HERE / "semantics.cu", "address"))], text=True)
    assert "libasan" in needed
    assert "libubsan" not in needed

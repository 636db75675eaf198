"""The GPU kernels of Numba-CUDA in the simulator, in a process of its own: NUMBA_ENABLE_CUDASIM is read at import."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent


@pytest.mark.parametrize("beside", ["numba-cuda"], indirect=True)
def test_the_kernels_in_the_simulator(beside, passed):
    """All of tests/gpu passes there; nothing is skipped."""
    assert passed(beside) > 100


def test_a_run_without_a_gpu_fails_with_the_reason():
    """`pytest -m gpu` is asked for a GPU: to skip would be to pass."""
    import refplay.kernels

    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_ENABLE_CUDASIM"}
    environment["CUDA_VISIBLE_DEVICES"] = ""  # also where there is one
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu", TESTS / "gpu"]
    result = subprocess.run(command, cwd=TESTS.parent, env=environment, capture_output=True, text=True)
    assert result.returncode == 1
    assert "tests need a GPU" in result.stdout + result.stderr
    assert refplay.kernels.available().keys() >= {"numba-cuda"}

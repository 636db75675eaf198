"""The GPU kernels of Numba-CUDA in the simulator, in processes of their own: NUMBA_ENABLE_CUDASIM is read at import."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

TESTS = Path(__file__).parent
PARTS = 2  # side by side


def test_the_kernels_in_the_simulator(tmp_path):
    """All of tests/gpu passes there; nothing is skipped, and nothing left out."""
    running = [_started(part, tmp_path) for part in range(PARTS)]
    for process in running:
        output, _ = process.communicate()
        assert process.returncode == 0, output
    suites = [ElementTree.parse(tmp_path / f"{part}.xml").getroot().find("testsuite") for part in range(PARTS)]
    ran = [int(suite.get("tests")) for suite in suites]
    assert sum(int(suite.get("skipped")) for suite in suites) == 0
    assert sum(ran) > 100
    assert max(ran) - min(ran) <= 1  # every second test: the parts differ by one at most


def _started(part, folder):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml", folder / f"{part}.xml",
               TESTS / "gpu"]  # fmt: skip
    environment = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "REFPLAY_TEST_PART": f"{part}/{PARTS}"}
    return subprocess.Popen(command, cwd=TESTS.parent, env=environment, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True)  # fmt: skip


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

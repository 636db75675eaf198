"""The GPU kernels of CuPy, compiled by g++ for the CPU, in a process of their own, where that is the GPU."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

TESTS = Path(__file__).parent


def test_the_contract_and_trainings_on_the_cpu(tmp_path):
    """All of tests/gpu passes; nothing is skipped."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml", tmp_path / "ran.xml",
               TESTS / "gpu"]  # fmt: skip
    done = subprocess.run(command, cwd=TESTS.parent, env={**os.environ, "REFPLAY_CUDA_ON_CPU": "1"}, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout
    suite = ElementTree.parse(tmp_path / "ran.xml").getroot().find("testsuite")
    assert suite.get("skipped") == "0"
    assert int(suite.get("tests")) > 1500

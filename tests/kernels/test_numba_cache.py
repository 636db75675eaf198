"""Compiled kernels on disk: used again, never after an edit of what they contain, and not needed to be written."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

KERNELS = Path(__file__).parents[2] / "kernels"
RUN = """
import numpy as np
import {package}.numba_cpu as k
from {package}.numba_cpu.product import _product
y = np.zeros((2, 3), np.float32)
k.dense_forward(np.ones((2, 4), np.float32), np.ones((4, 3), np.float32), np.zeros(3, np.float32), y)
print(y[0, 0], _product._compiled.cache_hits)
"""


def run(folder, package, **environment):
    done = subprocess.run([sys.executable, "-c", RUN.format(package=package)], cwd=folder, capture_output=True,
                          text=True, check=False, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture
def copied(tmp_path):
    shutil.copytree(KERNELS, tmp_path / "copied", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_an_edit_of_the_tile_recompiles_the_kernels_that_contain_it(copied):
    assert run(copied, "copied") == ["4.0", "0"]
    assert run(copied, "copied") == ["4.0", "1"]
    product = copied / "copied" / "numba_cpu" / "simd.py"
    product.write_text(product.read_text() + "\n# an edit\n")
    assert run(copied, "copied") == ["4.0", "0"]


def test_a_folder_that_cannot_be_written_is_no_obstacle(copied):
    file = copied / "a-file"
    file.touch()
    environment = {"NUMBA_CACHE_DIR": str(file / "x"), "HOME": str(file), "XDG_CACHE_HOME": str(file)}
    in_tree = copied / "copied" / "numba_cpu" / "__pycache__"
    in_tree.touch()  # where Numba would make a folder
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    assert run(copied, "copied", **environment) == ["4.0", "0"]

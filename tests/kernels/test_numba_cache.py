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
rng = np.random.default_rng(0)
x, w = (rng.integers(-9, 9, shape).astype(np.float32) for shape in ((21, 50), (50, 45)))
y = np.zeros((21, 45), np.float32)
k.dense_forward(x, w, np.zeros(45, np.float32), y)
print("right" if np.array_equal(y, x @ w) else "wrong", _product._compiled.cache_hits)
"""


def run(folder, package, **environment):
    clean = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES")}
    done = subprocess.run([sys.executable, "-c", RUN.format(package=package)], cwd=folder, capture_output=True,
                          text=True, check=False, env={**clean, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture
def copied(tmp_path):
    shutil.copytree(KERNELS, tmp_path / "copied", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_an_edit_of_the_tile_recompiles_the_kernels_that_contain_it(copied):
    assert run(copied, "copied") == ["right", "0"]
    assert run(copied, "copied") == ["right", "1"]
    product = copied / "copied" / "numba_cpu" / "simd.py"
    product.write_text(product.read_text() + "\n# an edit\n")
    assert run(copied, "copied") == ["right", "0"]


def test_kernels_of_another_cpu_are_compiled_anew_and_kept_beside_those_of_this_one(copied):
    assert run(copied, "copied") == ["right", "0"]
    assert run(copied, "copied", NUMBA_CPU_NAME="generic") == ["right", "0"]
    assert run(copied, "copied", NUMBA_CPU_NAME="generic") == ["right", "1"]
    assert run(copied, "copied") == ["right", "1"]


def test_a_folder_that_cannot_be_written_is_no_obstacle(copied):
    file = copied / "a-file"
    file.touch()
    environment = {"NUMBA_CACHE_DIR": str(file / "x"), "HOME": str(file), "XDG_CACHE_HOME": str(file)}
    in_tree = copied / "copied" / "numba_cpu" / "__pycache__"
    in_tree.touch()  # where Numba would make a folder
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    assert run(copied, "copied", **environment) == ["right", "0"]

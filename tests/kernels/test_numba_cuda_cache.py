"""Compiled GPU kernels on disk: used again by another process, never after an edit of any file of the backend.

Without a GPU: what asks for the device is told that it is one of compute capability 9.0, and nothing is loaded to it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

KERNELS = Path(__file__).parents[2] / "kernels"
RUN = """
from types import SimpleNamespace
from numba import types
from numba.cuda import codegen, dispatcher
from numba.cuda.cudadrv import devices
device = SimpleNamespace(compute_capability=(9, 0), id=0)
dispatcher.get_current_device = lambda: device
devices.get_context = lambda *_: SimpleNamespace(device=device)
codegen.CUDACodeLibrary.get_cufunc = lambda self: SimpleNamespace(module=None)
dispatcher._Kernel.initialize_once = lambda self, module: None
from copied.numba_cuda import activation, reduce
x = types.Array(types.float32, 1, "C")
for kernel, arguments in ((activation._relu, (x, x)), (reduce._square_sums, (x, types.Array(types.float64, 1, "C")))):
    kernel.compile(arguments)
    print(sum(kernel.stats.cache_hits.values()))
"""


def run(folder):
    environment = {k: v for k, v in os.environ.items() if k not in ("NUMBA_ENABLE_CUDASIM", "NUMBA_CACHE_DIR")}
    done = subprocess.run([sys.executable, "-c", RUN], cwd=folder, capture_output=True, text=True, check=False,
                          env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture
def copied(tmp_path):
    shutil.copytree(KERNELS, tmp_path / "copied", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_another_process_uses_what_was_compiled(copied):
    assert run(copied) == ["0", "0"]
    assert run(copied) == ["1", "1"]


@pytest.mark.parametrize("file", ["numba_cuda/device.py", "numba_cuda/elementwise.py", "arguments.py"])
def test_an_edit_of_another_file_compiles_anew(copied, file):
    assert run(copied) == ["0", "0"]
    path = copied / "copied" / file
    path.write_text(path.read_text() + "\n# an edit\n")
    assert run(copied) == ["0", "0"]

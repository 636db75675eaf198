"""device.py itself, without a GPU: CuPy's arrays exist there too, as long as nobody touches the memory they name.

Everything else of the backend is tested with another module in the place of this one (tests/cuda_on_cpu/cpu_device.py).
"""

import subprocess
import sys

CODE = """
import sys

import numpy as np
import cupy
import refplay.kernels
from refplay.kernels import gpu

found = gpu.Found("", device="none", name="cupy")
gpu.find, gpu.missing = lambda package="": found, lambda found: ""
from refplay.kernels.cupy_cuda import device

kernels = refplay.kernels.load("cupy")
answers = {"current_device": lambda: 0, "multiprocessors": lambda: 132, "architecture": lambda: 90}  # of an H200
for module in [module for name, module in sys.modules.items() if name.startswith("refplay.kernels.cupy_cuda.")]:
    vars(module).update({name: answer for name, answer in answers.items() if name in vars(module)})


def array(shape, dtype="float32", address=2**20):
    memory = cupy.cuda.UnownedMemory(address, 2**16, None, 0)
    return cupy.ndarray(shape, dtype, cupy.cuda.MemoryPointer(memory, 0))
"""


def in_a_process(code):
    done = subprocess.run([sys.executable, "-c", CODE + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_arrays_are_shown_to_the_checks_as_they_are():
    in_a_process("""
for shape in ((4, 4), (0, 3), (2, 0), ()):
    seen = device.stand_in(array(shape))
    assert (seen.shape, seen.flags.carray, seen.dtype) == (shape, True, "float32"), shape
view = array((4, 6))[:, ::2]
assert device.stand_in(view).strides == view.strides == (24, 8)
assert device.stand_in(array(4)[1:]).ctypes.data == 2**20 + 4
taken = device.adopt({"shape": (3,), "typestr": "<f4", "data": (2**20, True)}, "its owner")
assert not device.stand_in(taken).flags.writeable and not device.stand_in(taken[1:]).flags.writeable
assert device.gpu_of(taken) == 0
""")


def test_views_and_other_dtypes_are_refused():
    out = in_a_process("""
right = array((4, 4))
assert kernels.asarray(right) is right
for wrong in (right[:, ::2], array(3, "float16")):
    try:
        kernels.asarray(wrong)
    except (TypeError, ValueError) as error:
        print(error)
try:
    kernels.relu_forward(right, right[::2])
except ValueError as error:
    print(error)
""")
    assert [line.partition(": expected")[0] for line in out.splitlines()] == [
        "asarray: argument 'host_array'", "asarray: argument 'host_array'", "relu_forward: argument 'y'"]


def test_a_step_is_rehearsed_without_memory():
    out = in_a_process("""
from refplay.nn import mlp, resnet
from refplay.train import step_memory

for model, batch in ((resnet((8, 8, 1), 10, width=4, ghost_size=4), 64), (mlp((300,), 10, depth=1, width=40), 2**30)):
    print(step_memory(model, "adam", batch, backend="cupy").scratch)
assert not device._scratch and not device._rehearsing
""")
    small, large = map(int, out.split())
    assert 0 < small < large < 2**32

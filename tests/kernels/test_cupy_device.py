"""device.py on a machine without a GPU: what needs no memory, rehearsals, and errors of the driver.

CuPy's arrays exist there too, as long as nobody touches the memory they name. What does is tested by tests/gpu, with
tests/cuda_on_cpu/cupy_on_cpu.py below device.py.
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
from types import SimpleNamespace

from refplay.kernels.foreign import Kept

for shape in ((4, 4), (0, 3), (2, 0), ()):
    seen = device.stand_in(array(shape))
    assert (seen.shape, seen.flags.carray, seen.dtype) == (shape, True, "float32"), shape
view = array((4, 6))[:, ::2]
assert device.stand_in(view).strides == view.strides == (24, 8)
assert device.stand_in(array(4)[1:]).ctypes.data == 2**20 + 4
kept = Kept("its owner", True, SimpleNamespace(synchronize=lambda: None))
taken = device.adopt({"shape": (3,), "typestr": "<f4", "data": (2**20, True)}, kept)
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
assert not device._own.scratch and not device._own.rehearsing
""")
    small, large = map(int, out.split())
    assert 0 < small < large < 2**32


def test_a_norm_in_a_rehearsal_leaves_nothing_behind():
    """The counter of its blocks had an address without memory, and would have kept it."""
    in_a_process("""
from refplay.kernels.cupy_cuda import reduce

with device.rehearsal() as scratch:
    reduce.norm_and_factor(array(4096), 1.0, array(2, "float64"))
    assert "arrived:uint32" in scratch
assert not device._own.scratch
""")


STREAMS = """
from types import SimpleNamespace

launched = []


class Stream:
    ptr = 7

    def __init__(self, non_blocking):
        self.name = "for captures" if non_blocking else "for all"

    def begin_capture(self):
        launched.append(f"begin {self.name}")

    def end_capture(self):
        launched.append(f"end {self.name}")
        launch = lambda stream: launched.append(f"graph {stream.name}")
        return SimpleNamespace(upload=lambda stream: None, launch=launch)


cupy.cuda.Stream = Stream
device._function = lambda kernel, shared: lambda *call: launched.append(f"{kernel} {call[-1].name}")
"""


def test_a_graph_is_captured_apart_from_the_stream_in_which_it_runs():
    """While a stream that waits for the default stream is captured, the default stream can be used by nobody."""
    in_a_process(STREAMS + """
device.launch("a.one", 1, 32)
graph = device.Graph(lambda: device.launch("a.two", 1, 32, array(4)))
graph.launch()
assert launched == ["a.one for all", "begin for captures", "a.two for captures", "end for captures", "graph for all"]
assert graph._arrays[0].shape == (4,)
""")


def test_memory_that_is_used_up_is_a_memory_error():
    """Also where a kernel is loaded or launched: sizes double until memory ends (refplay throughput)."""
    in_a_process(STREAMS + """
def refuse(*arguments):
    raise error


of_the_driver = cupy.cuda.driver.CUDADriverError.__new__(cupy.cuda.driver.CUDADriverError)
graph = device.Graph(lambda: device.launch("a.two", 1, 32))
for error in (cupy.cuda.runtime.CUDARuntimeError(2), of_the_driver):
    error.status = 2
    for place, attribute in ((device, "_function"), (graph._graph, "launch")):
        setattr(place, attribute, refuse)
        try:
            device.launch("a.one", 1, 32) if place is device else graph.launch()
        except MemoryError:
            pass
        else:
            raise AssertionError(f"{error!r} from {attribute} is no MemoryError")
error.status = 1
try:
    graph.launch()
except cupy.cuda.driver.CUDADriverError:
    pass
""")

"""What `step_memory` states of a device is what a step allocates there."""

import gc
import weakref
from importlib import import_module

import numpy as np
import pytest

from refplay.data import Split
from refplay.nn import Network, convnet, mlp
from refplay.train import DeviceBatches, make_step, step_memory
from refplay.train.step import ROWS_AHEAD

BATCH = 8
MODELS = {
    "layer norm, dropout": mlp((4, 4, 1), 3, depth=2, width=6, normalization="layer", dropout=0.2),
    "batch norm": convnet((4, 4, 2), 3, depth=1, width=3, normalization="batch", ghost_size=4),
}


def scratch_of(device):
    """Return where a backend keeps its scratch memory: an object, and the name of its attribute."""
    return (device._own, "scratch") if hasattr(device, "_own") else (device, "_scratch")


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("rule", ["sgd", "adam"])
def test_the_statement_is_what_a_step_holds(gpu, backend, model, rule, monkeypatch):
    device = import_module(f"{gpu.__name__}.device")
    held: dict[int, weakref.ref] = {}

    def counted(allocate):
        def call(*arguments, **options):
            array = allocate(*arguments, **options)
            held[id(array)] = weakref.ref(array)
            return array

        return call

    stated = step_memory(model, rule, BATCH, backend=backend)
    monkeypatch.setattr(*scratch_of(device), {})
    if backend == "cupy":
        tape = import_module(f"{gpu.__name__}.tape")
        allocators = [(device, "empty"), (device, "from_host"), (device, "zeros"), (tape, "zeros")]
    else:
        allocators = [(device.cuda, "device_array"), (device.cuda, "to_device")]
    for owner, name in allocators:
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))
    split = Split(np.ones((20, *model.input_shape), np.float32), np.zeros(20, np.int64))
    step, gather = make_step(Network(model, gpu, seed=1), rule, BATCH), DeviceBatches(split, BATCH, 0, gpu)
    float(step(*gather(0), 0.1))
    gc.collect()
    alive = [array for array in (reference() for reference in held.values()) if array is not None]
    scratch = list(getattr(*scratch_of(device)).values())
    kept = sum(array.nbytes for array in alive if not any(array is each for each in scratch))
    data_set, log = split.x.nbytes + split.y.nbytes, 8
    numbers = 0
    if backend == "cupy":  # of captured steps: the updates', counters, clipping
        numbers = 8 * (tape.COLUMNS * ROWS_AHEAD + 2 + 2)
    assert kept == stated.total - stated.scratch + data_set + log + numbers
    if backend == "cupy":
        assert sum(array.nbytes for array in scratch) == stated.scratch


@pytest.mark.cupy
def test_scratch_is_stated_without_an_allocation(gpu):
    """A step in which products are cut into parts, and one with batches of a million."""
    model = mlp((300,), 10, depth=1, width=40)
    device = import_module(f"{gpu.__name__}.device")
    before = set(device._own.scratch)
    small, large = (step_memory(model, "sgd", batch, backend="cupy").scratch for batch in (64, 2**20))
    assert 64 * 40 * 4 <= small < large
    assert set(device._own.scratch) == before


LARGE = {
    "many slices": (mlp((784,), 10, depth=2, width=256, normalization="layer"), 65536),
    "wide": (mlp((784,), 10, depth=2, width=2048), 64),
    "images": (convnet((28, 28, 3), 10, width=16, normalization="batch", ghost_size=64), 1024),
    "one group": (convnet((28, 28, 3), 10, width=16, normalization="batch", ghost_size=1024), 1024),
}


@pytest.mark.numba_cuda
@pytest.mark.parametrize(("model", "batch"), LARGE.values(), ids=LARGE)
def test_scratch_is_within_the_statement(gpu, model, batch, monkeypatch):
    """What the launches of a step are given is known without running them, which the simulator could not."""
    from refplay.kernels.numba_cuda import device

    monkeypatch.setattr(device, "_scratch", {})
    if device.SIMULATED:
        from numba.cuda.simulator.kernel import FakeCUDAKernel

        monkeypatch.setattr(FakeCUDAKernel, "__call__", lambda self, *arguments: None)
    stated = step_memory(model, "sgd", batch, backend="numba-cuda").scratch
    step = make_step(Network(model, gpu, seed=1), "sgd", batch)
    step(gpu.empty((batch, *model.input_shape)), gpu.empty((batch,), "int64"), 0.1)
    taken = sum(each.nbytes for each in device._scratch.values())
    few = 4 * 4096 * 8  # of each of four kinds at least 4096 values
    assert stated / 8 - few <= taken <= stated + few

"""What stands in for a GPU below device.py is strict: a capture that a GPU would spoil, or take amiss, fails here."""

from types import SimpleNamespace

import numpy as np
import pytest

from cuda_on_cpu import cupy_on_cpu
from cuda_on_cpu.cupy_on_cpu import placed, values_of


@pytest.fixture(scope="module")
def device():
    cupy_on_cpu.install()
    from refplay.kernels.cupy_cuda import device

    return device


@pytest.mark.parametrize(
    ("spoils", "says"),
    [
        (lambda at: at.device.empty(3, "float32"), "an allocation"),
        (lambda at: at.device.bring(np.zeros(3, "f4"), at.array), "a copy from the host"),
        (lambda at: at.device.to_host(at.array), "a copy to the host"),
        (lambda at: at.device.synchronize(), "a wait"),
        (lambda at: at.device.Graph(lambda: None), "a capture"),
    ],
)
def test_what_a_capture_may_not_have(device, spoils, says):
    at = SimpleNamespace(device=device, array=placed(np.zeros(3, "f4")))
    with pytest.raises(AssertionError, match=f"{says} while a graph is captured"):
        device.Graph(lambda: device._own.only_preparing or spoils(at))
    graph = device.Graph(lambda: None)  # the next one is well
    graph.launch()


def test_work_is_done_when_somebody_waits(device):
    array, one = placed(np.zeros(3, "f4")), np.ones(3, "f4")
    array.set(one, stream=cupy_on_cpu.Stream(False))
    assert cupy_on_cpu.seen(array).tolist() == [0, 0, 0]
    one[...] = 2  # as a GPU may, it reads what stands there by then
    assert values_of(array).tolist() == [2, 2, 2]


def test_memory_is_full_of_nan_and_a_view_lies_where_it_lies(device):
    assert np.isnan(values_of(device.empty(5, "float64"))).all()
    view = placed(np.arange(6.0))[2:]
    assert values_of(view).tolist() == [2, 3, 4, 5]
    root = values_of(view)
    while isinstance(root.base, np.ndarray):
        root = root.base
    assert values_of(view).ctypes.data - root.ctypes.data == 16  # a launch puts it as far from a multiple of 256

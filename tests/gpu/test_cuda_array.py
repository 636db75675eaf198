"""Arrays of the GPU backend: made, copied, taken from others, and refused."""

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

import numpy as np
import pytest
from device_arrays import is_contiguous

DTYPES = ["float32", "float64", "int32", "int64"]


class Exported:
    """An array of nobody in particular in device memory, by `__cuda_array_interface__`."""

    def __init__(self, array, readonly=False, **changes):
        self.array = array
        found = getattr(array, "__cuda_array_interface__", None)
        if found is None:  # on the CPU: a NumPy array, in the simulator in another
            found = getattr(array, "_ary", array).__array_interface__
        described = {key: found[key] for key in ("shape", "strides", "typestr")}
        self.__cuda_array_interface__ = {**described, "data": (found["data"][0], readonly), "version": 3, **changes}


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_are_made_and_copied(gpu, dtype):
    for new in (gpu.empty((2, 3), dtype), gpu.zeros((2, 3), dtype)):
        assert (tuple(new.shape), new.dtype, is_contiguous(new)) == ((2, 3), dtype, True)
    for shape in ((), 4, (2, 3), 0, (0, 3)):
        assert gpu.to_host(gpu.zeros(shape, dtype)).tolist() == np.zeros(shape).tolist()
    host = np.arange(6, dtype=dtype).reshape(2, 3).T
    array = gpu.asarray(host)
    assert array.dtype == dtype
    assert is_contiguous(array)
    np.testing.assert_array_equal(gpu.to_host(array), host)
    assert gpu.asarray(array) is array
    host[...] = 0  # a copy is a copy
    assert gpu.to_host(array).any()
    gpu.synchronize()


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("empty", ((2, -1),), ValueError),
        ("empty", ((2.5,),), TypeError),
        ("zeros", (True,), TypeError),
        ("zeros", (3, "float16"), ValueError),
        ("empty", (3, None), TypeError),
        ("asarray", ([1.0, 2.0],), TypeError),
        ("asarray", (np.array(["a"]),), TypeError),
        ("asarray", (np.zeros(2, "float16"),), TypeError),
        ("to_host", (3.0,), TypeError),
        ("to_host", (np.zeros(3),), TypeError),
    ],
)
def test_array_functions_refuse(gpu, name, arguments, error):
    with pytest.raises(error, match=rf"{name}: argument '\w+': expected .+, got .+"):
        getattr(gpu, name)(*arguments)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (1, 3, 1), (0,), (2, 0)])
def test_an_array_of_another_library_is_taken_without_a_copy(gpu, dtype, shape):
    ours = gpu.asarray(np.arange(6, dtype=dtype)[: int(np.prod(shape))].reshape(shape))
    taken = gpu.asarray(Exported(ours))
    assert (tuple(taken.shape), taken.dtype) == (shape, dtype)
    np.testing.assert_array_equal(gpu.to_host(taken), gpu.to_host(ours))


def test_kernels_write_into_an_array_of_another_library(gpu):
    ours = gpu.asarray(np.arange(6, dtype="f4"))
    gpu.scale(gpu.asarray(Exported(ours)), 3.0)
    assert gpu.to_host(ours).tolist() == [0, 3, 6, 9, 12, 15]


def test_its_memory_is_kept_while_it_is_used(gpu):
    ours = Exported(gpu.asarray(np.arange(6, dtype="f4")))
    owner = weakref.ref(ours)
    taken = gpu.asarray(ours)
    del ours
    gc.collect()
    assert owner() is not None
    assert gpu.to_host(taken).tolist() == [0, 1, 2, 3, 4, 5]
    del taken
    gc.collect()
    assert owner() is None


def test_its_memory_goes_back_when_the_kernels_have_run(gpu, monkeypatch):
    """Its owner may give it to another array then, in a stream of its own."""
    device, events = import_module(f"{gpu.__name__}.device"), []
    wait = device.synchronize
    monkeypatch.setattr(device, "synchronize", lambda: (events.append("waited for"), wait()))
    ours, y = Exported(gpu.asarray(np.arange(6, dtype="f4"))), gpu.empty(6)
    weakref.finalize(ours, events.append, "given back")
    gpu.relu_forward(gpu.asarray(ours), y)
    assert events == ["waited for"]  # the array was nobody's any more
    del ours
    gc.collect()
    assert events == ["waited for", "given back"]
    assert gpu.to_host(y).tolist() == [0, 1, 2, 3, 4, 5]


def test_scratch_memory_is_another_in_another_thread(gpu):
    """Their launches alternate: one would find the other's partial results."""
    device = import_module(f"{gpu.__name__}.device")
    ours = device.scratch(10, "float64")
    assert device.scratch(10, "float64") is ours
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(device.scratch, 10, "float64").result() is not ours
    assert device.scratch(10, "float64") is ours


@pytest.mark.cupy
@pytest.mark.parametrize("size", [5, 2**22 + 1])  # from pinned memory; waited for
def test_what_was_brought_may_change_at_once(gpu, size):
    from refplay.kernels.cupy_cuda import device

    host, array = np.arange(size, dtype="f4"), gpu.empty(size)
    device.bring(host, array)
    expected, host[...] = host.copy(), -1
    np.testing.assert_array_equal(gpu.to_host(array), expected)


def test_a_read_only_array_is_read_and_not_written(gpu):
    taken, y = gpu.asarray(Exported(gpu.asarray(np.array([-1.0, 2.0], "f4")), readonly=True)), gpu.empty(2)
    gpu.relu_forward(taken, y)
    assert gpu.to_host(y).tolist() == [0, 2]
    with pytest.raises(ValueError, match="relu_forward: argument 'y': expected a writable array, got a read-only one"):
        gpu.relu_forward(y, taken)


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"strides": (4, 8)}, ValueError, r"expected a C-contiguous, aligned array, got strides \(4, 8\)"),
        ({"typestr": "<f2"}, TypeError, "expected a dtype of .*, got dtype float16"),
        ({"typestr": ">f4"}, TypeError, "expected a dtype of .*, got dtype >f4"),
        ({"typestr": "|b1"}, TypeError, "expected a dtype of .*, got dtype bool"),
        ({"mask": object()}, ValueError, "expected an array without a mask"),
    ],
)
def test_an_array_that_the_kernels_cannot_use_is_refused(gpu, changes, error, says):
    array = Exported(gpu.asarray(np.zeros((2, 3), "f4")), **changes)
    with pytest.raises(error, match=rf"asarray: argument 'host_array': {says}"):
        gpu.asarray(array)


def test_an_array_on_another_gpu_is_refused(gpu, monkeypatch):
    array = Exported(gpu.asarray(np.zeros(3, "f4")))
    monkeypatch.setattr(import_module(f"{gpu.__name__}.device"), "device_of", lambda pointer: 1)
    with pytest.raises(ValueError, match="expected memory of GPU 0, the one in use, got memory of GPU 1"):
        gpu.asarray(array)


def test_what_cannot_fit_is_a_memory_error(gpu):
    for make in (gpu.empty, gpu.zeros):
        with pytest.raises(MemoryError):
            make(2**46)  # 256 TiB


class OutOfMemory(RuntimeError):
    code = 2


@pytest.mark.numba_cuda
def test_a_memory_error_says_how_much_was_wanted_and_is_free(gpu, monkeypatch):
    from types import SimpleNamespace

    from refplay.kernels.numba_cuda import device

    def refuse(*arguments):
        raise OutOfMemory("CUDA_ERROR_OUT_OF_MEMORY")

    info = SimpleNamespace(get_memory_info=lambda: SimpleNamespace(free=1234567, total=16 * 2**30))
    monkeypatch.setattr(device.cuda.cudadrv.driver, "CudaAPIError", OutOfMemory)
    for name in ("device_array", "to_device"):
        monkeypatch.setattr(device.cuda, name, refuse)
    monkeypatch.setattr(device.cuda, "current_context", lambda: info)
    says = "^24,000 bytes wanted on the GPU, 1,234,567 of 17,179,869,184 free$"
    for call in (lambda: gpu.empty((2, 3000)), lambda: gpu.zeros(3000, "float64"),
                 lambda: gpu.asarray(np.zeros(3000))):
        with pytest.raises(MemoryError, match=says):
            call()


@pytest.mark.numba_cuda
def test_another_error_of_the_driver_is_no_memory_error(gpu, monkeypatch):
    from refplay.kernels.numba_cuda import device

    class Launched(OutOfMemory):
        code = 719  # CUDA_ERROR_LAUNCH_FAILED

    def refuse(*arguments):
        raise Launched

    monkeypatch.setattr(device.cuda.cudadrv.driver, "CudaAPIError", OutOfMemory)
    monkeypatch.setattr(device.cuda, "device_array", refuse)
    with pytest.raises(Launched):
        gpu.empty(3)

"""What arrays in device memory keep of the layout that they come from, and which of them a kernel takes."""

import numpy as np
import pytest

DTYPES = ["float32", "float64", "int32", "int64"]


def layouts():
    x = np.arange(24.0).reshape(4, 6)
    frozen = x.copy()
    frozen.flags.writeable = False
    yield from (x, x.T, np.asfortranarray(x), x[::2, ::3], x[::-1], x[:, 2], frozen, x[0, 0:0], np.array(5.0))
    yield np.broadcast_to(np.float32(3.0), (2, 3))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("i", range(10))
def test_asarray_takes_any_layout_and_to_host_gives_it_back(gpu, i, dtype):
    host = list(layouts())[i]
    host = host if dtype == "float64" else host.astype(dtype)  # astype keeps an order, not strides
    back = gpu.to_host(gpu.asarray(host))
    np.testing.assert_array_equal(back, host)
    assert (back.shape, back.dtype) == (host.shape, host.dtype)
    assert back.flags.c_contiguous


def test_what_was_moved_can_be_used_by_a_kernel_whatever_its_layout_was(gpu):
    x = np.arange(-12.0, 12.0).reshape(4, 6).T[::2]
    y = gpu.zeros(x.shape, "float64")
    gpu.relu_forward(gpu.asarray(x), y)
    np.testing.assert_array_equal(gpu.to_host(y), np.maximum(x, 0))


def test_asarray_and_to_host_copy(gpu):
    host = np.arange(5.0)
    device = gpu.asarray(host)
    host[:] = 7
    first = gpu.to_host(device)
    np.testing.assert_array_equal(first, np.arange(5))
    gpu.scale(device, 2.0)
    gpu.synchronize()
    np.testing.assert_array_equal(first, np.arange(5))
    np.testing.assert_array_equal(gpu.to_host(device), 2 * np.arange(5))


@pytest.mark.parametrize("bad", [np.zeros(3, "f4"), [1.0], None], ids=repr)
def test_to_host_and_kernels_refuse_what_is_not_on_the_device(gpu, bad):
    with pytest.raises(TypeError, match=r"^to_host: argument 'array': expected "):
        gpu.to_host(bad)
    good = gpu.zeros(3)
    for arguments, name in (((bad, good), "x"), ((good, bad), "y")):
        with pytest.raises(TypeError, match=f"^relu_forward: argument '{name}': expected .*, got "):
            gpu.relu_forward(*arguments)


def test_kernels_refuse_views_that_are_not_contiguous_and_other_dtypes(gpu):
    good, long = gpu.zeros(3), gpu.zeros(6)
    with pytest.raises(ValueError, match=r"^relu_forward: argument 'x': expected a C-contiguous"):
        gpu.relu_forward(long[::2], good)
    with pytest.raises(TypeError, match=r"^relu_forward: argument 'y': expected dtype float32 .*, got dtype float64"):
        gpu.relu_forward(good, gpu.zeros(3, "float64"))
    with pytest.raises(ValueError, match=r"^relu_forward: argument 'y': expected memory apart from 'x'"):
        gpu.relu_forward(long[:3], long[2:5])
    gpu.relu_forward(long[:3], long[3:])  # contiguous parts of one vector are arrays like others

"""Arrays of CuPy, PyTorch and JAX in device memory: taken without a copy, and given back the same way."""

import numpy as np
import pytest


def cupy(values):
    library = pytest.importorskip("cupy")
    array = library.asarray(values)
    return array, array.data.ptr, lambda: array.get(), library.asarray


def torch(values):
    library = pytest.importorskip("torch")
    if not library.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    array = library.from_numpy(values).cuda()
    return array, array.data_ptr(), lambda: array.cpu().numpy(), lambda x: library.as_tensor(x, device="cuda")


def jax(values):
    library = pytest.importorskip("jax")
    try:
        device = library.devices("cuda")[0]
    except RuntimeError as error:
        pytest.skip(f"this JAX has no CUDA: {error}")
    array = library.device_put(values, device)
    return array, array.unsafe_buffer_pointer(), lambda: np.asarray(array), None


LIBRARIES = [cupy, torch, jax]


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("shape", [(5,), (2, 3)])
def test_an_array_is_taken_where_it_lies(gpu, library, shape):
    values = np.arange(np.prod(shape), dtype="float32").reshape(shape) - 2
    array, pointer, _, _ = library(values)
    taken = gpu.asarray(array)
    assert taken.__cuda_array_interface__["data"][0] == pointer
    y = gpu.empty(shape)
    gpu.relu_forward(taken, y)
    np.testing.assert_array_equal(gpu.to_host(y), np.maximum(values, 0))


@pytest.mark.parametrize("library", [cupy, torch])
def test_what_a_kernel_writes_the_library_reads(gpu, library):
    array, _, read, back = library(np.arange(5, dtype="float32"))
    gpu.scale(gpu.asarray(array), 2.0)
    assert read().tolist() == [0, 2, 4, 6, 8]
    assert back(gpu.asarray(np.ones(3, "f4"))).sum().item() == 3


@pytest.mark.parametrize("library", [cupy, torch])
def test_views_and_other_dtypes_are_refused(gpu, library):
    array = library(np.ones((4, 4), "float32"))[0]
    with pytest.raises(ValueError, match="expected a C-contiguous"):
        gpu.asarray(array[:, ::2])
    with pytest.raises(TypeError, match="expected a dtype of"):
        gpu.asarray(library(np.ones(4, "float16"))[0])


def test_a_tensor_that_requires_a_gradient_is_to_be_detached(gpu):
    tensor = torch(np.ones(4, "float32"))[0].requires_grad_()
    with pytest.raises(ValueError, match="detach"):
        gpu.asarray(tensor)
    assert gpu.to_host(gpu.asarray(tensor.detach())).tolist() == [1, 1, 1, 1]

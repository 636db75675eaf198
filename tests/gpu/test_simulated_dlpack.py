"""DLPack without a GPU: arrays of the host, which are refused, and one that says it lies where the simulator is.

The arrays of real libraries in real device memory: test_foreign_libraries.py.
"""

import numpy as np
import pytest


class Tensor:
    """An array that is exported by DLPack as one of a device; its memory is the host's, as the simulator's is."""

    def __init__(self, array, kind=2, device=0):
        self.array, self.place = array, (kind, device)

    def __dlpack_device__(self):
        return self.place

    def __dlpack__(self, stream=None, **options):
        assert stream == 1  # the default stream, in which the kernels run: what the owner launched is waited for
        return self.array.__dlpack__(**options)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (1, 3, 1), (0,)])
@pytest.mark.parametrize("kind", [2, 13])  # CUDA memory, and managed
def test_a_tensor_on_the_gpu_is_taken_without_a_copy(gpu, dtype, shape, kind):
    values = np.arange(6, dtype=dtype)[: int(np.prod(shape))].reshape(shape)
    taken = gpu.asarray(Tensor(values, kind))
    assert (tuple(taken.shape), taken.dtype) == (shape, dtype)
    np.testing.assert_array_equal(gpu.to_host(taken), values)
    if values.size:
        values += 1  # the same memory
        np.testing.assert_array_equal(gpu.to_host(taken), values)


def test_a_read_only_tensor_is_not_written(gpu):
    values = np.ones(3, "f4")
    values.flags.writeable = False
    with pytest.raises(ValueError, match="scale: argument 'g': expected a writable array"):
        gpu.scale(gpu.asarray(Tensor(values)), 2.0)


def test_a_tensor_that_requires_a_gradient_is_to_be_detached(gpu):
    """Whatever its own export says of it: some versions of cuda.core do not ask."""
    tensor = Tensor(np.ones(3, "f4"))
    tensor.requires_grad = True
    with pytest.raises(ValueError, match=r"got a tensor that requires a gradient: use its \.detach\(\)"):
        gpu.asarray(tensor)


@pytest.mark.parametrize(
    ("tensor", "error", "says"),
    [
        (Tensor(np.ones(3, "f4"), 1), TypeError,
         r"an array on the GPU, or a numpy.ndarray \(numpy.asarray of it\), got .*Tensor on the host"),
        (Tensor(np.ones(3, "f4"), 3), TypeError, "an array on the GPU, .* on the host"),
        (Tensor(np.ones(3, "f4"), 10), TypeError, "memory of a CUDA device, got DLPack's device type 10"),
        (Tensor(np.ones(3, "f4"), 2, 1), ValueError, "memory of GPU 0, the one in use, got memory of GPU 1"),
        (Tensor(np.ones((2, 4), "f4")[:, ::2]), ValueError, r"a C-contiguous, aligned array, got strides \(16, 8\)"),
        (Tensor(np.ones(3, "f2")), TypeError, "a dtype of .*, got dtype float16"),
        (Tensor(np.ones(3, bool)), TypeError, "a dtype of .*, got dtype bool"),
    ],
)  # fmt: skip
def test_a_tensor_that_the_kernels_cannot_use_is_refused(gpu, tensor, error, says):
    with pytest.raises(error, match=f"asarray: argument 'host_array': expected {says}"):
        gpu.asarray(tensor)


def test_a_tensor_of_pytorch_on_the_host_is_refused_with_the_mend(gpu):
    import torch

    with pytest.raises(TypeError, match=r"\(its .numpy\(\), or .cuda\(\)\), got torch.Tensor on the host"):
        gpu.asarray(torch.ones(3))


def test_an_array_of_jax_on_the_host_is_refused_with_the_mend(gpu):
    import jax.numpy

    with pytest.raises(TypeError, match=r"\(numpy.asarray of it\), got jax.* on the host"):
        gpu.asarray(jax.numpy.ones(3))


def test_a_tensor_that_its_owner_does_not_export_is_refused(gpu):
    class Leaf(Tensor):
        def __dlpack__(self, **options):
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")

    with pytest.raises(ValueError, match=r"can be exported, got Can't export tensors .* use tensor.detach"):
        gpu.asarray(Leaf(np.ones(3, "f4")))

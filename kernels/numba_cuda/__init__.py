"""The GPU backend to be read: the contract as Numba-CUDA kernels, for somebody who knows NumPy and is learning GPUs.

The equations and the meaning of the arguments stand in `refplay.kernels.numpy_ref`. Start with `device` (grids, blocks,
launches), then `elementwise` and `activation` (a thread owns values), `reduce` (threads that wait for each other),
`product` and `dense` (threads that share memory). docs/cuda.md leads through the files.
"""

from .activation import gelu_backward, gelu_forward, relu_backward, relu_forward, tanh_backward, tanh_forward
from .array import asarray, empty, synchronize, to_host, zeros
from .optim import adam, momentum, nadam, nesterov, rmsprop, sgd
from .reduce import axpby, l2_norm, scale

__all__ = [
    "adam",
    "asarray",
    "axpby",
    "empty",
    "gelu_backward",
    "gelu_forward",
    "l2_norm",
    "momentum",
    "nadam",
    "nesterov",
    "relu_backward",
    "relu_forward",
    "rmsprop",
    "scale",
    "sgd",
    "synchronize",
    "tanh_backward",
    "tanh_forward",
    "to_host",
    "zeros",
]

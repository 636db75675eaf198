"""The GPU backend to be fast: the contract as CUDA C++ (`*.cu`), compiled by NVRTC and launched by CuPy.

The equations and the meaning of the arguments stand in `refplay.kernels.numpy_ref`; a backend that explains how a GPU
works in `refplay.kernels.numba_cuda`. Here each topic is two files: `topic.cu` has the kernels, `topic.py` checks the
arguments and launches them. tests/cuda_on_cpu runs the very same `*.cu` files on the CPU, under sanitizers.
"""

from .activation import gelu_backward, gelu_forward, relu_backward, relu_forward, tanh_backward, tanh_forward
from .array import asarray, empty, synchronize, to_host, zeros
from .conv import conv2d_backward, conv2d_forward
from .dense import dense_backward, dense_forward
from .dropout import dropout_backward, dropout_forward
from .loss import softmax_cross_entropy
from .norm import batch_norm_backward, batch_norm_forward, batch_norm_inference, layer_norm_backward, layer_norm_forward
from .optim import adam, momentum, nadam, nesterov, rmsprop, sgd
from .pool import global_avg_pool_backward, global_avg_pool_forward, max_pool2d_backward, max_pool2d_forward
from .reduce import axpby, l2_norm, scale

__all__ = [
    "adam",
    "asarray",
    "axpby",
    "batch_norm_backward",
    "batch_norm_forward",
    "batch_norm_inference",
    "conv2d_backward",
    "conv2d_forward",
    "dense_backward",
    "dense_forward",
    "dropout_backward",
    "dropout_forward",
    "empty",
    "gelu_backward",
    "gelu_forward",
    "global_avg_pool_backward",
    "global_avg_pool_forward",
    "l2_norm",
    "layer_norm_backward",
    "layer_norm_forward",
    "max_pool2d_backward",
    "max_pool2d_forward",
    "momentum",
    "nadam",
    "nesterov",
    "relu_backward",
    "relu_forward",
    "rmsprop",
    "scale",
    "sgd",
    "softmax_cross_entropy",
    "synchronize",
    "tanh_backward",
    "tanh_forward",
    "to_host",
    "zeros",
]

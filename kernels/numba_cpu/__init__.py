"""The compiled backend for the CPU: explicit SIMD and one pool of threads for float32, plain loops for float64.

Every public function checks its arguments and runs a compiled kernel, which is compiled at its first use and then kept
on disk. The equations and the meaning of the arguments stand in `refplay.kernels.numpy_ref`; here, what is done to be
fast: `simd` and `tile` (registers), `threads` and `program` (cores), `recorder` and `fusion` (whole steps). The plain
kernel beside each fast one explains it and computes in float64. All release the GIL and give bitwise the same result
at every call, whatever the number of threads. docs/cpu.md leads through the files.
"""

from . import cache as cache  # first: where compiled kernels go
from .activation import gelu_backward, gelu_forward, relu_backward, relu_forward, tanh_backward, tanh_forward
from .array import asarray, empty, synchronize, to_host, zeros
from .conv import conv2d_backward, conv2d_forward
from .dense import dense_backward, dense_forward
from .dropout import dropout_backward, dropout_forward
from .loss import softmax_cross_entropy
from .norm import (
    batch_norm_backward,
    batch_norm_forward,
    batch_norm_inference,
    layer_norm_backward,
    layer_norm_forward,
)
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

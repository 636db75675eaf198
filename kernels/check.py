"""Argument checks: one function per kernel, taking the kernel's arguments; both CPU backends call them first.

Here those of arrays, layers, dropout and loss; `check_vectors` has those of the update rules and reductions.

TypeError: not a NumPy array, a wrong dtype, not a number. ValueError: wrong shape, not contiguous, not writable,
overlapping memory, out of range. The message names kernel and argument, what was expected and what came.
"""

from typing import Any

import numpy as np

from .arguments import (
    DTYPES,
    INTS,
    KNOWN,
    arrays,
    integer,
    layout,
    number,
    signature,
    type_name,
    wrong,
)
from .contract import Array

# Arrays of this backend.


def empty(shape: int | tuple[int, ...], dtype: str) -> None:
    _new("empty", shape, dtype)


def zeros(shape: int | tuple[int, ...], dtype: str) -> None:
    _new("zeros", shape, dtype)


def _new(kernel: str, shape: Any, dtype: Any) -> None:
    for size in shape if isinstance(shape, tuple) else (shape,):
        integer(kernel, "shape", size, 0)
    if dtype not in DTYPES:
        wrong(ValueError if isinstance(dtype, str) else TypeError, kernel, "dtype", f"one of {DTYPES}", repr(dtype))


def asarray(host_array: Array) -> None:
    _known("asarray", "host_array", host_array)


def to_host(array: Array) -> None:
    _known("to_host", "array", array)


def _known(kernel: str, name: str, value: Any) -> None:
    if not isinstance(value, np.ndarray):
        wrong(TypeError, kernel, name, "a numpy.ndarray", type_name(value))
    if value.dtype not in KNOWN:
        wrong(TypeError, kernel, name, f"a dtype of {DTYPES}", f"dtype {value.dtype}")


# Layers. Overlap is checked where a mix-up of buffers of one shape is likely: a value with its own gradient.

_DENSE_FORWARD = signature("dense_forward", "x[B,I] w[I,O] b[O] -> y[B,O]", "x~y")
_DENSE_BACKWARD = signature(
    "dense_backward", "x[B,I] w[I,O] dy[B,O] -> dx[B,I]? dw[I,O] db[O]", "x~dx dy~dx w~dw"
)
_CONV_FORWARD = signature("conv2d_forward", "x[N,H,W,C] w[R,S,C,K] b[K] -> y[N,OH,OW,K]", "x~y")
_CONV_BACKWARD = signature(
    "conv2d_backward",
    "x[N,H,W,C] w[R,S,C,K] dy[N,OH,OW,K] -> dx[N,H,W,C]? dw[R,S,C,K] db[K]",
    "x~dx dy~dx w~dw",
)
_MAX_POOL_FORWARD = signature("max_pool2d_forward", "x[N,H,W,C] -> y[N,OH,OW,C]", "x~y")
_MAX_POOL_BACKWARD = signature(
    "max_pool2d_backward", "x[N,H,W,C] y[N,OH,OW,C] dy[N,OH,OW,C] -> dx[N,H,W,C]", "x~dx y~dx dy~dx"
)
_AVG_POOL_FORWARD = signature("global_avg_pool_forward", "x[N,H,W,C] -> y[N,C]", "x~y")
_AVG_POOL_BACKWARD = signature("global_avg_pool_backward", "dy[N,C] -> dx[N,H,W,C]", "dy~dx")


def dense_forward(x: Array, w: Array, b: Array, y: Array) -> None:
    arrays(_DENSE_FORWARD, x, w, b, y)


def dense_backward(x: Array, w: Array, dy: Array, dx: Array | None, dw: Array, db: Array) -> None:
    arrays(_DENSE_BACKWARD, x, w, dy, dx, dw, db)


def conv2d_forward(x: Array, w: Array, b: Array, y: Array, stride: int, padding: int) -> None:
    sizes = arrays(_CONV_FORWARD, x, w, b, y)
    _windows("conv2d_forward", "y", sizes, sizes["R"], sizes["S"], stride, padding)


def conv2d_backward(
    x: Array, w: Array, dy: Array, dx: Array | None, dw: Array, db: Array, stride: int, padding: int
) -> None:
    sizes = arrays(_CONV_BACKWARD, x, w, dy, dx, dw, db)
    _windows("conv2d_backward", "dy", sizes, sizes["R"], sizes["S"], stride, padding)


def max_pool2d_forward(x: Array, y: Array, window: int, stride: int) -> None:
    sizes = arrays(_MAX_POOL_FORWARD, x, y)
    integer("max_pool2d_forward", "window", window, 1)
    _windows("max_pool2d_forward", "y", sizes, window, window, stride, 0)


def max_pool2d_backward(x: Array, y: Array, dy: Array, dx: Array, window: int, stride: int) -> None:
    sizes = arrays(_MAX_POOL_BACKWARD, x, y, dy, dx)
    integer("max_pool2d_backward", "window", window, 1)
    _windows("max_pool2d_backward", "y", sizes, window, window, stride, 0)


def _windows(kernel: str, name: str, sizes: dict[str, int], r: int, s: int, stride: int, padding: int) -> None:
    """Check that the windows r x s fit and that OH and OW are as many as fit."""
    integer(kernel, "stride", stride, 1)
    integer(kernel, "padding", padding, 0)
    height, width = sizes["H"] + 2 * padding, sizes["W"] + 2 * padding
    if r > height or s > width:
        wrong(ValueError, kernel, "x", f"at least {r} x {s} pixels with the padding", f"{height} x {width}")
    oh, ow = (height - r) // stride + 1, (width - s) // stride + 1
    if (sizes["OH"], sizes["OW"]) != (oh, ow):
        wrong(ValueError, kernel, name, f"OH={oh}, OW={ow}", f"OH={sizes['OH']}, OW={sizes['OW']}")


def global_avg_pool_forward(x: Array, y: Array) -> None:
    arrays(_AVG_POOL_FORWARD, x, y)


def global_avg_pool_backward(dy: Array, dx: Array) -> None:
    arrays(_AVG_POOL_BACKWARD, dy, dx)


# Activations: any shape, element by element.

_RELU_FORWARD = signature("relu_forward", "x -> y", in_place="x~y")
_RELU_BACKWARD = signature("relu_backward", "x y dy -> dx", in_place="x~dx y~dx dy~dx")
_TANH_FORWARD = signature("tanh_forward", "x -> y", in_place="x~y")
_TANH_BACKWARD = signature("tanh_backward", "x y dy -> dx", in_place="x~dx y~dx dy~dx")
_GELU_FORWARD = signature("gelu_forward", "x -> y", "x~y")  # gelu_backward needs the x of before
_GELU_BACKWARD = signature("gelu_backward", "x y dy -> dx", in_place="x~dx y~dx dy~dx")


def relu_forward(x: Array, y: Array) -> None:
    arrays(_RELU_FORWARD, x, y)


def relu_backward(x: Array, y: Array, dy: Array, dx: Array) -> None:
    arrays(_RELU_BACKWARD, x, y, dy, dx)


def tanh_forward(x: Array, y: Array) -> None:
    arrays(_TANH_FORWARD, x, y)


def tanh_backward(x: Array, y: Array, dy: Array, dx: Array) -> None:
    arrays(_TANH_BACKWARD, x, y, dy, dx)


def gelu_forward(x: Array, y: Array) -> None:
    arrays(_GELU_FORWARD, x, y)


def gelu_backward(x: Array, y: Array, dy: Array, dx: Array) -> None:
    arrays(_GELU_BACKWARD, x, y, dy, dx)


# Normalization. epsilon > 0, or a constant input would be 0 / 0.

_BATCH_NORM_FORWARD = signature(
    "batch_norm_forward", "x[G,M,C] gamma[C] beta[C] -> y[G,M,C] mean[G,C] var[G,C]", "x~y mean~var"
)
_BATCH_NORM_BACKWARD = signature(
    "batch_norm_backward",
    "x[G,M,C] gamma[C] mean[G,C] var[G,C] dy[G,M,C] -> dx[G,M,C] dgamma[C] dbeta[C]",
    "x~dx dy~dx gamma~dgamma dgamma~dbeta",
)
_BATCH_NORM_INFERENCE = signature(
    "batch_norm_inference", "x[B,C] gamma[C] beta[C] mean[C] var[C] -> y[B,C]", in_place="x~y"
)
_LAYER_NORM_FORWARD = signature(
    "layer_norm_forward", "x[B,C] gamma[C] beta[C] -> y[B,C] mean[B] var[B]", "x~y mean~var"
)
_LAYER_NORM_BACKWARD = signature(
    "layer_norm_backward",
    "x[B,C] gamma[C] mean[B] var[B] dy[B,C] -> dx[B,C] dgamma[C] dbeta[C]",
    "x~dx dy~dx gamma~dgamma dgamma~dbeta",
)


def batch_norm_forward(
    x: Array, gamma: Array, beta: Array, y: Array, mean: Array, var: Array, epsilon: float
) -> None:
    arrays(_BATCH_NORM_FORWARD, x, gamma, beta, y, mean, var)
    _positive("batch_norm_forward", "epsilon", epsilon)


def batch_norm_backward(
    x: Array, gamma: Array, mean: Array, var: Array, dy: Array, dx: Array, dgamma: Array, dbeta: Array, epsilon: float
) -> None:
    arrays(_BATCH_NORM_BACKWARD, x, gamma, mean, var, dy, dx, dgamma, dbeta)
    _positive("batch_norm_backward", "epsilon", epsilon)


def batch_norm_inference(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, y: Array, epsilon: float
) -> None:
    arrays(_BATCH_NORM_INFERENCE, x, gamma, beta, mean, var, y)
    _positive("batch_norm_inference", "epsilon", epsilon)


def layer_norm_forward(
    x: Array, gamma: Array, beta: Array, y: Array, mean: Array, var: Array, epsilon: float
) -> None:
    arrays(_LAYER_NORM_FORWARD, x, gamma, beta, y, mean, var)
    _positive("layer_norm_forward", "epsilon", epsilon)


def layer_norm_backward(
    x: Array, gamma: Array, mean: Array, var: Array, dy: Array, dx: Array, dgamma: Array, dbeta: Array, epsilon: float
) -> None:
    arrays(_LAYER_NORM_BACKWARD, x, gamma, mean, var, dy, dx, dgamma, dbeta)
    _positive("layer_norm_backward", "epsilon", epsilon)


def _positive(kernel: str, name: str, value: Any) -> None:
    number(kernel, name, value, 0.0)
    if value == 0:
        wrong(ValueError, kernel, name, "a number > 0", str(value))


# Dropout and loss.

_DROPOUT_FORWARD = signature("dropout_forward", "x -> y", in_place="x~y")
_DROPOUT_BACKWARD = signature("dropout_backward", "dy -> dx", in_place="dy~dx")
_LOSS = signature(
    "softmax_cross_entropy", "z[B,C] weights[B] -> loss[B] dz[B,C]?", "z~loss z~dz weights~loss weights~dz loss~dz"
)


def dropout_forward(x: Array, y: Array, rate: float, seed: int, step: int, layer: int) -> None:
    arrays(_DROPOUT_FORWARD, x, y)
    _mask("dropout_forward", rate, seed, step, layer)


def dropout_backward(dy: Array, dx: Array, rate: float, seed: int, step: int, layer: int) -> None:
    arrays(_DROPOUT_BACKWARD, dy, dx)
    _mask("dropout_backward", rate, seed, step, layer)


def _mask(kernel: str, rate: float, seed: int, step: int, layer: int) -> None:
    number(kernel, "rate", rate, 0.0, 1.0, below=True)
    integer(kernel, "seed", seed, 0, 64)
    integer(kernel, "step", step, 0, 32)
    integer(kernel, "layer", layer, 0, 32)


def softmax_cross_entropy(
    z: Array, labels: Array, weights: Array, smoothing: float, loss: Array, dz: Array | None
) -> None:
    sizes = loss_form(z, labels, weights, smoothing, loss, dz)
    _labels_range("softmax_cross_entropy", labels, sizes["C"])


def loss_form(
    z: Array, labels: Array, weights: Array, smoothing: float, loss: Array, dz: Array | None
) -> dict[str, int]:
    """Check all but the values of the labels; return the sizes of the axes."""
    sizes = arrays(_LOSS, z, weights, loss, dz)
    _labels_form("softmax_cross_entropy", labels, sizes["B"])
    number("softmax_cross_entropy", "smoothing", smoothing, 0.0, 1.0)
    return sizes


def class_labels(kernel: str, labels: Any, examples: int, classes: int) -> None:
    """Check that the labels are `examples` classes below `classes`."""
    _labels_form(kernel, labels, examples)
    _labels_range(kernel, labels, classes)


def _labels_range(kernel: str, labels: Any, classes: int) -> None:
    # Read as unsigned, a negative label is a huge one: one pass finds both.
    if labels.size and labels.view(f"u{labels.itemsize}").max() >= classes:
        outside = labels[(labels < 0) | (labels >= classes)]
        wrong(ValueError, kernel, "labels", f"classes in 0..{classes - 1}", str(outside[0]))


def _labels_form(kernel: str, labels: Any, examples: int) -> None:
    if type(labels) is not np.ndarray:
        wrong(TypeError, kernel, "labels", "a numpy.ndarray", type_name(labels))
    if labels.dtype not in INTS:
        wrong(TypeError, kernel, "labels", "dtype int64 or int32", f"dtype {labels.dtype}")
    if labels.shape != (examples,):
        wrong(ValueError, kernel, "labels", f"shape (B={examples})", f"shape {labels.shape}")
    layout(kernel, "labels", labels, written=False)

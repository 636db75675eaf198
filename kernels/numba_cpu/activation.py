"""Activations, element by element in one pass; a NaN in gives a NaN out, so that divergence is seen.

Float32 goes through the vector forms at the top, in blocks that the threads share. The plain kernels at the end of the
file say the same in ordinary loops, and serve float64. They have a loop of its own for work in place: where arrays
might overlap, the compiler does not vectorize.
"""

from math import copysign, erfc, exp, factorial, log, pi, sqrt
from typing import Any

import numpy as np
from numba import njit

from .. import check
from ..contract import Array
from . import functions
from .program import Call, Kernel, blocks, call, kernel, launch
from .simd import Emitter, Value, emit
from .wide import double, each_vector, single

BLOCK = 8192  # values of a task
_DENSITY = 1 / sqrt(2 * pi)


# The vector forms.


def _relu_vector(e: Emitter, x: Value) -> Value:
    return e.where(x <= 0.0, e.vector(0.0), x)


def _relu_gradient(e: Emitter, y: Value, dy: Value) -> Value:
    return e.where(y > 0.0, dy, e.vector(0.0))


def _tanh_vector(e: Emitter, x: Value) -> Value:
    return single(e, functions.tanh(e, double(e, x)))


def _tanh_gradient(e: Emitter, y: Value, dy: Value) -> Value:
    return e.fma(0.0 - y, y, e.vector(1.0)) * dy


def _gelu_vector(e: Emitter, x: Value) -> Value:
    wide = double(e, x)
    return single(e, wide * functions.normal(e, wide)[0])


def _gelu_gradient(e: Emitter, x: Value, dy: Value) -> Value:
    wide = double(e, x)
    below, bell = functions.normal(e, wide)
    return single(e, e.fma(wide * _DENSITY, bell, below) * double(e, dy))


_VECTORS = (_relu_vector, _tanh_vector, _gelu_vector, _relu_gradient, _tanh_gradient, _gelu_gradient)


@emit
def _map(e: Emitter, which: int, x: Value, dy: Value, to: Value, n: Value) -> None:
    sources = [x, dy][: 1 if which < 3 else 2]

    def body(at: Value, inside: Value | None) -> None:
        values = [e.load(source + at, inside) for source in sources]
        e.store(_VECTORS[which](e, *values), to + at, inside)

    each_vector(e, n, body)


def _kernel_of(which: int) -> Kernel:
    NUMBER = which

    def activation_block(a: Any, task: int, scratch: int) -> None:
        first = task * a[4]
        at = 4 * first
        _map(NUMBER, a[0] + at, a[1] + at, a[2] + at, min(a[4], a[3] - first))

    return kernel(activation_block)


_RELU, _TANH, _GELU, _RELU_BACK, _TANH_BACK, _GELU_BACK = map(_kernel_of, range(len(_VECTORS)))


def _calls(which: Kernel, x: Array, dy: Array, to: Array) -> list[Call]:
    tasks, block = blocks(x.size, BLOCK)
    return [call(which, tasks, x, dy, to, x.size, block)] if x.size else []


# The functions of the contract.


def relu_forward(x: Array, y: Array) -> None:
    """y = max(x, 0), of any one shape; y may be x."""
    check.relu_forward(x, y)
    if x.dtype == np.float32:
        launch(*relu_forward_calls(x, y))
    else:
        _relu_forward(x.reshape(-1), y.reshape(-1))


def relu_forward_calls(x: Array, y: Array) -> list[Call]:
    return _calls(_RELU, x, x, y)


def relu_backward(x: Array, y: Array, dy: Array, dx: Array) -> None:
    """dx = dy where y > 0, else 0, of any one shape; dx may be dy."""
    check.relu_backward(x, y, dy, dx)
    if x.dtype == np.float32:
        launch(*relu_backward_calls(x, y, dy, dx))
    else:
        _relu_backward(y.reshape(-1), dy.reshape(-1), dx.reshape(-1))


def relu_backward_calls(x: Array, y: Array, dy: Array, dx: Array) -> list[Call]:
    return _calls(_RELU_BACK, y, dy, dx)


def tanh_forward(x: Array, y: Array) -> None:
    """y = tanh(x), of any one shape, within 0.501 ulp in float32 and 3 ulp in float64; y may be x."""
    check.tanh_forward(x, y)
    if x.dtype == np.float32:
        launch(*tanh_forward_calls(x, y))
    else:
        _tanh_forward(x.reshape(-1), y.reshape(-1))


def tanh_forward_calls(x: Array, y: Array) -> list[Call]:
    return _calls(_TANH, x, x, y)


def tanh_backward(x: Array, y: Array, dy: Array, dx: Array) -> None:
    """dx = (1 - y^2) dy, of any one shape; dx may be dy."""
    check.tanh_backward(x, y, dy, dx)
    if x.dtype == np.float32:
        launch(*tanh_backward_calls(x, y, dy, dx))
    else:
        _tanh_backward(y.reshape(-1), dy.reshape(-1), dx.reshape(-1))


def tanh_backward_calls(x: Array, y: Array, dy: Array, dx: Array) -> list[Call]:
    return _calls(_TANH_BACK, y, dy, dx)


def gelu_forward(x: Array, y: Array) -> None:
    """y = x Phi(x), Phi the normal distribution, of any one shape; computed in float64. y may not be x."""
    check.gelu_forward(x, y)
    if x.dtype == np.float32:
        launch(*gelu_forward_calls(x, y))
    else:
        _gelu_forward(x.reshape(-1), y.reshape(-1))


def gelu_forward_calls(x: Array, y: Array) -> list[Call]:
    return _calls(_GELU, x, x, y)


def gelu_backward(x: Array, y: Array, dy: Array, dx: Array) -> None:
    """dx = (Phi(x) + x phi(x)) dy, phi the normal density, of any one shape; dx may be dy."""
    check.gelu_backward(x, y, dy, dx)
    if x.dtype == np.float32:
        launch(*gelu_backward_calls(x, y, dy, dx))
    else:
        _gelu_backward(x.reshape(-1), dy.reshape(-1), dx.reshape(-1))


def gelu_backward_calls(x: Array, y: Array, dy: Array, dx: Array) -> list[Call]:
    return _calls(_GELU_BACK, x, dy, dx)


# The plain form.


@njit(cache=True, nogil=True)
def _relu_forward(x: Array, y: Array) -> None:
    zero = x.dtype.type(0)
    if x.ctypes.data == y.ctypes.data:
        for i in range(y.size):
            y[i] = zero if y[i] <= zero else y[i]
    else:
        for i in range(y.size):
            y[i] = zero if x[i] <= zero else x[i]


@njit(cache=True, nogil=True)
def _relu_backward(y: Array, dy: Array, dx: Array) -> None:
    zero = y.dtype.type(0)
    if dx.ctypes.data == dy.ctypes.data:
        for i in range(y.size):
            dx[i] = dx[i] if y[i] > zero else zero
    else:
        for i in range(y.size):
            dx[i] = dy[i] if y[i] > zero else zero


@njit(cache=True, nogil=True, error_model="numpy")
def _tanh_forward(x: Array, y: Array) -> None:
    if x.ctypes.data == y.ctypes.data:
        for i in range(y.size):
            y[i] = _tanh(np.float64(y[i]))
    else:
        for i in range(y.size):
            y[i] = _tanh(np.float64(x[i]))


# 1/14! r^14 is below the rounding error for |r| <= log(2)/2. log(2) in two parts, the first of them with so many zeros
# at its end that its product with a small integer is exact.
_C2, _C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10, _C11, _C12, _C13 = (1 / factorial(k) for k in range(2, 14))
_LOG2_HIGH = float.fromhex("0x1.62e42fee00000p-1")
_LOG2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
_PER_LOG2 = 1 / log(2)
_TO_INTEGER = 1.5 * 2.0**52  # adding it leaves no bits for a fraction: it rounds to an integer, found in the low bits


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _tanh(x: float) -> float:
    """tanh |x| = -e / (e + 2) with e = exp(-2 |x|) - 1; the library's tanh is a call and could not be vectorized.

    With -2 |x| = n log 2 + r the exponential is 2^n e^r, and e = 2^n (e^r - 1) + (2^n - 1) does not cancel.
    """
    z = -2 * abs(x)
    z = -80.0 if z < -80.0 else z  # there tanh is 1 in float64; NaN goes by
    shifted = z * _PER_LOG2 + _TO_INTEGER
    n = shifted - _TO_INTEGER
    r = z - n * _LOG2_HIGH - n * _LOG2_LOW
    p = (((((_C13 * r + _C12) * r + _C11) * r + _C10) * r + _C9) * r + _C8) * r + _C7
    p = ((((p * r + _C6) * r + _C5) * r + _C4) * r + _C3) * r + _C2
    exponent = np.int64(np.float64(shifted).view(np.int64) + np.int64(1023)) << np.int64(52)
    two_to_n = np.int64(exponent).view(np.float64)
    e = two_to_n * (r + r * r * p) + (two_to_n - 1)
    return copysign(e / (e + 2), x)


@njit(cache=True, nogil=True)
def _tanh_backward(y: Array, dy: Array, dx: Array) -> None:
    one = y.dtype.type(1)
    if dx.ctypes.data == dy.ctypes.data:
        for i in range(y.size):
            dx[i] = (one - y[i] * y[i]) * dx[i]
    else:
        for i in range(y.size):
            dx[i] = (one - y[i] * y[i]) * dy[i]


@njit(cache=True, nogil=True)
def _gelu_forward(x: Array, y: Array) -> None:
    for i in range(x.size):
        y[i] = x[i] * _normal(np.float64(x[i]))


@njit(cache=True, nogil=True)
def _normal(x: float) -> float:
    return 0.5 * erfc(-sqrt(0.5) * x)  # unlike 1 + erf it does not cancel where x is very negative


@njit(cache=True, nogil=True)
def _gelu_backward(x: Array, dy: Array, dx: Array) -> None:
    density = 1 / sqrt(2 * pi)
    for i in range(x.size):
        xi = np.float64(x[i])
        dx[i] = (_normal(xi) + xi * (density * exp(-0.5 * xi * xi))) * dy[i]

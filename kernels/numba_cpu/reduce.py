"""Reductions and scalings of a vector: what clipping, weight decay and Polyak averaging are made of.

Float32 goes through vectors in blocks that the threads share; the plain kernels at the end of the file serve float64.
"""

from math import isfinite, sqrt
from typing import Any

import numpy as np
from numba import njit

from .. import check_vectors as check
from ..contract import Array
from .program import Call, as_float, blocks, call, doubles_at, kernel, launch
from .simd import Emitter, Real, Value, emit
from .wide import double, doubles, each_vector, fold, sum_lanes

BLOCK = 16384  # values of a task
_SMALLEST = np.finfo(np.float64).tiny / np.finfo(np.float64).eps  # sums of squares from here on have all their digits


def l2_norm(g: Array) -> float:
    """Return the square root of the sum of g_i^2, summed in float64 in an order that depends on the length alone.

    In float64 the squares may be too large or too small for their own type where the norm is not: then they are those
    of g over its largest magnitude.
    """
    check.l2_norm(g)
    if g.dtype == np.float32:
        norm = np.empty(1)
        launch(*l2_norm_calls(g, norm))
        return float(norm[0])
    total = _sum_of_squares(g, 1.0)
    if not isfinite(total) or total < _SMALLEST:
        largest = _largest(g)
        if isfinite(largest) and largest > 0:
            return largest * sqrt(_sum_of_squares(g, largest))
    return sqrt(total)


def l2_norm_calls(g: Array, norm: Array) -> list[Call]:
    """Return the instructions norm[0] (float64) <- the norm of float32 g: sums of blocks, then the sum of the sums."""
    n = g.size
    if not n:
        norm[0] = 0
        return []
    tasks, block = blocks(n, max(BLOCK, -(-n // 4096)))
    sums = np.empty(tasks)
    return [call(_square_sums, tasks, g, n, block, sums), call(_root_of_sum, 1, sums, tasks, norm)]


@kernel
def _square_sums(a: Any, task: int, scratch: int) -> None:
    first = task * a[2]
    _squares(a[0] + 4 * first, min(a[2], a[1] - first), a[3] + 8 * task)


@emit
def _squares(e: Emitter, g: Value, n: Value, total: Value) -> None:
    def add(at: Value, inside: Value | None, total: Value) -> list[Value]:
        value = double(e, e.load(g + at, inside))
        return [e.fma(value, value, total)]

    e.store(sum_lanes(e, fold(e, n, [doubles(e, 0.0)], add)[0]), total)


@kernel
def _root_of_sum(a: Any, task: int, scratch: int) -> None:
    sums, norm = doubles_at(a[0]), doubles_at(a[2])
    total = 0.0
    for i in range(a[1]):
        total += sums[i]
    norm[0] = sqrt(total)


def scale(g: Array, s: float) -> None:
    """g <- s g."""
    check.scale(g, s)
    if g.dtype == np.float32:
        launch(*scale_calls(g, s))
    else:
        _scale(g, float(s))


def scale_calls(g: Array, s: float) -> list[Call]:
    tasks, block = blocks(g.size, BLOCK)
    return [call(_scale_block, tasks, *scale_scalars(s), g, g.size, block)] if g.size else []


def scale_scalars(s: float) -> tuple[float, ...]:
    return (float(s),)


@kernel
def _scale_block(a: Any, task: int, scratch: int) -> None:
    first = task * a[3]
    _scale_vectors(a[1] + 4 * first, min(a[3], a[2] - first), as_float(a[0]))


@emit
def _scale_vectors(e: Emitter, g: Value, n: Value, s: Real) -> None:
    factor = e.splat(s)
    each_vector(e, n, lambda at, inside: e.store(factor * e.load(g + at, inside), g + at, inside))


def axpby(a: float, x: Array, b: float, y: Array) -> None:
    """y <- a x + b y; y may be x."""
    check.axpby(a, x, b, y)
    if x.dtype == np.float32:
        launch(*axpby_calls(a, x, b, y))
    else:
        _axpby(float(a), x, float(b), y)


def axpby_calls(a: float, x: Array, b: float, y: Array) -> list[Call]:
    tasks, block = blocks(x.size, BLOCK)
    return [call(_axpby_block, tasks, float(a), float(b), x, y, x.size, block)] if x.size else []


@kernel
def _axpby_block(a: Any, task: int, scratch: int) -> None:
    first = task * a[5]
    at = 4 * first
    _axpby_vectors(a[2] + at, a[3] + at, min(a[5], a[4] - first), as_float(a[0]), as_float(a[1]))


@emit
def _axpby_vectors(e: Emitter, x: Value, y: Value, n: Value, a: Real, b: Real) -> None:
    a, b = e.splat(a), e.splat(b)

    def body(at: Value, inside: Value | None) -> None:
        e.store(e.fma(a, e.load(x + at, inside), b * e.load(y + at, inside)), y + at, inside)

    each_vector(e, n, body)


# The plain form.


# "reassoc" lets the compiler keep several partial sums, as vectorizing needs; NaN and infinities stay what they are.
@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _sum_of_squares(g: Array, unit: float) -> float:
    total = 0.0
    for i in range(g.size):
        value = np.float64(g[i]) / unit
        total += value * value
    return total


@njit(cache=True, nogil=True)
def _largest(g: Array) -> float:
    largest = 0.0
    for i in range(g.size):
        if not abs(g[i]) <= largest:  # larger, or NaN, after which nothing is larger
            largest = abs(g[i])
            if np.isnan(largest):
                break
    return float(largest)


@njit(cache=True, nogil=True)
def _scale(g: Array, s: float) -> None:
    factor = g.dtype.type(s)
    for i in range(g.size):
        g[i] *= factor


@njit(cache=True, nogil=True, fastmath={"contract"})
def _axpby(a: float, x: Array, b: float, y: Array) -> None:
    a, b = x.dtype.type(a), x.dtype.type(b)
    for i in range(y.size):
        y[i] = a * x[i] + b * y[i]

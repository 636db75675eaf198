"""Reductions and scalings of a vector: what clipping, weight decay and Polyak averaging are made of."""

from math import sqrt

import numpy as np
from numba import njit

from .. import check_vectors as check
from ..contract import Array


def l2_norm(g: Array) -> float:
    """Return the square root of the sum of g_i^2, summed in float64 in an order that depends on the length alone."""
    check.l2_norm(g)
    return sqrt(_sum_of_squares(g))


# "reassoc" lets the compiler keep several partial sums, as vectorizing needs; NaN and infinities stay what they are.
@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _sum_of_squares(g: Array) -> float:
    total = 0.0
    for i in range(g.size):
        total += np.float64(g[i]) * np.float64(g[i])
    return total


def scale(g: Array, s: float) -> None:
    """g <- s g."""
    check.scale(g, s)
    _scale(g, float(s))


@njit(cache=True, nogil=True)
def _scale(g: Array, s: float) -> None:
    factor = g.dtype.type(s)
    for i in range(g.size):
        g[i] *= factor


def axpby(a: float, x: Array, b: float, y: Array) -> None:
    """y <- a x + b y; y may be x."""
    check.axpby(a, x, b, y)
    _axpby(float(a), x, float(b), y)


@njit(cache=True, nogil=True, fastmath={"contract"})
def _axpby(a: float, x: Array, b: float, y: Array) -> None:
    a, b = x.dtype.type(a), x.dtype.type(b)
    for i in range(y.size):
        y[i] = a * x[i] + b * y[i]

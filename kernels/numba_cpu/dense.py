"""Dense layers: matrix products by BLAS (`np.dot` in Numba is SciPy's OpenBLAS), the bias in the loop that follows."""

import numpy as np
from numba import njit

from .. import check
from ..contract import Array


def dense_forward(x: Array, w: Array, b: Array, y: Array) -> None:
    """y = x w + b.

    Parameters
    ----------
    x, w, b : array of shape [B, I], [I, O], [O]
    y : array of shape [B, O], written
    """
    check.dense_forward(x, w, b, y)
    _forward(x, w, b, y)


@njit(cache=True, nogil=True)
def _forward(x: Array, w: Array, b: Array, y: Array) -> None:
    np.dot(x, w, y)
    for i in range(y.shape[0]):
        for o in range(y.shape[1]):
            y[i, o] += b[o]


def dense_backward(x: Array, w: Array, dy: Array, dx: Array | None, dw: Array, db: Array) -> None:
    """dx = dy w^T, dw = x^T dy, db = sum over the batch of dy, of y = x w + b.

    Parameters
    ----------
    x, w, dy : array of shape [B, I], [I, O], [B, O]
    dx : array of shape [B, I], written; or None where nothing below needs it (the first layer)
    dw, db : array of shape [I, O], [O], written
    """
    check.dense_backward(x, w, dy, dx, dw, db)
    # Without a dx any array of its type does: the same compiled kernel then serves both cases.
    _backward(x, w, dy, x if dx is None else dx, dw, db, dx is not None)


@njit(cache=True, nogil=True)
def _backward(x: Array, w: Array, dy: Array, dx: Array, dw: Array, db: Array, want_dx: bool) -> None:
    if want_dx:
        np.dot(dy, w.T, dx)
    np.dot(x.T, dy, dw)
    db[:] = 0
    for i in range(dy.shape[0]):
        for o in range(dy.shape[1]):
            db[o] += dy[i, o]

"""Dense layers: the matrix product and its two gradients, on the register tile of `tile.py`.

    y = x w + b         rows of y: examples     terms: inputs        b starts the sum, ReLU may end it
    dx = dy w^T         rows of dx: examples    terms: outputs       w is read transposed
    dw = x^T dy         rows of dw: inputs      terms: examples      x is read transposed

In float64 the plain kernels at the end of this file do the same with BLAS; they are also what the tests hold the fast
ones to.
"""

from typing import Any

import numpy as np
from numba import njit

from .. import check
from ..contract import Array
from .product import product, product_by_terms
from .program import Call, call, kernel, launch
from .simd import LANES, Emitter, Value, emit

FEW_EXAMPLES = 8  # so many, and reading w is what takes the time: in long runs, by the thread that updates these rows
CACHED = 2**18  # weights that stay in the caches of the cores from step to step: the same up to 128 examples
SUM_ROWS = 128  # a sum of sums rounds less than one long sum


def dense_forward(x: Array, w: Array, b: Array, y: Array) -> None:
    """y = x w + b.

    Parameters
    ----------
    x, w, b : array of shape [B, I], [I, O], [O]
    y : array of shape [B, O], written
    """
    check.dense_forward(x, w, b, y)
    if x.dtype == np.float32:
        launch(*dense_forward_calls(x, w, b, y))
    else:
        _forward(x, w, b, y)


def dense_forward_calls(x: Array, w: Array, b: Array, y: Array, floor: float = -np.inf) -> list[Call]:
    """Return the instructions of y = max(floor, x w + b); floor = 0 is a ReLU."""
    (B, I), O = x.shape, w.shape[1]
    if not B:
        return []
    if I * O >= 2**15 and (FEW_EXAMPLES if I * O > CACHED else 128) >= B:
        return product_by_terms(x, 4 * I, w, y, B, O, I, b, floor)
    return [product(x, 4 * I, 4, w, 4 * O, y, B, O, I, start=b, floor=floor)]


def dense_backward(x: Array, w: Array, dy: Array, dx: Array | None, dw: Array, db: Array) -> None:
    """dx = dy w^T, dw = x^T dy, db = sum over the batch of dy, of y = x w + b.

    Parameters
    ----------
    x, w, dy : array of shape [B, I], [I, O], [B, O]
    dx : array of shape [B, I], written; or None where nothing below needs it (the first layer)
    dw, db : array of shape [I, O], [O], written
    """
    check.dense_backward(x, w, dy, dx, dw, db)
    if x.dtype == np.float32:
        launch(*dense_backward_calls(x, w, dy, dx, dw, db))
    else:
        # Without a dx any array of its type does: the same compiled kernel then serves both cases.
        _backward(x, w, dy, x if dx is None else dx, dw, db, dx is not None)


def dense_backward_calls(x: Array, w: Array, dy: Array, dx: Array | None, dw: Array, db: Array) -> list[Call]:
    """Return the instructions of dx = dy w^T, dw = x^T dy, db = sum of dy."""
    (B, I), O = x.shape, w.shape[1]
    if not B:
        dw[...], db[...] = 0, 0
        return []
    return [
        *([] if dx is None else dense_input_gradient_calls(w, dy, dx)),
        product(x, 4, 4 * I, dy, 4 * O, dw, I, O, B),
        *column_sums_calls(dy, db),
    ]


def dense_input_gradient_calls(w: Array, dy: Array, dx: Array) -> list[Call]:
    """Return the instructions of dx = dy w^T."""
    (B, O), I = dy.shape, w.shape[0]
    return [product(dy, 4 * O, 4, w, 4 * O, dx, B, I, O, transposed=True)]


def column_sums_calls(x: Array, total: Array) -> list[Call]:
    """Return the instruction total[C] = sum over the rows of x[M, C], both float32."""
    M, C = x.shape
    return [call(_column_sums, -(-C // LANES), x, total, M, C)]


@kernel
def _column_sums(a: Any, task: int, scratch: int) -> None:
    x, total, rows, columns = a[0], a[1], a[2], a[3]
    at = task * LANES
    _sum_columns(x + 4 * at, 4 * columns, rows // SUM_ROWS, rows % SUM_ROWS, columns - at, total + 4 * at)


@emit
def _sum_columns(
    e: Emitter, x: Value, x_row: Value, blocks: Value, rest: Value, columns: Value, total: Value
) -> None:
    inside = e.first(columns)

    def add_rows(count: Value | int, x: Value) -> list[Value]:
        """Return the address after `count` rows, and their sum."""
        return e.loop(count, [x, e.vector(0.0)], lambda _, x, one: [x + x_row, one + e.load(x, inside)])

    def add_block(_: Value, x: Value, sums: Value) -> list[Value]:
        x, block = add_rows(SUM_ROWS, x)
        return [x, sums + block]

    x, sums = e.loop(blocks, [x, e.vector(0.0)], add_block)
    _, last = add_rows(rest, x)
    e.store(sums + last, total, inside)


# The plain form.


@njit(cache=True, nogil=True)
def _forward(x: Array, w: Array, b: Array, y: Array) -> None:
    np.dot(x, w, y)
    for i in range(y.shape[0]):
        for o in range(y.shape[1]):
            y[i, o] += b[o]


@njit(cache=True, nogil=True)
def _backward(x: Array, w: Array, dy: Array, dx: Array, dw: Array, db: Array, want_dx: bool) -> None:
    if want_dx:
        np.dot(dy, w.T, dx)
    np.dot(x.T, dy, dw)
    db[:] = 0
    for i in range(dy.shape[0]):
        for o in range(dy.shape[1]):
            db[o] += dy[i, o]

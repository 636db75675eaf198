"""The dense (fully connected) layer: three matrix products, which differ in how their tiles are filled."""

from __future__ import annotations

from ..contract import Array
from . import check
from .operands import matrix_across, matrix_along
from .product import matrix, product
from .sums import sum_rows


def dense_forward(x: Array, w: Array, b: Array, y: Array) -> None:
    """Write y = x w + b."""
    check.dense_forward(x, w, b, y)
    product(matrix_along, matrix_across, x, w, b, y, depth=w.shape[0])


def dense_backward(x: Array, w: Array, dy: Array, dx: Array | None, dw: Array, db: Array) -> None:
    """Write dx = dy w^T (unless dx is None), dw = x^T dy and db = sum over the rows of dy."""
    check.dense_backward(x, w, dy, dx, dw, db)
    if dx is not None:
        product(matrix_along, matrix_along, dy, w, None, dx, depth=w.shape[1])
    product(matrix_across, matrix_across, x, dy, None, dw, depth=x.shape[0])
    sum_rows(dy, matrix(db))

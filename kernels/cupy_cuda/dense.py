"""The dense (fully connected) layer."""

from __future__ import annotations

from ..contract import Array
from . import check, product


def dense_forward(x: Array, w: Array, b: Array, y: Array) -> None:
    """Write y = x w + b."""
    check.dense_forward(x, w, b, y)
    product.nn(x, w, b, y)


def dense_backward(x: Array, w: Array, dy: Array, dx: Array | None, dw: Array, db: Array) -> None:
    """Write dx = dy w^T, dw = x^T dy, db = sum_B dy."""
    check.dense_backward(x, w, dy, dx, dw, db)
    if dx is not None:
        product.nt(dy, w, dx)
    product.tn(x, dy, dw, db)

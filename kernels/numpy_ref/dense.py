"""The dense (fully connected) layer."""

from .. import check
from ..contract import Array


def dense_forward(x: Array, w: Array, b: Array, y: Array) -> None:
    r"""Write the dense layer of `x` into `y`.

    .. math:: y = x w + b

    Parameters
    ----------
    x : [B, I]
    w : [I, O]
    b : [O]
    y : [B, O], written

    Examples
    --------
    >>> import numpy as np
    >>> x, w, b = np.array([[1.0, 2.0]]), np.array([[3.0, 4.0], [5.0, 6.0]]), np.array([0.5, 0.0])
    >>> y = np.empty((1, 2))
    >>> dense_forward(x, w, b, y)
    >>> y
    array([[13.5, 16. ]])
    """
    check.dense_forward(x, w, b, y)
    y[...] = x @ w + b


def dense_backward(x: Array, w: Array, dy: Array, dx: Array | None, dw: Array, db: Array) -> None:
    r"""Write the gradients of `dense_forward`, given `dy`, that of its output.

    .. math:: dx = dy\, w^T \qquad dw = x^T dy \qquad db = \sum_B dy

    Parameters
    ----------
    x : [B, I]
    w : [I, O]
    dy : [B, O]
    dx : [B, I] or None, written
        None for the first layer, whose input needs no gradient.
    dw : [I, O], written
    db : [O], written
    """
    check.dense_backward(x, w, dy, dx, dw, db)
    if dx is not None:
        dx[...] = dy @ w.T
    dw[...] = x.T @ dy
    db[...] = dy.sum(axis=0)

"""Reductions and scalings of a vector: what clipping, weight decay and Polyak averaging are made of."""

import numpy as np

from .. import check_vectors as check
from ..contract import Array


def l2_norm(g: Array) -> float:
    r"""Return :math:`|g| = \sqrt{\sum_i g_i^2}`, summed in float64.

    >>> l2_norm(np.array([3.0, 4.0]))
    5.0
    """
    check.l2_norm(g)
    return float(np.sqrt(np.sum(g.astype(np.float64) ** 2)))


def scale(g: Array, s: float) -> None:
    r"""Multiply `g` by `s` in place: :math:`g \leftarrow s \, g`."""
    check.scale(g, s)
    g[...] = s * g


def axpby(a: float, x: Array, b: float, y: Array) -> None:
    r"""Mix `x` into `y` in place: :math:`y \leftarrow a x + b y`; `y` may be `x`."""
    check.axpby(a, x, b, y)
    y[...] = a * x + b * y

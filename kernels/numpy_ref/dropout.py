"""Dropout (Srivastava et al. 2014), inverted: the kept elements are scaled up while training.

The mask is a function of (seed, step, layer) and of the element's index, see `refplay.kernels.philox`. So nothing is
stored between forward and backward, and every backend draws the same mask bit for bit.
"""

import numpy as np
from numpy.typing import NDArray

from .. import check
from ..contract import Array
from ..philox import MASK, philox4x32, threshold


def dropout_forward(x: Array, y: Array, rate: float, seed: int, step: int, layer: int) -> None:
    r"""Write `x` with about a fraction `rate` of its elements set to zero; `y` may be `x`.

    .. math:: y_i = x_i / (1 - rate) \text{ if } word_i \ge 2^{32} rate \text{ else } 0

    Parameters
    ----------
    x : any shape
    y : as `x`, written
    rate : float, 0 <= rate < 1
    seed : int, 0 <= seed < 2**64
    step, layer : int, 0 <= . < 2**32
        Which mask of the seed: another one in each step and each layer.

    Examples
    --------
    >>> x, y = np.ones(6), np.empty(6)
    >>> dropout_forward(x, y, rate=0.5, seed=0, step=0, layer=0)
    >>> y
    array([0., 2., 2., 2., 2., 0.])
    """
    check.dropout_forward(x, y, rate, seed, step, layer)
    y[...] = np.where(_kept(x.shape, rate, seed, step, layer), x * (1 / (1 - rate)), 0)


def dropout_backward(dy: Array, dx: Array, rate: float, seed: int, step: int, layer: int) -> None:
    r"""Write the gradient of `dropout_forward`: the same mask and scale on `dy`; `dx` may be `dy`.

    .. math:: dx_i = dy_i / (1 - rate) \text{ if } word_i \ge 2^{32} rate \text{ else } 0
    """
    check.dropout_backward(dy, dx, rate, seed, step, layer)
    dx[...] = np.where(_kept(dy.shape, rate, seed, step, layer), dy * (1 / (1 - rate)), 0)


def _kept(shape: tuple[int, ...], rate: float, seed: int, step: int, layer: int) -> NDArray[np.bool_]:
    n = int(np.prod(shape))
    blocks = np.arange((n + 3) // 4, dtype=np.uint64)
    counter = (blocks & MASK, blocks >> 32, np.full_like(blocks, step), np.full_like(blocks, layer))
    key = (int(seed) & MASK, int(seed) >> 32)
    words = np.stack(philox4x32(counter, key), axis=1).reshape(-1)[:n]
    return (words >= threshold(rate)).reshape(shape)

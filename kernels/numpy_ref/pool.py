"""Pooling: the maximum of each window, and the mean of each image."""

import numpy as np

from .. import check
from ..contract import Array
from .conv import add_windows, windows_of


def max_pool2d_forward(x: Array, y: Array, window: int, stride: int) -> None:
    r"""Write the maximum of every square window into `y`; a NaN in the window is its maximum.

    .. math:: y_{nijc} = \max_{0 \le r, s < window} \; x_{n,\; i \cdot stride + r,\; j \cdot stride + s,\; c}

    Parameters
    ----------
    x : [N, H, W, C]
    y : [N, OH, OW, C], written
        OH = (H - window) // stride + 1, and OW likewise: rows and columns that fill no window are left out.
    window, stride : int, 1 or more
    """
    check.max_pool2d_forward(x, y, window, stride)
    y[...] = windows_of(x, window, window, stride).max(axis=(3, 4))


def max_pool2d_backward(x: Array, y: Array, dy: Array, dx: Array, window: int, stride: int) -> None:
    r"""Write the gradient of `max_pool2d_forward`: each window gives `dy` to its maximum.

    Of several equal maxima the first in row-major order takes all of it, as in PyTorch. Where windows overlap, their
    gradients add up.

    Parameters
    ----------
    x, y, window, stride
        As they were in `max_pool2d_forward`.
    dy : [N, OH, OW, C]
    dx : [N, H, W, C], written
    """
    check.max_pool2d_backward(x, y, dy, dx, window, stride)
    windows = windows_of(x, window, window, stride)
    n, oh, ow, r, s, c = windows.shape
    first = windows.reshape(n, oh, ow, r * s, c).argmax(axis=3)
    is_first = first[:, :, :, None] == np.arange(r * s)[:, None]
    dx[...] = 0
    add_windows(dx, np.where(is_first, dy[:, :, :, None], 0).reshape(windows.shape), stride)  # 0 * inf would be NaN


def global_avg_pool_forward(x: Array, y: Array) -> None:
    r"""Write the mean of each channel of each image into `y`.

    .. math:: y_{nc} = \frac{1}{H W} \sum_{h,w} x_{nhwc}

    Parameters
    ----------
    x : [N, H, W, C]
    y : [N, C], written
    """
    check.global_avg_pool_forward(x, y)
    y[...] = x.mean(axis=(1, 2), dtype=np.float64)


def global_avg_pool_backward(dy: Array, dx: Array) -> None:
    r"""Write the gradient of `global_avg_pool_forward`.

    .. math:: dx_{nhwc} = \frac{1}{H W} \, dy_{nc}

    Parameters
    ----------
    dy : [N, C]
    dx : [N, H, W, C], written
    """
    check.global_avg_pool_backward(dy, dx)
    _, height, width, _ = dx.shape
    dx[...] = dy[:, None, None, :] / (height * width)

"""Pooling: the maximum of each window, and the mean of each image."""

from __future__ import annotations

from math import prod
from typing import Any

from ..contract import Array
from . import check
from .device import BLOCK, blocks_for, launch, multiprocessors
from .launches import columns, packs

FEW = 16  # pixels that a thread adds by itself in any case


def max_pool2d_forward(x: Array, y: Array, window: int, stride: int) -> None:
    """y[n,i,j,c] = max of x[n, i stride + r, j stride + s, c] over 0 <= r, s < window; a NaN is a maximum.

    Parameters
    ----------
    x, y : [N, H, W, C], [N, OH, OW, C]; y is written
    window, stride : int, 1 or more
    """
    check.max_pool2d_forward(x, y, window, stride)
    launch(f"max_pool.max_pool2d_forward_{x.dtype}", _blocks(y), BLOCK, x, y, *x.shape, *y.shape[1:3], int(window),
           int(stride))  # fmt: skip


def max_pool2d_backward(x: Array, y: Array, dy: Array, dx: Array, window: int, stride: int) -> None:
    """dx = the sum of dy over the windows of which the pixel is the first maximum in row-major order.

    Parameters
    ----------
    x, y, window, stride : as they were in `max_pool2d_forward`
    dy, dx : [N, OH, OW, C], [N, H, W, C]; dx is written
    """
    check.max_pool2d_backward(x, y, dy, dx, window, stride)
    max_pool_backward(x, y, dy, dx, window, stride)


def max_pool_backward(
    x: Array, y: Array, dy: Array, dx: Array, window: int, stride: int, rectified: bool = False
) -> None:
    """As `max_pool2d_backward`; `rectified`, where windows do not overlap: back through x = relu(...) too."""
    sizes = (*x.shape, *y.shape[1:3], int(window), int(stride))
    if window > stride:
        launch(f"max_pool.max_pool2d_overlapping_{x.dtype}", _blocks(x), BLOCK, x, y, dy, dx, *sizes)
    else:
        N, H, W, C = x.shape
        cells = N * -(-H // stride) * -(-W // stride) * -(-C // packs(x.dtype))
        launch(f"max_pool.max_pool2d_apart_{x.dtype}", blocks_for(cells), BLOCK, x, dy, dx, *sizes,
               int(rectified))  # fmt: skip


def global_avg_pool_forward(x: Array, y: Array) -> None:
    """y[n,c] = the mean of x[n,h,w,c] over h and w.

    Parameters
    ----------
    x, y : [N, H, W, C], [N, C]; y is written
    """
    check.global_avg_pool_forward(x, y)
    N, H, W, C = x.shape
    if H * W <= FEW or _blocks(y) >= 4 * multiprocessors():
        launch(f"avg_pool.avg_pool_each_{x.dtype}", _blocks(y), BLOCK, x, y, N, H * W, C)
    else:
        cut = columns(N, 1, C, packs(x.dtype), 1, waves=1)
        launch(f"avg_pool.avg_pool_block_{x.dtype}", N * cut.tiles, BLOCK, x, y, H * W, C, cut.tiles, cut.lanes)


def global_avg_pool_backward(dy: Array, dx: Array) -> None:
    """dx[n,h,w,c] = dy[n,c] / (H W).

    Parameters
    ----------
    dy, dx : [N, C], [N, H, W, C]; dx is written
    """
    check.global_avg_pool_backward(dy, dx)
    N, H, W, C = dx.shape
    launch(f"avg_pool.avg_pool_back_{dx.dtype}", _blocks(dx), BLOCK, dy, dx, N, H * W, C)


def _blocks(x: Any) -> int:
    """Return the blocks of a thread for each pack of channels."""
    return blocks_for(prod(x.shape[:-1]) * -(-x.shape[-1] // packs(x.dtype)))

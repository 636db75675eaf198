"""Pooling. Float32 goes the way of `pooling`; the plain kernels here say the same in loops, and serve float64.

The loops run over the channels innermost, where the values lie side by side.
"""

import numpy as np
from numba import njit

from .. import check
from ..contract import Array
from .pooling import (
    global_avg_pool_backward_calls,
    global_avg_pool_forward_calls,
    max_pool2d_backward_calls,
    max_pool2d_forward_calls,
)
from .program import launch


def max_pool2d_forward(x: Array, y: Array, window: int, stride: int) -> None:
    """y[n,i,j,c] = max over 0 <= r, s < window of x[n, i stride + r, j stride + s, c]; a NaN in the window wins.

    Parameters
    ----------
    x, y : [N, H, W, C], [N, OH, OW, C] written
    window, stride : int, 1 or more
    """
    check.max_pool2d_forward(x, y, window, stride)
    if x.dtype == np.float32:
        launch(*max_pool2d_forward_calls(x, y, int(window), int(stride)))
    else:
        _max_forward(x, y, int(window), int(stride))


@njit(cache=True, nogil=True)
def _max_forward(x: Array, y: Array, window: int, stride: int) -> None:
    N, OH, OW, C = y.shape
    for n in range(N):
        for i in range(OH):
            for j in range(OW):
                for c in range(C):
                    y[n, i, j, c] = x[n, i * stride, j * stride, c]
                for r in range(window):
                    for s in range(window):
                        for c in range(C):
                            value, best = x[n, i * stride + r, j * stride + s, c], y[n, i, j, c]
                            y[n, i, j, c] = value if value > best or value != value else best


def max_pool2d_backward(x: Array, y: Array, dy: Array, dx: Array, window: int, stride: int) -> None:
    """dx = dy at the first maximum of each window in row-major order, 0 elsewhere; overlapping windows add up.

    Parameters
    ----------
    x, y, dy, dx : [N, H, W, C], [N, OH, OW, C] both, [N, H, W, C] written
    window, stride : int, as in the forward pass
    """
    check.max_pool2d_backward(x, y, dy, dx, window, stride)
    if x.dtype == np.float32:
        launch(*max_pool2d_backward_calls(x, y, dy, dx, int(window), int(stride)))
    else:
        _max_backward(x, y, dy, dx, int(window), int(stride))


@njit(cache=True, nogil=True)
def _max_backward(x: Array, y: Array, dy: Array, dx: Array, window: int, stride: int) -> None:
    N, OH, OW, C = y.shape
    zero = x.dtype.type(0)
    rest = np.empty(C, x.dtype)  # per channel the gradient, until it has found its maximum: no branch, no argmax
    dx[:] = zero
    for n in range(N):
        for i in range(OH):
            for j in range(OW):
                for c in range(C):
                    rest[c] = dy[n, i, j, c]
                for r in range(window):
                    for s in range(window):
                        for c in range(C):
                            value = x[n, i * stride + r, j * stride + s, c]
                            found = value == y[n, i, j, c] or value != value
                            dx[n, i * stride + r, j * stride + s, c] += rest[c] if found else zero
                            rest[c] = zero if found else rest[c]


def global_avg_pool_forward(x: Array, y: Array) -> None:
    """y[n,c] = mean of x[n,:,:,c], summed in float64, from x [N, H, W, C] into y [N, C]."""
    check.global_avg_pool_forward(x, y)
    if x.dtype == np.float32:
        launch(*global_avg_pool_forward_calls(x, y))
    else:
        _avg_forward(x, y)


@njit(cache=True, nogil=True, error_model="numpy")
def _avg_forward(x: Array, y: Array) -> None:
    N, H, W, C = x.shape
    total = np.empty(C, np.float64)
    for n in range(N):
        total[:] = 0
        for h in range(H):
            for w in range(W):
                for c in range(C):
                    total[c] += x[n, h, w, c]
        for c in range(C):
            y[n, c] = total[c] / (H * W)


def global_avg_pool_backward(dy: Array, dx: Array) -> None:
    """dx[n,h,w,c] = dy[n,c] / (H W), from dy [N, C] into dx [N, H, W, C]."""
    check.global_avg_pool_backward(dy, dx)
    if dy.dtype == np.float32:
        launch(*global_avg_pool_backward_calls(dy, dx))
    else:
        _avg_backward(dy, dx)


@njit(cache=True, nogil=True, error_model="numpy")
def _avg_backward(dy: Array, dx: Array) -> None:
    N, H, W, C = dx.shape
    pixels = dx.dtype.type(H * W)
    for n in range(N):
        for h in range(H):
            for w in range(W):
                for c in range(C):
                    dx[n, h, w, c] = dy[n, c] / pixels

"""Pooling: the maximum of each window, and the mean of each image.

A block owns 256 neighbouring values of one image, in the order of memory (the channel runs fastest), a thread one of
them. `blocks of an image` is how many an image takes; the last may be partly idle.
"""

from __future__ import annotations

from typing import Any

from ..contract import Array
from . import check
from .device import BLOCK, blocks_for, cuda, device_function, kernel, launch
from .indices import natural, split
from .product import matrix
from .sums import sum_slices


def max_pool2d_forward(x: Array, y: Array, window: int, stride: int) -> None:
    """Write the maximum of every square window into y; a NaN in the window is its maximum."""
    check.max_pool2d_forward(x, y, window, stride)
    _over_images(_maximum, y, x, y, window, stride)


def max_pool2d_backward(x: Array, y: Array, dy: Array, dx: Array, window: int, stride: int) -> None:
    """Write the gradient of `max_pool2d_forward`: each window gives dy to its first maximum."""
    check.max_pool2d_backward(x, y, dy, dx, window, stride)
    _over_images(_from_windows, dx, x, y, dy, dx, window, stride)


def global_avg_pool_forward(x: Array, y: Array) -> None:
    """Write the mean of each channel of each image into y."""
    check.global_avg_pool_forward(x, y)
    pixels = x.shape[1] * x.shape[2]
    if y.size:
        sum_slices(matrix(x), y, pixels, float(pixels))


def global_avg_pool_backward(dy: Array, dx: Array) -> None:
    """Write the gradient of `global_avg_pool_forward`: dx = dy / pixels."""
    check.global_avg_pool_backward(dy, dx)
    _over_images(_spread, dx, dy, dx)


def _over_images(pooling: Any, owned: Array, *arguments: Any) -> None:
    """Launch a kernel of this file, a thread for each value of `owned`."""
    per_image = blocks_for(owned.shape[1] * owned.shape[2] * owned.shape[3])
    launch(pooling, owned.shape[0] * per_image, BLOCK, *arguments, per_image)


@device_function
def owned_by_thread(owned, per_image):
    """Return image, row, column and channel of the value that the thread owns; the row is too large if it owns none."""
    image, part = split(natural(cuda.blockIdx.x), per_image)
    pixel, channel = split(part * BLOCK + natural(cuda.threadIdx.x), owned.shape[3])
    row, column = split(pixel, owned.shape[2])
    return image, row, column, channel


@kernel
def _maximum(x, y, window, stride, per_image):
    """x[N,H,W,C] -> y[N,OH,OW,C]: a thread owns y[n, i, j, c] and reads its window."""
    n, i, j, c = owned_by_thread(y, per_image)
    if i < y.shape[1]:
        h, w = natural(i * stride), natural(j * stride)
        largest = x[n, h, w, c]
        for r in range(window):
            for s in range(window):
                value = x[n, h + r, w + s, c]
                if value > largest or value != value:  # a NaN is larger than all, and nothing is larger than it
                    largest = value
        y[n, i, j, c] = largest


@kernel
def _from_windows(x, y, dy, dx, window, stride, per_image):
    """x[N,H,W,C] y, dy[N,OH,OW,C] -> dx[N,H,W,C]: a thread owns dx[n, h, w, c] and looks at the windows it lies in.

    It takes the dy of those of which it is the first maximum: its value is that of y, and none like it comes before.
    Windows do not write into dx, since two that overlap would write in one place.
    """
    n, h, w, c = owned_by_thread(dx, per_image)
    if h < dx.shape[1]:
        value = x[n, h, w, c]
        total = dy.dtype.type(0)
        from_i, to_i = windows_over(h, window, stride, y.shape[1])
        from_j, to_j = windows_over(w, window, stride, y.shape[2])
        for i in range(from_i, to_i):
            for j in range(from_j, to_j):
                if same(y[n, i, j, c], value):
                    top, left = natural(i * stride), natural(j * stride)
                    first = True
                    for earlier in range((h - top) * window + w - left):  # in row-major order
                        r, s = split(earlier, window)
                        if same(x[n, top + r, left + s, c], value):
                            first = False
                    if first:
                        total += dy[n, i, j, c]
        dx[n, h, w, c] = total


@device_function
def windows_over(place, window, stride, windows):
    """Return the first i with i stride <= place < i stride + window, and the end of those that do."""
    start, _ = split(max(place - window + stride, 0), stride)
    last, _ = split(place, stride)
    return start, min(last + 1, windows)


@device_function
def same(a, b):
    """Return whether a and b are equal as maxima: a NaN is like any other."""
    return a == b or (a != a and b != b)


@kernel
def _spread(dy, dx, per_image):
    """dy[N,C] -> dx[N,H,W,C]: a thread owns dx[n, h, w, c]."""
    n, h, w, c = owned_by_thread(dx, per_image)
    if h < dx.shape[1]:
        dx[n, h, w, c] = dy[n, c] / dy.dtype.type(dx.shape[1] * dx.shape[2])

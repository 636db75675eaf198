"""The convolution of images, which is a cross-correlation: the filter is not flipped."""

import numpy as np

from .. import check
from ..contract import Array


def conv2d_forward(x: Array, w: Array, b: Array, y: Array, stride: int, padding: int) -> None:
    r"""Write the cross-correlation of the images `x` with the filters `w`, plus `b`, into `y`.

    .. math:: y_{nijk} = b_k + \sum_{r,s,c} x_{n,\; i \cdot stride + r - padding,\; j \cdot stride + s - padding,\; c}
              \; w_{rsck}

    with zeros where the index of `x` points outside of the image.

    Parameters
    ----------
    x : [N, H, W, C]
    w : [R, S, C, K]
    b : [K]
    y : [N, OH, OW, K], written
        OH = (H + 2 padding - R) // stride + 1, and OW likewise.
    stride : int, 1 or more
    padding : int, 0 or more
        Pixels of zeros on each of the four sides.
    """
    check.conv2d_forward(x, w, b, y, stride, padding)
    windows = windows_of(padded(x, padding), w.shape[0], w.shape[1], stride)
    y[...] = np.tensordot(windows, w, axes=3) + b  # over r, s, c


def conv2d_backward(
    x: Array, w: Array, dy: Array, dx: Array | None, dw: Array, db: Array, stride: int, padding: int
) -> None:
    r"""Write the gradients of `conv2d_forward`, given `dy`, that of its output.

    .. math:: dw_{rsck} = \sum_{n,i,j} window_{nijrsc} \; dy_{nijk} \qquad db_k = \sum_{n,i,j} dy_{nijk} \qquad
              dwindow_{nijrsc} = \sum_k dy_{nijk} \; w_{rsck}

    where `dx` sums `dwindow` over all windows that hold a pixel.

    Parameters
    ----------
    x, w, stride, padding
        As they were in `conv2d_forward`.
    dy : [N, OH, OW, K]
    dx : [N, H, W, C] or None, written
    dw : [R, S, C, K], written
    db : [K], written
    """
    check.conv2d_backward(x, w, dy, dx, dw, db, stride, padding)
    (height, width), (r, s) = x.shape[1:3], w.shape[:2]
    x_padded = padded(x, padding)
    windows = windows_of(x_padded, r, s, stride)
    dw[...] = np.tensordot(windows, dy, axes=([0, 1, 2], [0, 1, 2]))  # over n, i, j
    db[...] = dy.sum(axis=(0, 1, 2))
    if dx is not None:
        dx_padded = np.zeros_like(x_padded)
        add_windows(dx_padded, np.tensordot(dy, w, axes=([3], [3])), stride)  # over k
        dx[...] = dx_padded[:, padding : padding + height, padding : padding + width]


def padded(x: Array, padding: int) -> Array:
    """Return the images `x` with `padding` pixels of zeros on every side."""
    return np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))


def windows_of(x: Array, r: int, s: int, stride: int) -> Array:
    """Return a view [N, OH, OW, r, s, C] of all windows of the images `x`."""
    windows = np.lib.stride_tricks.sliding_window_view(x, (r, s), axis=(1, 2))[:, ::stride, ::stride]
    return windows.transpose(0, 1, 2, 4, 5, 3)


def add_windows(dx: Array, dwindows: Array, stride: int) -> None:
    """Add the gradients of all windows to the pixels they were taken from, the transpose of `windows_of`."""
    _, oh, ow, r, s, _ = dwindows.shape
    for i in range(r):
        for j in range(s):
            dx[:, i : i + stride * oh : stride, j : j + stride * ow : stride] += dwindows[:, :, :, i, j]

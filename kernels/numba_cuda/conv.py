"""The convolution: matrix products of patches and filters; `patches` says what the matrices are."""

from __future__ import annotations

from ..contract import Array
from . import check
from .device import blocks_for
from .operands import matrix_across
from .patches import Form, every_stride, filters_along, patches_across, patches_along
from .product import matrix, product
from .sums import sum_rows


def conv2d_forward(x: Array, w: Array, b: Array, y: Array, stride: int, padding: int) -> None:
    """Write the cross-correlation of the images x with the filters w, plus b, into y."""
    check.conv2d_forward(x, w, b, y, stride, padding)
    form = _patches_of_images(x, w, y, stride, padding)
    depth = w.size // w.shape[3]
    product(patches_along, matrix_across, matrix(x), matrix(w), b, matrix(y), depth, form=form)


def conv2d_backward(
    x: Array, w: Array, dy: Array, dx: Array | None, dw: Array, db: Array, stride: int, padding: int
) -> None:
    """Write the gradients of `conv2d_forward`: dx (unless it is None), dw = patches^T dy, db = sum over the pixels."""
    check.conv2d_backward(x, w, dy, dx, dw, db, stride, padding)
    if dx is not None:
        _input_gradient(w, dy, dx, stride, padding)
    form = _patches_of_images(x, w, dy, stride, padding)
    pixels = dy.size // dy.shape[3]
    product(patches_across, matrix_across, matrix(x), matrix(dy), None, matrix(dw), pixels, form=form)
    sum_rows(matrix(dy), matrix(db))


def _patches_of_images(x: Array, w: Array, y: Array, stride: int, padding: int) -> Form:
    """Return where the patches of x lie, one for each pixel of y."""
    return Form(y.shape[1], y.shape[2], stride, -padding, -padding, 1, w.shape[1], x.shape[1], x.shape[2])


def _input_gradient(w: Array, dy: Array, dx: Array, stride: int, padding: int) -> None:
    """dx[pixel, c] = sum over (r, s, k) of patch of dy[pixel, (r, s, k)] w[r, s, c, k].

    Pixel h went under tap r of output i where i stride + r - padding = h. So (h + padding) % stride tells which taps
    count: from this one on each stride-th, lying on the outputs from (h + padding) // stride on, downwards. All pixels
    that agree in it, in both directions, are one product: stride x stride of them, one if the stride is 1.
    """
    images, height, width, channels = dx.shape
    for first_h in range(min(stride, height)):
        for first_w in range(min(stride, width)):
            (top, tap_h), (left, tap_w) = divmod(first_h + padding, stride), divmod(first_w + padding, stride)
            grid_h, grid_w = blocks_for(height - first_h, stride), blocks_for(width - first_w, stride)
            taps_h, taps_w = blocks_for(w.shape[0] - tap_h, stride), blocks_for(w.shape[1] - tap_w, stride)
            form = Form(
                grid_h, grid_w, 1, top, left, -1, taps_w, dy.shape[1], dy.shape[2],
                tap_h, tap_w, w.shape[1], channels, stride, first_h, first_w, height, width,
            )  # fmt: skip
            product(
                patches_along, filters_along, matrix(dy), matrix(w), None, matrix(dx), taps_h * taps_w * w.shape[3],
                rows=images * grid_h * grid_w, form=form, target=every_stride,
            )  # fmt: skip

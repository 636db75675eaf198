"""Convolutions. In float32 they run over the threads and through the register tile: see `convolve` and `filter_grad`.

In float64, and as explanation of both, as plain matrix products: the patches under the filter become rows of a matrix
(im2col), BLAS does the rest. The rows are made in blocks of about 256, so that a block is still in the cache when the
product reads it. Each image is first copied into a frame of zeros, which frees the loops over its patches of borders. A
call allocates its scratch, one framed image and one block, and frees it; the allocator reuses the memory.
"""

import numpy as np
from numba import njit

from .. import check
from ..contract import Array
from .convolve import backward_images, convolve, fill_frame, new_frame, taps_of
from .filter_grad import backward_filters
from .program import Call, launch

BLOCK_ROWS = 256


def conv2d_forward(x: Array, w: Array, b: Array, y: Array, stride: int, padding: int) -> None:
    """y[n,i,j,k] = b[k] + sum over r, s, c of x[n, i stride + r - padding, j stride + s - padding, c] w[r,s,c,k].

    A cross-correlation, as in every framework; pixels outside of the image count as zero.

    Parameters
    ----------
    x, w, b : array of shape [N, H, W, C], [R, S, C, K], [K]
    y : array of shape [N, OH, OW, K], written, with OH = (H + 2 padding - R) // stride + 1
    stride, padding : int, at least 1 and 0
    """
    check.conv2d_forward(x, w, b, y, stride, padding)
    if x.dtype == np.float32:
        launch(*conv2d_forward_calls(x, w, b, y, int(stride), int(padding)))
    else:
        _forward(x, w, b, y, int(stride), int(padding))


def conv2d_forward_calls(
    x: Array, w: Array, b: Array, y: Array, stride: int, padding: int, floor: float = -np.inf,
    frame: Array | None = None,
) -> list[Call]:  # fmt: skip
    """Return the instructions of `conv2d_forward` in float32; with `floor=0.0` those of ReLU after it.

    `frame`, from `new_frame(x, padding)`, is where the framed images go, for `conv2d_backward_calls` to find them.
    """
    if not len(x):
        return []
    frame = new_frame(x, padding) if frame is None else frame
    taps = taps_of(frame, w.shape[0], w.shape[1], stride)
    K = w.shape[3]
    return [*fill_frame(x, frame, padding, padding),
            convolve(frame, 0, taps, w, 4 * K, 0, y, K, start=b, floor=floor)]


@njit(cache=True, nogil=True, error_model="numpy")
def _forward(x: Array, w: Array, b: Array, y: Array, stride: int, padding: int) -> None:
    frame, cols = _frame(x, padding), _block(w, y)
    filters, pixels = w.reshape(-1, w.shape[3]), y.reshape(-1, y.shape[3])
    for start in range(0, pixels.shape[0], cols.shape[0]):
        block = pixels[start : start + cols.shape[0]]
        patches = cols[: block.shape[0]]
        _gather(x, frame, patches, w.shape[0], start, y.shape[1], y.shape[2], stride, padding)
        np.dot(patches, filters, block)
        for i in range(block.shape[0]):
            for k in range(block.shape[1]):
                block[i, k] += b[k]


def conv2d_backward(
    x: Array, w: Array, dy: Array, dx: Array | None, dw: Array, db: Array, stride: int, padding: int
) -> None:
    """Gradients of `conv2d_forward`: dw = patches^T dy, db = sum of dy, and dy w^T scattered back into dx.

    Parameters
    ----------
    x, w, dy : array of shape [N, H, W, C], [R, S, C, K], [N, OH, OW, K]
    dx : array of shape [N, H, W, C], written; or None where nothing below needs it (the first layer)
    dw, db : array of shape [R, S, C, K], [K], written
    stride, padding : int, as in the forward pass
    """
    check.conv2d_backward(x, w, dy, dx, dw, db, stride, padding)
    if x.dtype == np.float32:
        launch(*conv2d_backward_calls(x, w, dy, dx, dw, db, int(stride), int(padding)))
        return
    _backward_filters(x, dy, dw, db, int(stride), int(padding))
    if dx is not None:
        _backward_image(w, dy, dx, int(stride), int(padding))


def conv2d_backward_calls(
    x: Array, w: Array, dy: Array, dx: Array | None, dw: Array, db: Array, stride: int, padding: int,
    frame: Array | None = None,
) -> list[Call]:  # fmt: skip
    """Return the instructions of `conv2d_backward` in float32; `frame`: the one that the forward pass has filled."""
    calls = []
    if frame is None:
        frame = new_frame(x, padding)
        calls += fill_frame(x, frame, padding, padding)
    calls += backward_filters(frame, dy, dw, db, stride)
    return calls + (backward_images(w, dy, dx, stride, padding) if dx is not None and len(x) else [])


@njit(cache=True, nogil=True, error_model="numpy")
def _backward_filters(x: Array, dy: Array, dw: Array, db: Array, stride: int, padding: int) -> None:
    frame, cols = _frame(x, padding), _block(dw, dy)
    filters, pixels = dw.reshape(-1, dw.shape[3]), dy.reshape(-1, dy.shape[3])
    part, part_b = np.empty_like(filters), np.empty_like(db)
    filters[:] = 0
    db[:] = 0
    for start in range(0, pixels.shape[0], cols.shape[0]):
        block = pixels[start : start + cols.shape[0]]
        patches = cols[: block.shape[0]]
        _gather(x, frame, patches, dw.shape[0], start, dy.shape[1], dy.shape[2], stride, padding)
        np.dot(patches.T, block, part)
        filters += part
        part_b[:] = 0  # a sum of sums rounds less than one long sum
        for i in range(block.shape[0]):
            for k in range(block.shape[1]):
                part_b[k] += block[i, k]
        db += part_b


@njit(cache=True, nogil=True, error_model="numpy")
def _backward_image(w: Array, dy: Array, dx: Array, stride: int, padding: int) -> None:
    frame, cols = _frame(dx, padding), _block(w, dy)
    filters, pixels = w.reshape(-1, w.shape[3]), dy.reshape(-1, dy.shape[3])
    for start in range(0, pixels.shape[0], cols.shape[0]):
        block = pixels[start : start + cols.shape[0]]
        patches = cols[: block.shape[0]]
        np.dot(block, filters.T, patches)
        _scatter(dx, frame, patches, w.shape[0], start, dy.shape[1], dy.shape[2], stride, padding)


@njit(cache=True, nogil=True)
def _frame(x: Array, padding: int) -> Array:
    _, H, W, C = x.shape
    return np.zeros((H + 2 * padding, W + 2 * padding, C), x.dtype)


@njit(cache=True, nogil=True, error_model="numpy")
def _block(w: Array, y: Array) -> Array:
    """Memory for whole rows of pixels of y (never part of one), as many as there are or as make a block."""
    N, OH, OW, K = y.shape
    return np.empty((OW * max(1, min(BLOCK_ROWS // OW, N * OH)), w.size // K), w.dtype)


@njit(cache=True, nogil=True, error_model="numpy")
def _gather(
    x: Array, frame: Array, patches: Array, R: int, start: int, OH: int, OW: int, stride: int, padding: int
) -> None:
    """Copy the patches of the pixels from `start` on; `frame` still holds the image that the last block ended in."""
    _, H, W, C = x.shape
    rows = frame.reshape(frame.shape[0], -1)
    runs = patches.reshape(patches.shape[0], R, -1)  # a patch is R runs of S C values that lie side by side in x
    for line in range(runs.shape[0] // OW):
        n, oh = divmod(start // OW + line, OH)
        if oh == 0:
            for h in range(H):
                for j in range(W):
                    for c in range(C):
                        frame[h + padding, j + padding, c] = x[n, h, j, c]
        for r in range(R):
            for ow in range(OW):
                # Unsigned: an index that might be negative is tested for wrap-around, and the copy not vectorized.
                left = np.uint64(ow * stride * C)
                for i in range(runs.shape[2]):
                    runs[line * OW + ow, r, i] = rows[oh * stride + r, left + np.uint64(i)]


@njit(cache=True, nogil=True, error_model="numpy")
def _scatter(
    dx: Array, frame: Array, patches: Array, R: int, start: int, OH: int, OW: int, stride: int, padding: int
) -> None:
    """Add the patches up in `frame`, and copy it to its image of dx with the last of them."""
    _, H, W, C = dx.shape
    rows = frame.reshape(frame.shape[0], -1)
    runs = patches.reshape(patches.shape[0], R, -1)
    for line in range(runs.shape[0] // OW):
        n, oh = divmod(start // OW + line, OH)
        if oh == 0:
            frame[:] = 0
        for r in range(R):
            for ow in range(OW):
                left = np.uint64(ow * stride * C)
                for i in range(runs.shape[2]):
                    rows[oh * stride + r, left + np.uint64(i)] += runs[line * OW + ow, r, i]
        if oh == OH - 1:
            for h in range(H):
                for j in range(W):
                    for c in range(C):
                        dx[n, h, j, c] = frame[h + padding, j + padding, c]

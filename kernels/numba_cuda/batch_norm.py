"""Batch normalization with ghost batches: x[G,M,C] is normalized over M, for each ghost batch g and channel c.

Neighbouring threads have neighbouring channels, which lie side by side in memory: a block has a strip of up to 32
channels, one in each of its columns, and its rows of threads share the M values of the channel. From there are two
ways, for sums over M need every block that has a part of it:

- Up to FEW values: one block has a ghost batch's whole strip, and goes over it several times in one launch. What it
  comes back to, at most 32 KB of float32, is still in the cache. So x comes from memory once.
- More: M is cut into slices (see `slices`), a block each, so that few channels fill a GPU too. One launch leaves
  partial results of each slice. The next begins by putting together those of all slices of its strip; each block does
  so for itself, all in the same order, which costs less than a launch between. x comes from memory twice, dy as well.

In passes over memory of the size of x: forward 2 up to FEW and 3 beyond, backward 3 and 5.

A mean is that of the differences from the first value of the batch: these are about as small as the spread of the
values, and so are the roundings of their sum. A variance is a sum of squares about a mean, never E[x^2] - E[x]^2; those
of parts are put together as by Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing
sample variances" (1979). All of it in the dtype of x: what a thread adds up, then its column, then all slices, are
three short sums in place of a long one. An infinity makes mean and variance of its channel NaN or infinite, and y NaN.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

from ..contract import Array
from . import check
from .columns import column_sum
from .device import BLOCK, cuda, device_function, index, kernel, launch, scratch
from .slices import FEW, HELD, cut, ghost_and_channel, whole_strips


def batch_norm_forward(
    x: Array, gamma: Array, beta: Array, y: Array, mean: Array, var: Array, epsilon: float
) -> None:
    """y = gamma (x - mean) / sqrt(var + epsilon) + beta, with mean and biased variance over M per ghost batch g.

    Parameters
    ----------
    x, gamma, beta : [G, M, C], [C], [C]
    y, mean, var : [G, M, C], [G, C], [G, C], written
    """
    check.batch_norm_forward(x, gamma, beta, y, mean, var, epsilon)
    G, M, C = x.shape
    real: Any = x.dtype.type
    if M <= FEW:
        grid, block, _ = whole_strips(G, C)
        launch(_normalize_few, grid, block, x, gamma, beta, y, mean, var, real(epsilon))
    else:
        grid, block, length = cut(G, M, C)
        means, squares = (scratch(G * grid[1] * C, x.dtype, i) for i in range(2))
        launch(_moments, grid, block, x, means, squares, length)
        launch(_normalize, grid, block, x, gamma, beta, means, squares, y, mean, var, real(epsilon), length)


def batch_norm_inference(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, y: Array, epsilon: float
) -> None:
    """y = gamma (x - mean) / sqrt(var + epsilon) + beta with given statistics, as in evaluation; y may be x.

    Parameters
    ----------
    x, gamma, beta, mean, var : [B, C], then [C] each
    y : [B, C], written
    """
    check.batch_norm_inference(x, gamma, beta, mean, var, y, epsilon)
    real: Any = x.dtype.type
    grid, block, length = cut(1, *x.shape)
    launch(_normalize_given, grid, block, x, gamma, beta, mean, var, y, real(epsilon), length)


@device_function
def _joined(n_a, mean_a, square_a, n_b, mean_b, square_b):
    """Return count, mean and squares about the mean of what two parts have together (Chan's formula)."""
    share = n_b / (n_a + n_b)
    delta = mean_b - mean_a
    return n_a + n_b, mean_a + delta * share, square_a + square_b + delta * delta * n_a * share


@device_function
def _moments_of_thread(x, g, m, stop, c, origin):
    """Return count, mean and squares about the mean of x[g, m, c] - origin, of every rows-th m up to `stop`.

    HELD values at a time: their mean, the squares about it, and then both are joined to what there is from before. What
    is left at the end is joined one by one.
    """
    held = cuda.local.array(HELD, x.dtype)
    real = x.dtype.type
    rows = cuda.blockDim.y
    n, mean, square = real(0), real(0), real(0)
    while m + (HELD - 1) * rows < stop:
        total = real(0)
        for k in range(HELD):
            held[k] = x[g, index(m + k * rows), c] - origin
            total += held[k]
        middle, total = total / real(HELD), real(0)
        for k in range(HELD):
            off = held[k] - middle
            total += off * off
        n, mean, square = _joined(n, mean, square, real(HELD), middle, total)
        m += HELD * rows
    while m < stop:
        n, mean, square = _joined(n, mean, square, real(1), x[g, index(m), c] - origin, real(0))
        m += rows
    return n, mean, square


@device_function
def _moments_of_column(n, mean, square, count, values):
    """Return mean and squares about it of the `count` values that the threads of a column have together.

    Chan's formula for many parts at once: the squares within each part, and those of their means about the common one.
    """
    middle = column_sum(n * mean, values) / count
    off = mean - middle
    return middle, column_sum(square + n * off * off, values)


@device_function
def _write_normalized(x, y, g, m, stop, c, middle, scale, shift):
    """y[g, m, c] = (x[g, m, c] - middle) scale + shift, for every rows-th m up to `stop`."""
    held = cuda.local.array(HELD, x.dtype)
    rows = cuda.blockDim.y
    while m + (HELD - 1) * rows < stop:
        for k in range(HELD):
            held[k] = x[g, index(m + k * rows), c]
        for k in range(HELD):
            y[g, index(m + k * rows), c] = (held[k] - middle) * scale + shift
        m += HELD * rows
    while m < stop:
        y[g, index(m), c] = (x[g, index(m), c] - middle) * scale + shift
        m += rows


@kernel
def _normalize_few(x, gamma, beta, y, mean, var, epsilon):
    """x[G,M,C] gamma[C] beta[C] -> y[G,M,C] mean[G,C] var[G,C] for small M.

    Block (i, j) has strip i of ghost batches j, j + gridDim.y, ...; row t of its threads has m = t, t + rows, ....
    """
    values = cuda.shared.array(BLOCK, x.dtype)
    real = x.dtype.type
    G, M, C = x.shape
    c, t = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x, cuda.threadIdx.y
    stop = M if c < C else 0  # threads beyond the last channel have no values, but wait at the barriers with the others
    for g in range(cuda.blockIdx.y, G, cuda.gridDim.y):
        origin = x[g, 0, c] if c < C else real(0)
        n, middle, square = _moments_of_thread(x, g, t, stop, c, origin)
        middle, square = _moments_of_column(n, middle, square, real(M), values)
        middle, variance = middle + origin, square / real(M)
        if c < C:
            if t == 0:
                mean[g, c] = middle
                var[g, c] = variance
            _write_normalized(x, y, g, t, stop, c, middle, gamma[c] / sqrt(variance + epsilon), beta[c])


@kernel
def _moments(x, means, squares, length):
    """x[G,M,C] -> means[G,S,C] squares[G,S,C], flat: of each slice the mean less x[g,0,c], and the squares about it."""
    values = cuda.shared.array(BLOCK, x.dtype)
    real = x.dtype.type
    M, C = x.shape[1], x.shape[2]
    g, c = ghost_and_channel(C)
    start = cuda.blockIdx.y * length
    count = min(length, M - start)
    origin = x[g, 0, c] if c < C else real(0)
    n, middle, square = _moments_of_thread(
        x, g, start + cuda.threadIdx.y, start + count if c < C else 0, c, origin
    )
    middle, square = _moments_of_column(n, middle, square, real(count), values)
    if c < C and cuda.threadIdx.y == 0:
        at = (g * cuda.gridDim.y + cuda.blockIdx.y) * C + c
        means[at] = middle
        squares[at] = square


@kernel
def _normalize(x, gamma, beta, means, squares, y, mean, var, epsilon, length):
    """x[G,M,C] gamma[C] beta[C] means[G,S,C] squares[G,S,C] -> y[G,M,C] mean[G,C] var[G,C], after `_moments`."""
    values = cuda.shared.array(BLOCK, x.dtype)
    real = x.dtype.type
    M, C = x.shape[1], x.shape[2]
    g, c = ghost_and_channel(C)
    all_slices = cuda.gridDim.y if c < C else 0
    at = g * cuda.gridDim.y * C + c  # of slice 0; row t of the threads puts together slices t, t + rows, ...
    total = real(0)
    for s in range(cuda.threadIdx.y, all_slices, cuda.blockDim.y):
        total += real(min(length, M - s * length)) * means[index(at + s * C)]
    middle = column_sum(total, values) / real(M)
    total = real(0)
    for s in range(cuda.threadIdx.y, all_slices, cuda.blockDim.y):
        off = means[index(at + s * C)] - middle
        total += squares[index(at + s * C)] + real(min(length, M - s * length)) * off * off
    variance = column_sum(total, values) / real(M)

    if c < C:
        middle += x[g, 0, c]
        if cuda.threadIdx.y == 0 and cuda.blockIdx.y == 0:
            mean[g, c] = middle
            var[g, c] = variance
        start = cuda.blockIdx.y * length
        stop = min(start + length, M)
        scale = gamma[c] / sqrt(variance + epsilon)
        _write_normalized(x, y, g, start + cuda.threadIdx.y, stop, c, middle, scale, beta[c])


@kernel
def _normalize_given(x, gamma, beta, mean, var, y, epsilon, length):
    """x[B,C], four times [C] -> y[B,C]: as `_write_normalized`, without ghost batches."""
    held = cuda.local.array(HELD, x.dtype)
    B, C = x.shape
    _, c = ghost_and_channel(C)
    rows = cuda.blockDim.y
    if c < C:
        middle, scale, shift = mean[c], gamma[c] / sqrt(var[c] + epsilon), beta[c]
        b = cuda.blockIdx.y * length + cuda.threadIdx.y
        stop = min((cuda.blockIdx.y + 1) * length, B)
        while b + (HELD - 1) * rows < stop:
            for k in range(HELD):
                held[k] = x[index(b + k * rows), c]
            for k in range(HELD):
                y[index(b + k * rows), c] = (held[k] - middle) * scale + shift
            b += HELD * rows
        while b < stop:
            y[index(b), c] = (x[index(b), c] - middle) * scale + shift
            b += rows

"""Layer normalization: x[B,C] is normalized over the channels of each example.

A row of threads has an example, and of its channels thread i of the row has i, i + columns, .... Few channels leave
room for several examples in a block. The row is gone over three times (mean, squares about it, y), but only the first
time comes from memory, the others from the cache: forward is 2 passes over memory of the size of x.

Backward, dx is the same kind of work, 3 passes. dgamma and dbeta are sums over the examples, the other way, for which
another launch reads x and dy once more: 5 passes in all.

A mean is that of the differences from the first channel of the row, see `batch_norm`; sums are in the dtype of x.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

from ..contract import Array
from . import check
from .columns import block_of, column_sum, row_sum
from .device import BLOCK, blocks_for, cuda, index, kernel, launch, scratch
from .slices import HELD, cut, sum_rows

LEAST = 8  # threads for a row: eight float32 are the 32 bytes that memory hands out at least
EACH = 4  # channels of a thread, while a block has threads enough
PAIRS = HELD // 2  # values of two arrays at a time, as HELD


def layer_norm_forward(
    x: Array, gamma: Array, beta: Array, y: Array, mean: Array, var: Array, epsilon: float
) -> None:
    """y = gamma (x - mean) / sqrt(var + epsilon) + beta, with mean and biased variance over C per example b.

    Parameters
    ----------
    x, gamma, beta : [B, C], [C], [C]
    y, mean, var : [B, C], [B], [B], written
    """
    check.layer_norm_forward(x, gamma, beta, y, mean, var, epsilon)
    real: Any = x.dtype.type
    grid, block = _rows_of(x)
    launch(_normalize_rows, grid, block, x, gamma, beta, y, mean, var, real(epsilon))


def layer_norm_backward(
    x: Array, gamma: Array, mean: Array, var: Array, dy: Array, dx: Array, dgamma: Array, dbeta: Array, epsilon: float
) -> None:
    """dx = (gamma dy - mean_c(gamma dy) - x_hat mean_c(gamma dy x_hat)) / sigma, with x_hat = (x - mean) / sigma and
    sigma = sqrt(var + epsilon); dgamma and dbeta are the sums of dy x_hat and of dy over the examples.

    Parameters
    ----------
    x, gamma, mean, var, epsilon : as `layer_norm_forward` took or wrote them
    dy, dx : [B, C]; dx is written
    dgamma, dbeta : [C], written
    """
    check.layer_norm_backward(x, gamma, mean, var, dy, dx, dgamma, dbeta, epsilon)
    B, C = x.shape
    real: Any = x.dtype.type
    per_sigma = scratch(B, x.dtype, 2)
    grid, block = _rows_of(x)
    launch(_row_gradients, grid, block, x, gamma, mean, var, dy, dx, per_sigma, real(epsilon))
    slices, block, length = cut(1, B, C)
    rows = slices[1]
    slopes, slopes_hat = (dbeta, dgamma) if rows == 1 else (scratch(rows * C, x.dtype, i) for i in range(2))
    launch(_column_slopes, slices, block, x, mean, per_sigma, dy, slopes, slopes_hat, length)
    if rows != 1:
        sum_rows(slopes, slopes_hat, rows, dbeta, dgamma)


def _rows_of(x: Array) -> tuple[int, tuple[int, int]]:
    """Return grid and block where each row of threads has an example."""
    B, C = x.shape
    block = block_of(blocks_for(C, EACH), BLOCK, LEAST)
    return blocks_for(B, block[1]), block


@kernel
def _normalize_rows(x, gamma, beta, y, mean, var, epsilon):
    """x[B,C] gamma[C] beta[C] -> y[B,C] mean[B] var[B]: thread row t of block k has example k * rows + t."""
    values = cuda.shared.array(BLOCK, x.dtype)
    real = x.dtype.type
    B, C = x.shape
    first, columns = cuda.threadIdx.x, cuda.blockDim.x
    b = cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y
    last = C if b < B else 0  # threads beyond the last example have no values, but wait at the barriers with the others
    origin = x[b, 0] if b < B else real(0)
    total = real(0)
    for c in range(first, last, columns):
        total += x[b, index(c)] - origin
    middle = origin + row_sum(total, values) / real(C)

    total = real(0)
    for c in range(first, last, columns):
        off = x[b, index(c)] - middle
        total += off * off
    variance = row_sum(total, values) / real(C)

    if b < B:
        if first == 0:
            mean[b] = middle
            var[b] = variance
        per_sigma = real(1) / sqrt(variance + epsilon)
        for c in range(first, C, columns):
            y[b, index(c)] = (x[b, index(c)] - middle) * per_sigma * gamma[index(c)] + beta[index(c)]


@kernel
def _row_gradients(x, gamma, mean, var, dy, dx, per_sigma, epsilon):
    """x[B,C] gamma[C] mean[B] var[B] dy[B,C] -> dx[B,C] per_sigma[B]: threads as in `_normalize_rows`.

    per_sigma = 1 / sqrt(var + epsilon), for `_column_slopes`, where each example would else have its root C times.
    """
    values = cuda.shared.array(BLOCK, x.dtype)
    real = x.dtype.type
    B, C = x.shape
    first, columns = cuda.threadIdx.x, cuda.blockDim.x
    b = cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y
    last = C if b < B else 0
    middle, factor = real(0), real(0)
    if b < B:
        middle, factor = mean[b], real(1) / sqrt(var[b] + epsilon)
    slope, slope_hat = real(0), real(0)
    for c in range(first, last, columns):
        grown = gamma[index(c)] * dy[b, index(c)]
        slope += grown
        slope_hat += grown * (x[b, index(c)] - middle)
    slope = row_sum(slope, values)
    slope_hat = row_sum(slope_hat, values) * factor

    if b < B:
        if first == 0:
            per_sigma[b] = factor
        shift, tilt = slope / real(C), slope_hat / real(C) * factor
        for c in range(first, C, columns):
            dx[b, index(c)] = (gamma[index(c)] * dy[b, index(c)] - shift - (x[b, index(c)] - middle) * tilt) * factor


@kernel
def _column_slopes(x, mean, per_sigma, dy, slopes, slopes_hat, length):
    """x[B,C] mean[B] per_sigma[B] dy[B,C] -> slopes[S,C] slopes_hat[S,C], flat: of each slice of the examples the sums
    of dy and of dy x_hat. Threads as told in `slices`.
    """
    values = cuda.shared.array(BLOCK, x.dtype)
    real = x.dtype.type
    B, C = x.shape
    c = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    rows = cuda.blockDim.y
    b = cuda.blockIdx.y * length + cuda.threadIdx.y
    stop = min((cuda.blockIdx.y + 1) * length, B) if c < C else b
    slope, slope_hat = real(0), real(0)
    while b + (PAIRS - 1) * rows < stop:
        few, few_hat = real(0), real(0)  # first of a few values, then of all: the roundings of two short sums
        for k in range(PAIRS):
            i = index(b + k * rows)
            few += dy[i, c]
            few_hat += dy[i, c] * ((x[i, c] - mean[i]) * per_sigma[i])
        slope += few
        slope_hat += few_hat
        b += PAIRS * rows
    while b < stop:
        slope += dy[index(b), c]
        slope_hat += dy[index(b), c] * ((x[index(b), c] - mean[b]) * per_sigma[b])
        b += rows
    slope = column_sum(slope, values)
    slope_hat = column_sum(slope_hat, values)
    if c < C and cuda.threadIdx.y == 0:
        slopes[cuda.blockIdx.y * C + c] = slope
        slopes_hat[cuda.blockIdx.y * C + c] = slope_hat

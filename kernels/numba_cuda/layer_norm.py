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
from .columns import column_sum, in_each_width, launch_rows, row_sum
from .device import BLOCK, cuda, index, kernel, launch, scratch
from .slices import HELD, cut, sum_rows

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
    launch_rows(_normalize_rows, x, gamma, beta, y, mean, var, real(epsilon))


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
    launch_rows(_row_gradients, x, gamma, mean, var, dy, dx, per_sigma, real(epsilon))
    slices, block, length = cut(1, B, C)
    rows = slices[1]
    slopes, slopes_hat = (dbeta, dgamma) if rows == 1 else (scratch(rows * C, x.dtype, i) for i in range(2))
    launch(_column_slopes, slices, block, x, mean, per_sigma, dy, slopes, slopes_hat, length)
    if rows != 1:
        sum_rows(slopes, slopes_hat, rows, dbeta, dgamma)


@in_each_width
def _normalize_rows(columns):
    def normalize_rows(x, gamma, beta, y, mean, var, epsilon):
        """x[B,C] gamma[C] beta[C] -> y[B,C] mean[B] var[B]: row t of threads of block k has example k * rows + t."""
        values = cuda.shared.array(BLOCK, x.dtype)
        real = x.dtype.type
        B, C = x.shape
        first = cuda.threadIdx.x
        b = cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y
        here, b = b < B, index(b)
        last = C if here else 0  # threads beyond the last example have no values, but wait with the others
        origin = x[b, 0] if here else real(0)
        total = real(0)
        c = first
        while c < last:
            total += x[b, index(c)] - origin
            c += columns
        middle = origin + row_sum(total, values, columns) / real(C)

        total = real(0)
        c = first
        while c < last:
            off = x[b, index(c)] - middle
            total += off * off
            c += columns
        variance = row_sum(total, values, columns) / real(C)

        if here and first == 0:
            mean[b] = middle
            var[b] = variance
        per_sigma = real(1) / sqrt(variance + epsilon)
        c = first
        while c < last:
            y[b, index(c)] = (x[b, index(c)] - middle) * per_sigma * gamma[index(c)] + beta[index(c)]
            c += columns

    return normalize_rows


@in_each_width
def _row_gradients(columns):
    def row_gradients(x, gamma, mean, var, dy, dx, per_sigma, epsilon):
        """x[B,C] gamma[C] mean[B] var[B] dy[B,C] -> dx[B,C] per_sigma[B]: threads as in `normalize_rows`.

        per_sigma = 1 / sqrt(var + epsilon), for `_column_slopes`, where each example would else have its root C times.
        """
        values = cuda.shared.array(BLOCK, x.dtype)
        real = x.dtype.type
        B, C = x.shape
        first = cuda.threadIdx.x
        b = cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y
        here, b = b < B, index(b)
        last = C if here else 0
        middle, factor = real(0), real(0)
        if here:
            middle, factor = mean[b], real(1) / sqrt(var[b] + epsilon)
        slope, slope_hat = real(0), real(0)
        c = first
        while c < last:
            grown = gamma[index(c)] * dy[b, index(c)]
            slope += grown
            slope_hat += grown * (x[b, index(c)] - middle)
            c += columns
        slope = row_sum(slope, values, columns)
        slope_hat = row_sum(slope_hat, values, columns) * factor

        if here and first == 0:
            per_sigma[b] = factor
        shift, tilt = slope / real(C), slope_hat / real(C) * factor
        c = first
        while c < last:
            off = x[b, index(c)] - middle
            dx[b, index(c)] = (gamma[index(c)] * dy[b, index(c)] - shift - off * tilt) * factor
            c += columns

    return row_gradients


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

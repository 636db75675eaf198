"""The gradients of batch normalization; what `batch_norm` says of the forward pass goes for them too."""

from __future__ import annotations

from math import sqrt
from typing import Any

from ..contract import Array
from . import check
from .columns import column_sum
from .device import BLOCK, cuda, index, kernel, launch, scratch
from .slices import FEW, HELD, cut, ghost_and_channel, sum_rows, whole_strips

PAIRS = HELD // 2  # values of two arrays at a time, as HELD


def batch_norm_backward(
    x: Array, gamma: Array, mean: Array, var: Array, dy: Array, dx: Array, dgamma: Array, dbeta: Array, epsilon: float
) -> None:
    """dx = gamma / sigma (dy - mean_m(dy) - x_hat mean_m(dy x_hat)), with x_hat = (x - mean) / sigma and
    sigma = sqrt(var + epsilon); dgamma and dbeta are the sums of dy x_hat and of dy over g and m.

    Parameters
    ----------
    x, gamma, mean, var, epsilon : as `batch_norm_forward` took or wrote them
    dy, dx : [G, M, C]; dx is written
    dgamma, dbeta : [C], written
    """
    check.batch_norm_backward(x, gamma, mean, var, dy, dx, dgamma, dbeta, epsilon)
    G, M, C = x.shape
    real: Any = x.dtype.type
    grid, block, length = whole_strips(G, C) if M <= FEW else cut(G, M, C)
    rows = grid[1] if M <= FEW else G * grid[1]  # of partial sums; one row of them is the sum
    slopes, slopes_hat = (dbeta, dgamma) if rows == 1 else (scratch(rows * C, x.dtype, i) for i in range(2))
    if M <= FEW:
        launch(_gradients_few, grid, block, x, gamma, mean, var, dy, dx, slopes, slopes_hat, real(epsilon))
    else:
        launch(_slopes, grid, block, x, mean, var, dy, slopes, slopes_hat, real(epsilon), length)
        launch(_gradients, grid, block, x, gamma, mean, var, dy, slopes, slopes_hat, dx, real(epsilon), length)
    if rows != 1:
        sum_rows(slopes, slopes_hat, rows, dbeta, dgamma)


@kernel
def _gradients_few(x, gamma, mean, var, dy, dx, slopes, slopes_hat, epsilon):
    """x[G,M,C] gamma[C] mean[G,C] var[G,C] dy[G,M,C] -> dx[G,M,C] slopes[J,C] slopes_hat[J,C] for small M.

    Threads as in `_normalize_few`. Block (i, j) leaves in row j of the flat slopes and slopes_hat its part of dbeta and
    dgamma, of ghost batches j, j + J, ....
    """
    values = cuda.shared.array(BLOCK, x.dtype)
    real = x.dtype.type
    G, M, C = x.shape
    c = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    count = M if c < C else 0
    all_slope, all_slope_hat = real(0), real(0)
    for g in range(cuda.blockIdx.y, G, cuda.gridDim.y):
        middle, per_sigma = real(0), real(0)
        if c < C:
            middle, per_sigma = mean[g, c], real(1) / sqrt(var[g, c] + epsilon)
        slope, slope_hat = real(0), real(0)
        for m in range(cuda.threadIdx.y, count, cuda.blockDim.y):
            slope += dy[g, index(m), c]
            slope_hat += dy[g, index(m), c] * (x[g, index(m), c] - middle)
        slope = column_sum(slope, values)
        slope_hat = column_sum(slope_hat, values) * per_sigma
        all_slope += slope
        all_slope_hat += slope_hat

        if c < C:
            scale, shift, tilt = gamma[c] * per_sigma, slope / real(M), slope_hat / real(M) * per_sigma
            for m in range(cuda.threadIdx.y, M, cuda.blockDim.y):
                dx[g, index(m), c] = (dy[g, index(m), c] - shift - (x[g, index(m), c] - middle) * tilt) * scale
    if c < C and cuda.threadIdx.y == 0:
        slopes[cuda.blockIdx.y * C + c] = all_slope
        slopes_hat[cuda.blockIdx.y * C + c] = all_slope_hat


@kernel
def _slopes(x, mean, var, dy, slopes, slopes_hat, epsilon, length):
    """x[G,M,C] mean[G,C] var[G,C] dy[G,M,C] -> slopes[G,S,C] slopes_hat[G,S,C], flat: of each slice the sums over m of
    dy and of dy x_hat.
    """
    values = cuda.shared.array(BLOCK, x.dtype)
    real = x.dtype.type
    M, C = x.shape[1], x.shape[2]
    g, c = ghost_and_channel(C)
    rows = cuda.blockDim.y
    m = cuda.blockIdx.y * length + cuda.threadIdx.y
    stop = m
    middle, per_sigma = real(0), real(0)
    if c < C:
        stop = min((cuda.blockIdx.y + 1) * length, M)
        middle, per_sigma = mean[g, c], real(1) / sqrt(var[g, c] + epsilon)
    slope, slope_hat = real(0), real(0)
    while m + (PAIRS - 1) * rows < stop:
        few, few_hat = real(0), real(0)  # first of a few values, then of all: the roundings of two short sums
        for k in range(PAIRS):
            few += dy[g, index(m + k * rows), c]
            few_hat += dy[g, index(m + k * rows), c] * (x[g, index(m + k * rows), c] - middle)
        slope += few
        slope_hat += few_hat
        m += PAIRS * rows
    while m < stop:
        slope += dy[g, index(m), c]
        slope_hat += dy[g, index(m), c] * (x[g, index(m), c] - middle)
        m += rows
    slope = column_sum(slope, values)
    slope_hat = column_sum(slope_hat, values) * per_sigma
    if c < C and cuda.threadIdx.y == 0:
        at = (g * cuda.gridDim.y + cuda.blockIdx.y) * C + c
        slopes[at] = slope
        slopes_hat[at] = slope_hat


@kernel
def _gradients(x, gamma, mean, var, dy, slopes, slopes_hat, dx, epsilon, length):
    """x[G,M,C] gamma[C] mean[G,C] var[G,C] dy[G,M,C] slopes[G,S,C] slopes_hat[G,S,C] -> dx[G,M,C], after `_slopes`."""
    values = cuda.shared.array(BLOCK, x.dtype)
    xs = cuda.local.array(PAIRS, x.dtype)
    dys = cuda.local.array(PAIRS, x.dtype)
    real = x.dtype.type
    M, C = x.shape[1], x.shape[2]
    g, c = ghost_and_channel(C)
    rows, all_slices = cuda.blockDim.y, cuda.gridDim.y
    at = g * all_slices * C + c  # of slice 0
    slope, slope_hat = real(0), real(0)
    for s in range(cuda.threadIdx.y, all_slices if c < C else 0, rows):
        slope += slopes[index(at + s * C)]
        slope_hat += slopes_hat[index(at + s * C)]
    slope = column_sum(slope, values)
    slope_hat = column_sum(slope_hat, values)

    if c < C:
        middle, per_sigma = mean[g, c], real(1) / sqrt(var[g, c] + epsilon)
        scale, shift, tilt = gamma[c] * per_sigma, slope / real(M), slope_hat / real(M) * per_sigma
        m = cuda.blockIdx.y * length + cuda.threadIdx.y
        stop = min((cuda.blockIdx.y + 1) * length, M)
        while m + (PAIRS - 1) * rows < stop:
            for k in range(PAIRS):
                xs[k], dys[k] = x[g, index(m + k * rows), c], dy[g, index(m + k * rows), c]
            for k in range(PAIRS):
                dx[g, index(m + k * rows), c] = (dys[k] - shift - (xs[k] - middle) * tilt) * scale
            m += PAIRS * rows
        while m < stop:
            dx[g, index(m), c] = (dy[g, index(m), c] - shift - (x[g, index(m), c] - middle) * tilt) * scale
            m += rows

"""The gradients of batch normalization; what `batch_norm` says of the forward pass goes for them too."""

from __future__ import annotations

from math import sqrt
from typing import Any

from ..contract import Array
from . import check
from .columns import column_sum
from .device import BLOCK, cuda, device_function, index, kernel, launch, scratch
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


@device_function
def _slopes_of_thread(x, dy, g, m, stop, c, middle):
    """Return the sums of dy[g, m, c] and of dy[g, m, c] (x[g, m, c] - middle), of every rows-th m up to `stop`."""
    real = x.dtype.type
    rows = cuda.blockDim.y
    slope, slope_off = real(0), real(0)
    while m + (PAIRS - 1) * rows < stop:
        few, few_off = real(0), real(0)  # first of a few values, then of all: the roundings of two short sums
        for k in range(PAIRS):
            few += dy[g, index(m + k * rows), c]
            few_off += dy[g, index(m + k * rows), c] * (x[g, index(m + k * rows), c] - middle)
        slope += few
        slope_off += few_off
        m += PAIRS * rows
    while m < stop:
        slope += dy[g, index(m), c]
        slope_off += dy[g, index(m), c] * (x[g, index(m), c] - middle)
        m += rows
    return slope, slope_off


@device_function
def _write_gradient(x, dy, dx, g, m, stop, c, middle, per_sigma, gamma, mean_slope, mean_slope_hat):
    """dx[g, m, c] = gamma / sigma (dy - mean dy - x_hat mean(dy x_hat)), for every rows-th m up to `stop`."""
    xs = cuda.local.array(PAIRS, x.dtype)
    dys = cuda.local.array(PAIRS, x.dtype)
    rows = cuda.blockDim.y
    scale, tilt = gamma * per_sigma, mean_slope_hat * per_sigma
    while m + (PAIRS - 1) * rows < stop:
        for k in range(PAIRS):
            xs[k], dys[k] = x[g, index(m + k * rows), c], dy[g, index(m + k * rows), c]
        for k in range(PAIRS):
            dx[g, index(m + k * rows), c] = (dys[k] - mean_slope - (xs[k] - middle) * tilt) * scale
        m += PAIRS * rows
    while m < stop:
        dx[g, index(m), c] = (dy[g, index(m), c] - mean_slope - (x[g, index(m), c] - middle) * tilt) * scale
        m += rows


@kernel
def _gradients_few(x, gamma, mean, var, dy, dx, slopes, slopes_hat, epsilon):
    """x[G,M,C] gamma[C] mean[G,C] var[G,C] dy[G,M,C] -> dx[G,M,C] slopes[J,C] slopes_hat[J,C] for small M.

    Block (i, j) has strip i of ghost batches j, j + J, ..., and leaves its part of dbeta and dgamma in row j of the
    flat slopes and slopes_hat.
    """
    values = cuda.shared.array(BLOCK, x.dtype)
    real = x.dtype.type
    G, M, C = x.shape
    c, t = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x, cuda.threadIdx.y
    stop = M if c < C else 0  # threads beyond the last channel have no values, but wait at the barriers with the others
    all_slope, all_slope_hat = real(0), real(0)
    for g in range(cuda.blockIdx.y, G, cuda.gridDim.y):
        middle, per_sigma = real(0), real(0)
        if c < C:
            middle, per_sigma = mean[g, c], real(1) / sqrt(var[g, c] + epsilon)
        slope, slope_off = _slopes_of_thread(x, dy, g, t, stop, c, middle)
        slope = column_sum(slope, values)
        slope_hat = column_sum(slope_off, values) * per_sigma
        all_slope += slope
        all_slope_hat += slope_hat
        if c < C:
            _write_gradient(
                x, dy, dx, g, t, stop, c, middle, per_sigma, gamma[c], slope / real(M), slope_hat / real(M)
            )
    if c < C and t == 0:
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
    start = cuda.blockIdx.y * length
    stop = 0
    middle, per_sigma = real(0), real(0)
    if c < C:
        stop = min(start + length, M)
        middle, per_sigma = mean[g, c], real(1) / sqrt(var[g, c] + epsilon)
    slope, slope_off = _slopes_of_thread(x, dy, g, start + cuda.threadIdx.y, stop, c, middle)
    slope = column_sum(slope, values)
    slope_hat = column_sum(slope_off, values) * per_sigma
    if c < C and cuda.threadIdx.y == 0:
        at = (g * cuda.gridDim.y + cuda.blockIdx.y) * C + c
        slopes[at] = slope
        slopes_hat[at] = slope_hat


@kernel
def _gradients(x, gamma, mean, var, dy, slopes, slopes_hat, dx, epsilon, length):
    """x[G,M,C] gamma[C] mean[G,C] var[G,C] dy[G,M,C] slopes[G,S,C] slopes_hat[G,S,C] -> dx[G,M,C], after `_slopes`."""
    values = cuda.shared.array(BLOCK, x.dtype)
    real = x.dtype.type
    M, C = x.shape[1], x.shape[2]
    g, c = ghost_and_channel(C)
    at = g * cuda.gridDim.y * C + c  # of slice 0; row t of the threads puts together slices t, t + rows, ...
    slope, slope_hat = real(0), real(0)
    for s in range(cuda.threadIdx.y, cuda.gridDim.y if c < C else 0, cuda.blockDim.y):
        slope += slopes[index(at + s * C)]
        slope_hat += slopes_hat[index(at + s * C)]
    slope = column_sum(slope, values) / real(M)
    slope_hat = column_sum(slope_hat, values) / real(M)

    if c < C:
        start = cuda.blockIdx.y * length
        stop = min(start + length, M)
        per_sigma = real(1) / sqrt(var[g, c] + epsilon)
        _write_gradient(
            x, dy, dx, g, start + cuda.threadIdx.y, stop, c, mean[g, c], per_sigma, gamma[c], slope, slope_hat
        )

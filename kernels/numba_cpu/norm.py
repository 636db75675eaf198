"""Batch and layer normalization in two passes over each group, the mean first; sums run in float64.

Float32 goes through the vectors of `batch_norm` and `layer_norm`; the plain kernels beside each function here serve
float64. There batch normalization adds rows up, channel beside channel.
"""

import numpy as np
from numba import njit

from .. import check
from ..contract import Array
from . import batch_norm, layer_norm
from .program import Call, launch


def batch_norm_forward(
    x: Array, gamma: Array, beta: Array, y: Array, mean: Array, var: Array, epsilon: float
) -> None:
    """y = gamma (x - mean) / sqrt(var + epsilon) + beta, with mean and biased variance over M per ghost batch g.

    Parameters
    ----------
    x, gamma, beta : [G, M, C], [C], [C]
    y, mean, var : [G, M, C], [G, C], [G, C] written
    epsilon : float, more than 0
    """
    check.batch_norm_forward(x, gamma, beta, y, mean, var, epsilon)
    if x.dtype == np.float32:
        launch(*batch_norm_forward_calls(x, gamma, beta, y, mean, var, epsilon))
    else:
        _batch_forward(x, gamma, beta, y, mean, var, float(epsilon))


def batch_norm_forward_calls(
    x: Array, gamma: Array, beta: Array, y: Array, mean: Array, var: Array, epsilon: float, floor: float = -np.inf
) -> list[Call]:
    """Return the instructions of the same with y = max(floor, ...); floor = 0 is a ReLU."""
    return batch_norm.forward_calls(x, gamma, beta, y, mean, var, epsilon, floor)


@njit(cache=True, nogil=True, error_model="numpy")
def _batch_forward(x: Array, gamma: Array, beta: Array, y: Array, mean: Array, var: Array, epsilon: float) -> None:
    G, M, C = x.shape
    center, square = np.empty(C, np.float64), np.empty(C, np.float64)
    for g in range(G):
        center[:] = 0
        square[:] = 0
        for m in range(M):
            for c in range(C):
                center[c] += x[g, m, c]
        for c in range(C):
            center[c] /= M
            mean[g, c] = center[c]
        for m in range(M):
            for c in range(C):
                off = np.float64(x[g, m, c]) - center[c]
                square[c] += off * off
        for c in range(C):
            var[g, c] = square[c] / M
        _normalize(x[g], gamma, beta, mean[g], var[g], y[g], epsilon)


def batch_norm_inference(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, y: Array, epsilon: float
) -> None:
    """y = gamma (x - mean) / sqrt(var + epsilon) + beta with given statistics; y may be x.

    Parameters
    ----------
    x, gamma, beta, mean, var : [B, C], and [C] the others
    y : [B, C] written
    epsilon : float, more than 0
    """
    check.batch_norm_inference(x, gamma, beta, mean, var, y, epsilon)
    if x.dtype == np.float32:
        launch(*batch_norm_inference_calls(x, gamma, beta, mean, var, y, epsilon))
    else:
        _normalize(x, gamma, beta, mean, var, y, float(epsilon))


def batch_norm_inference_calls(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, y: Array, epsilon: float
) -> list[Call]:
    return batch_norm.inference_calls(x, gamma, beta, mean, var, y, epsilon)


@njit(cache=True, nogil=True, error_model="numpy")
def _normalize(x: Array, gamma: Array, beta: Array, mean: Array, var: Array, y: Array, epsilon: float) -> None:
    factor = np.empty_like(gamma)
    for c in range(x.shape[1]):
        factor[c] = gamma[c] / np.sqrt(np.float64(var[c]) + epsilon)
    for m in range(x.shape[0]):
        for c in range(x.shape[1]):
            y[m, c] = (x[m, c] - mean[c]) * factor[c] + beta[c]


def batch_norm_backward(
    x: Array, gamma: Array, mean: Array, var: Array, dy: Array, dx: Array, dgamma: Array, dbeta: Array, epsilon: float
) -> None:
    """dx = gamma / sigma (dy - mean(dy) - x_hat mean(dy x_hat)), dgamma = sum dy x_hat, dbeta = sum dy.

    With sigma = sqrt(var + epsilon) and x_hat = (x - mean) / sigma; the means run over M, the sums over g and M.

    Parameters
    ----------
    x, gamma, mean, var, dy : [G, M, C], [C], [G, C], [G, C], [G, M, C]
    dx, dgamma, dbeta : [G, M, C], [C], [C] written
    epsilon : float, as in the forward pass
    """
    check.batch_norm_backward(x, gamma, mean, var, dy, dx, dgamma, dbeta, epsilon)
    if x.dtype == np.float32:
        launch(*batch_norm_backward_calls(x, gamma, mean, var, dy, dx, dgamma, dbeta, epsilon))
    else:
        _batch_backward(x, gamma, mean, var, dy, dx, dgamma, dbeta, float(epsilon))


def batch_norm_backward_calls(
    x: Array, gamma: Array, mean: Array, var: Array, dy: Array, dx: Array, dgamma: Array, dbeta: Array, epsilon: float
) -> list[Call]:
    return batch_norm.backward_calls(x, gamma, mean, var, dy, dx, dgamma, dbeta, epsilon)


@njit(cache=True, nogil=True, error_model="numpy")
def _batch_backward(
    x: Array, gamma: Array, mean: Array, var: Array, dy: Array, dx: Array, dgamma: Array, dbeta: Array, epsilon: float
) -> None:
    G, M, C = x.shape
    sum_dy, sum_dy_off = np.empty(C, np.float64), np.empty(C, np.float64)
    total_gamma, total_beta, per_sigma = np.zeros(C, np.float64), np.zeros(C, np.float64), np.empty(C, np.float64)
    factor, shift, slope = np.empty_like(gamma), np.empty_like(gamma), np.empty_like(gamma)
    for g in range(G):
        _add_up_gradient(x[g], mean[g], dy[g], sum_dy, sum_dy_off)
        for c in range(C):
            per_sigma[c] = 1 / np.sqrt(np.float64(var[g, c]) + epsilon)
            factor[c] = gamma[c] * per_sigma[c]
        for c in range(C):
            total_beta[c] += sum_dy[c]
            total_gamma[c] += sum_dy_off[c] * per_sigma[c]
        for c in range(C):
            shift[c] = sum_dy[c] / M
            slope[c] = sum_dy_off[c] * per_sigma[c] * per_sigma[c] / M
        for m in range(M):
            for c in range(C):
                dx[g, m, c] = factor[c] * (dy[g, m, c] - shift[c] - (x[g, m, c] - mean[g, c]) * slope[c])
    for c in range(C):  # dgamma[:] = total_gamma takes 3 s to compile
        dgamma[c], dbeta[c] = total_gamma[c], total_beta[c]


@njit(cache=True, nogil=True)
def _add_up_gradient(x: Array, mean: Array, dy: Array, sum_dy: Array, sum_dy_off: Array) -> None:
    sum_dy[:] = 0
    sum_dy_off[:] = 0
    for m in range(x.shape[0]):
        for c in range(x.shape[1]):
            sum_dy[c] += dy[m, c]
            sum_dy_off[c] += np.float64(dy[m, c]) * (x[m, c] - mean[c])


def layer_norm_forward(
    x: Array, gamma: Array, beta: Array, y: Array, mean: Array, var: Array, epsilon: float
) -> None:
    """y = gamma (x - mean) / sqrt(var + epsilon) + beta, with mean and biased variance over C per example.

    Parameters
    ----------
    x, gamma, beta : [B, C], [C], [C]
    y, mean, var : [B, C], [B], [B] written
    epsilon : float, more than 0
    """
    check.layer_norm_forward(x, gamma, beta, y, mean, var, epsilon)
    if x.dtype == np.float32:
        launch(*layer_norm_forward_calls(x, gamma, beta, y, mean, var, epsilon))
    else:
        _layer_forward(x, gamma, beta, y, mean, var, float(epsilon))


def layer_norm_forward_calls(
    x: Array, gamma: Array, beta: Array, y: Array, mean: Array, var: Array, epsilon: float
) -> list[Call]:
    return layer_norm.forward_calls(x, gamma, beta, y, mean, var, epsilon)


@njit(cache=True, nogil=True, error_model="numpy")
def _layer_forward(x: Array, gamma: Array, beta: Array, y: Array, mean: Array, var: Array, epsilon: float) -> None:
    B, C = x.shape
    real = x.dtype.type
    for b in range(B):
        center = _sum(x[b]) / C
        mean[b] = center
        var[b] = _sum_of_squares(x[b], center) / C
        factor = real(1 / np.sqrt(np.float64(var[b]) + epsilon))
        for c in range(C):
            y[b, c] = gamma[c] * ((x[b, c] - mean[b]) * factor) + beta[c]


def layer_norm_backward(
    x: Array, gamma: Array, mean: Array, var: Array, dy: Array, dx: Array, dgamma: Array, dbeta: Array, epsilon: float
) -> None:
    """dx = (gamma dy - mean(gamma dy) - x_hat mean(gamma dy x_hat)) / sigma, dgamma = sum dy x_hat, dbeta = sum dy.

    With sigma = sqrt(var + epsilon) and x_hat = (x - mean) / sigma; the means run over C, the sums over B.

    Parameters
    ----------
    x, gamma, mean, var, dy : [B, C], [C], [B], [B], [B, C]
    dx, dgamma, dbeta : [B, C], [C], [C] written
    epsilon : float, as in the forward pass
    """
    check.layer_norm_backward(x, gamma, mean, var, dy, dx, dgamma, dbeta, epsilon)
    if x.dtype == np.float32:
        launch(*layer_norm_backward_calls(x, gamma, mean, var, dy, dx, dgamma, dbeta, epsilon))
    else:
        _layer_backward(x, gamma, mean, var, dy, dx, dgamma, dbeta, float(epsilon))


def layer_norm_backward_calls(
    x: Array, gamma: Array, mean: Array, var: Array, dy: Array, dx: Array, dgamma: Array, dbeta: Array, epsilon: float
) -> list[Call]:
    return layer_norm.backward_calls(x, gamma, mean, var, dy, dx, dgamma, dbeta, epsilon)


@njit(cache=True, nogil=True, error_model="numpy")
def _layer_backward(
    x: Array, gamma: Array, mean: Array, var: Array, dy: Array, dx: Array, dgamma: Array, dbeta: Array, epsilon: float
) -> None:
    B, C = x.shape
    real = x.dtype.type
    total_gamma, total_beta = np.zeros(C, np.float64), np.zeros(C, np.float64)
    for b in range(B):
        center = mean[b]
        factor = 1 / np.sqrt(np.float64(var[b]) + epsilon)
        for c in range(C):
            total_beta[c] += dy[b, c]
            total_gamma[c] += np.float64(dy[b, c]) * (x[b, c] - center) * factor
        sum_dy, sum_dy_off = _sums_of_gradient(x[b], gamma, dy[b], center)
        shift, slope, scale = real(sum_dy / C), real(sum_dy_off * factor * factor / C), real(factor)
        for c in range(C):
            dx[b, c] = (gamma[c] * dy[b, c] - shift - (x[b, c] - center) * slope) * scale
    for c in range(C):  # dgamma[:] = total_gamma takes 3 s to compile
        dgamma[c], dbeta[c] = total_gamma[c], total_beta[c]


# Sums along a row. "reassoc" lets the compiler keep several partial sums, as vectorizing needs; their number is fixed.


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _sum(x: Array) -> float:
    total = 0.0
    for c in range(x.size):
        total += np.float64(x[c])
    return total


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _sum_of_squares(x: Array, center: float) -> float:
    total = 0.0
    for c in range(x.size):
        total += (np.float64(x[c]) - center) * (np.float64(x[c]) - center)
    return total


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def _sums_of_gradient(x: Array, gamma: Array, dy: Array, center: float) -> tuple[float, float]:
    total = total_off = 0.0
    for c in range(x.size):
        term = np.float64(gamma[c]) * np.float64(dy[c])
        total += term
        total_off += term * (np.float64(x[c]) - center)
    return total, total_off

"""The six update rules, each one pass that reads and writes every vector once.

What is computed from scalars alone is computed here in double precision and rounded at most once, in the kernel, to the
dtype of the vectors. "contract" allows fused multiply-add: one rounding instead of two, in every element alike.
The adaptive rules sum their moments in double and round them once: in float32 all the way, a step of Adam was off by
4.3 ulp of its update where tests allow 4. That costs a third of its speed in cache; root and quotient stay float32.
"""

import numpy as np
from numba import njit

from .. import check_vectors as check
from ..contract import Array
from ..scalars import bias_correction


def sgd(theta: Array, g: Array, lr: float) -> None:
    """theta <- theta - lr g."""
    check.sgd(theta, g, lr)
    _sgd(theta, g, float(lr))


@njit(cache=True, nogil=True, fastmath={"contract"})
def _sgd(theta: Array, g: Array, lr: float) -> None:
    lr = theta.dtype.type(lr)
    for i in range(theta.size):
        theta[i] -= lr * g[i]


def momentum(theta: Array, g: Array, v: Array, lr: float, gamma: float) -> None:
    """v <- gamma v + g;  theta <- theta - lr v."""
    check.momentum(theta, g, v, lr, gamma)
    _momentum(theta, g, v, float(lr), float(gamma))


@njit(cache=True, nogil=True, fastmath={"contract"})
def _momentum(theta: Array, g: Array, v: Array, lr: float, gamma: float) -> None:
    real = theta.dtype.type
    lr, gamma = real(lr), real(gamma)
    for i in range(theta.size):
        vi = gamma * v[i] + g[i]
        v[i] = vi
        theta[i] -= lr * vi


def nesterov(theta: Array, g: Array, v: Array, lr: float, gamma: float) -> None:
    """v <- gamma v + g;  theta <- theta - lr (gamma v + g)."""
    check.nesterov(theta, g, v, lr, gamma)
    _nesterov(theta, g, v, float(lr), float(gamma))


@njit(cache=True, nogil=True, fastmath={"contract"})
def _nesterov(theta: Array, g: Array, v: Array, lr: float, gamma: float) -> None:
    real = theta.dtype.type
    lr, gamma = real(lr), real(gamma)
    for i in range(theta.size):
        gi = g[i]
        vi = gamma * v[i] + gi
        v[i] = vi
        theta[i] -= lr * (gamma * vi + gi)


def rmsprop(
    theta: Array, g: Array, v: Array, m: Array, lr: float, gamma: float, rho: float, epsilon: float
) -> None:
    """v <- rho v + (1 - rho) g^2;  m <- gamma m + lr / sqrt(v + epsilon) g;  theta <- theta - m."""
    check.rmsprop(theta, g, v, m, lr, gamma, rho, epsilon)
    _rmsprop(theta, g, v, m, float(lr), float(gamma), float(rho), 1 - float(rho), float(epsilon))


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _rmsprop(
    theta: Array, g: Array, v: Array, m: Array, lr: float, gamma: float, rho: float, one_minus_rho: float,
    epsilon: float,
) -> None:  # fmt: skip
    real = theta.dtype.type
    rate = real(lr)
    for i in range(theta.size):
        gi = np.float64(g[i])
        vi = rho * v[i] + one_minus_rho * (gi * gi)
        mi = real(gamma * m[i] + np.float64(rate / np.sqrt(real(vi + epsilon))) * gi)
        v[i] = vi
        m[i] = mi
        theta[i] -= mi


def adam(
    theta: Array, g: Array, m: Array, v: Array, t: int, lr: float, beta1: float, beta2: float, epsilon: float
) -> None:
    """m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;  theta <- theta - lr b m / (sqrt(v) + epsilon).

    With b = sqrt(1 - beta2^(t+1)) / (1 - beta1^(t+1)), the bias correction of step t, which counts from 0.
    """
    check.adam(theta, g, m, v, t, lr, beta1, beta2, epsilon)
    beta1, beta2 = float(beta1), float(beta2)
    step = float(lr) * bias_correction(int(t), beta1, beta2)
    _adam(theta, g, m, v, step, beta1, 1 - beta1, beta2, 1 - beta2, float(epsilon))


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _adam(
    theta: Array, g: Array, m: Array, v: Array, step: float, beta1: float, one_minus_beta1: float, beta2: float,
    one_minus_beta2: float, epsilon: float,
) -> None:  # fmt: skip
    real = theta.dtype.type
    step, epsilon = real(step), real(epsilon)
    for i in range(theta.size):
        gi = np.float64(g[i])
        mi = real(beta1 * m[i] + one_minus_beta1 * gi)
        vi = real(beta2 * v[i] + one_minus_beta2 * (gi * gi))
        m[i] = mi
        v[i] = vi
        theta[i] -= step * (mi / (np.sqrt(vi) + epsilon))


def nadam(
    theta: Array, g: Array, m: Array, v: Array, t: int, lr: float, beta1: float, beta2: float, epsilon: float
) -> None:
    """As `adam`, with beta1 m + (1 - beta1) g, of the new m, in place of m in the step."""
    check.nadam(theta, g, m, v, t, lr, beta1, beta2, epsilon)
    beta1, beta2 = float(beta1), float(beta2)
    step = float(lr) * bias_correction(int(t), beta1, beta2)
    _nadam(theta, g, m, v, step, beta1, 1 - beta1, beta2, 1 - beta2, float(epsilon))


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _nadam(
    theta: Array, g: Array, m: Array, v: Array, step: float, beta1: float, one_minus_beta1: float, beta2: float,
    one_minus_beta2: float, epsilon: float,
) -> None:  # fmt: skip
    real = theta.dtype.type
    step, epsilon = real(step), real(epsilon)
    for i in range(theta.size):
        gi = np.float64(g[i])
        mi = beta1 * m[i] + one_minus_beta1 * gi
        vi = real(beta2 * v[i] + one_minus_beta2 * (gi * gi))
        m[i] = mi
        v[i] = vi
        theta[i] -= step * (real(beta1 * mi + one_minus_beta1 * gi) / (np.sqrt(vi) + epsilon))

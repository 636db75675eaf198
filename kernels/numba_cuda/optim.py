"""The six update rules: the equations of one parameter each; `elementwise` says which thread computes it.

The sums of decayed state and gradient are computed in double and rounded once to the dtype of the vectors, as the
reference does: a constant like 0.999 rounded to float32 would be a decay of another length. `type(theta)` rounds. The
root and the quotient, which take many instructions, are computed in the dtype of the vectors. Equations and sources:
`refplay.kernels.numpy_ref`.
"""

from __future__ import annotations

from math import sqrt

import numpy as np

from ..contract import Array
from ..scalars import bias_correction
from . import check
from .elementwise import run, update, update1, update2


def sgd(theta: Array, g: Array, lr: float) -> None:
    """Take a step of stochastic gradient descent, in place."""
    check.sgd(theta, g, lr)
    run(_sgd, theta, g, _doubles(lr))


def momentum(theta: Array, g: Array, v: Array, lr: float, gamma: float) -> None:
    """Take a step of momentum, in place on theta and v."""
    check.momentum(theta, g, v, lr, gamma)
    run(_momentum, theta, g, v, _doubles(lr, gamma))


def nesterov(theta: Array, g: Array, v: Array, lr: float, gamma: float) -> None:
    """Take a step of Nesterov momentum, in place on theta and v."""
    check.nesterov(theta, g, v, lr, gamma)
    run(_nesterov, theta, g, v, _doubles(lr, gamma))


def rmsprop(
    theta: Array, g: Array, v: Array, m: Array, lr: float, gamma: float, rho: float, epsilon: float
) -> None:
    """Take a step of RMSProp with momentum, in place on theta, v and m."""
    check.rmsprop(theta, g, v, m, lr, gamma, rho, epsilon)
    run(_rmsprop, theta, g, v, m, _doubles(lr, gamma, rho, 1 - rho, epsilon))


def adam(
    theta: Array, g: Array, m: Array, v: Array, t: int, lr: float, beta1: float, beta2: float, epsilon: float
) -> None:
    """Take step t = 0, 1, ... of Adam, in place on theta, m and v."""
    check.adam(theta, g, m, v, t, lr, beta1, beta2, epsilon)
    step = lr * bias_correction(int(t), beta1, beta2)
    run(_adam, theta, g, m, v, _doubles(step, beta1, 1 - beta1, beta2, 1 - beta2, epsilon))


def nadam(
    theta: Array, g: Array, m: Array, v: Array, t: int, lr: float, beta1: float, beta2: float, epsilon: float
) -> None:
    """Take step t = 0, 1, ... of NAdam, in place on theta, m and v."""
    check.nadam(theta, g, m, v, t, lr, beta1, beta2, epsilon)
    step = lr * bias_correction(int(t), beta1, beta2)
    run(_nadam, theta, g, m, v, _doubles(step, beta1, 1 - beta1, beta2, 1 - beta2, epsilon))


def _doubles(*scalars: float) -> tuple[np.float64, ...]:
    return tuple(np.float64(s) for s in scalars)


@update
def _sgd(theta, g, scalars):
    (lr,) = scalars
    return type(theta)(theta - lr * g)


@update1
def _momentum(theta, g, v, scalars):
    lr, gamma = scalars
    real = type(theta)
    v = real(gamma * v + g)
    return real(theta - lr * v), v


@update1
def _nesterov(theta, g, v, scalars):
    lr, gamma = scalars
    real = type(theta)
    v = real(gamma * v + g)
    return real(theta - lr * (gamma * v + g)), v


@update2
def _rmsprop(theta, g, v, m, scalars):
    lr, gamma, rho, one_minus_rho, epsilon = scalars
    real = type(theta)
    v = real(rho * v + one_minus_rho * g * g)
    rate = real(lr) / sqrt(v + real(epsilon))
    m = real(gamma * m + np.float64(rate) * g)
    return theta - m, v, m


@update2
def _adam(theta, g, m, v, scalars):
    step, beta1, one_minus_beta1, beta2, one_minus_beta2, epsilon = scalars  # step = lr * bias correction
    real = type(theta)
    m = real(beta1 * m + one_minus_beta1 * g)
    v = real(beta2 * v + one_minus_beta2 * g * g)
    return theta - real(step) * (m / (sqrt(v) + real(epsilon))), m, v


@update2
def _nadam(theta, g, m, v, scalars):
    step, beta1, one_minus_beta1, beta2, one_minus_beta2, epsilon = scalars  # step = lr * bias correction
    real = type(theta)
    m = real(beta1 * m + one_minus_beta1 * g)
    v = real(beta2 * v + one_minus_beta2 * g * g)
    ahead = real(beta1 * m + one_minus_beta1 * g)
    return theta - real(step) * (ahead / (sqrt(v) + real(epsilon))), m, v

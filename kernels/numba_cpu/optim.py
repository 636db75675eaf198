"""The six update rules, each one pass that reads and writes every vector once; the threads share it in blocks.

The equations stand in `rules.py`, written on vectors of float32; how exactly they are computed is said there. What is
computed from scalars alone is computed in `..._scalars`, in double precision. The plain kernels at the end of this file
are the same loops as Numba compiles them by itself: they serve float64.
"""

from typing import Any

import numpy as np
from numba import njit

from .. import check_vectors as check
from ..contract import Array
from ..scalars import bias_correction
from .program import Call, Kernel, as_float, blocks, call, kernel, launch
from .rules import RULES
from .simd import Emitter, Real, Value, emit
from .wide import each_vector

BLOCK = 16384  # values of a task, 5 to 10 microseconds of work


def sgd(theta: Array, g: Array, lr: float) -> None:
    """theta <- theta - lr g."""
    check.sgd(theta, g, lr)
    if theta.dtype == np.float32:
        launch(*sgd_calls(theta, g, lr))
    else:
        _sgd(theta, g, float(lr))


def sgd_calls(theta: Array, g: Array, lr: float) -> list[Call]:
    return _rule_calls(SGD, sgd_scalars(lr), theta, g)


def sgd_scalars(lr: float) -> tuple[float, ...]:
    return float(lr), 0.0, 0.0, 0.0


def momentum(theta: Array, g: Array, v: Array, lr: float, gamma: float) -> None:
    """v <- gamma v + g;  theta <- theta - lr v."""
    check.momentum(theta, g, v, lr, gamma)
    if theta.dtype == np.float32:
        launch(*momentum_calls(theta, g, v, lr, gamma))
    else:
        _momentum(theta, g, v, float(lr), float(gamma))


def momentum_calls(theta: Array, g: Array, v: Array, lr: float, gamma: float) -> list[Call]:
    return _rule_calls(MOMENTUM, momentum_scalars(lr, gamma), theta, g, v)


def momentum_scalars(lr: float, gamma: float) -> tuple[float, ...]:
    return float(lr), float(gamma), 0.0, 0.0


def nesterov(theta: Array, g: Array, v: Array, lr: float, gamma: float) -> None:
    """v <- gamma v + g;  theta <- theta - lr (gamma v + g)."""
    check.nesterov(theta, g, v, lr, gamma)
    if theta.dtype == np.float32:
        launch(*nesterov_calls(theta, g, v, lr, gamma))
    else:
        _nesterov(theta, g, v, float(lr), float(gamma))


def nesterov_calls(theta: Array, g: Array, v: Array, lr: float, gamma: float) -> list[Call]:
    return _rule_calls(NESTEROV, momentum_scalars(lr, gamma), theta, g, v)


nesterov_scalars = momentum_scalars


def rmsprop(
    theta: Array, g: Array, v: Array, m: Array, lr: float, gamma: float, rho: float, epsilon: float
) -> None:
    """v <- rho v + (1 - rho) g^2;  m <- gamma m + lr / sqrt(v + epsilon) g;  theta <- theta - m."""
    check.rmsprop(theta, g, v, m, lr, gamma, rho, epsilon)
    if theta.dtype == np.float32:
        launch(*rmsprop_calls(theta, g, v, m, lr, gamma, rho, epsilon))
    else:
        _rmsprop(theta, g, v, m, float(lr), float(gamma), float(rho), 1 - float(rho), float(epsilon))


def rmsprop_calls(
    theta: Array, g: Array, v: Array, m: Array, lr: float, gamma: float, rho: float, epsilon: float
) -> list[Call]:
    return _rule_calls(RMSPROP, rmsprop_scalars(lr, gamma, rho, epsilon), theta, g, v, m)


def rmsprop_scalars(lr: float, gamma: float, rho: float, epsilon: float) -> tuple[float, ...]:
    return float(lr), float(gamma), float(rho), float(epsilon)


def adam(
    theta: Array, g: Array, m: Array, v: Array, t: int, lr: float, beta1: float, beta2: float, epsilon: float
) -> None:
    """m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;  theta <- theta - lr b m / (sqrt(v) + epsilon).

    With b = sqrt(1 - beta2^(t+1)) / (1 - beta1^(t+1)), the bias correction of step t, which counts from 0.
    """
    check.adam(theta, g, m, v, t, lr, beta1, beta2, epsilon)
    if theta.dtype == np.float32:
        launch(*adam_calls(theta, g, m, v, t, lr, beta1, beta2, epsilon))
    else:
        _adam(theta, g, m, v, *_with_complements(adam_scalars(t, lr, beta1, beta2, epsilon)))


def adam_calls(
    theta: Array, g: Array, m: Array, v: Array, t: int, lr: float, beta1: float, beta2: float, epsilon: float
) -> list[Call]:
    return _rule_calls(ADAM, adam_scalars(t, lr, beta1, beta2, epsilon), theta, g, m, v)


def adam_scalars(t: int, lr: float, beta1: float, beta2: float, epsilon: float) -> tuple[float, ...]:
    """Return lr b, the two betas and epsilon."""
    beta1, beta2 = float(beta1), float(beta2)
    return float(lr) * bias_correction(int(t), beta1, beta2), beta1, beta2, float(epsilon)


def nadam(
    theta: Array, g: Array, m: Array, v: Array, t: int, lr: float, beta1: float, beta2: float, epsilon: float
) -> None:
    """As `adam`, with beta1 m + (1 - beta1) g, of the new m, in place of m in the step."""
    check.nadam(theta, g, m, v, t, lr, beta1, beta2, epsilon)
    if theta.dtype == np.float32:
        launch(*nadam_calls(theta, g, m, v, t, lr, beta1, beta2, epsilon))
    else:
        _nadam(theta, g, m, v, *_with_complements(adam_scalars(t, lr, beta1, beta2, epsilon)))


def nadam_calls(
    theta: Array, g: Array, m: Array, v: Array, t: int, lr: float, beta1: float, beta2: float, epsilon: float
) -> list[Call]:
    return _rule_calls(NADAM, adam_scalars(t, lr, beta1, beta2, epsilon), theta, g, m, v)


nadam_scalars = adam_scalars


def _rule_calls(rule: Kernel, scalars: tuple[float, ...], theta: Array, g: Array, *state: Array) -> list[Call]:
    n = theta.size
    tasks, block = blocks(n, BLOCK)
    return [call(rule, tasks, *scalars, n, block, theta, g, *state)] if n else []


@emit
def _update(
    e: Emitter, rule: int, theta: Value, g: Value, first: Value, second: Value, n: Value, s0: Real, s1: Real,
    s2: Real, s3: Real,
) -> None:  # fmt: skip
    update = RULES[rule](e, s0, s1, s2, s3)
    state = [first, second][: STATES[rule]]

    def body(at: Value, inside: Value | None) -> None:
        new = update(*[e.load(vector + at, inside) for vector in (theta, g, *state)])
        for vector, value in zip((theta, *state), new, strict=True):
            e.store(value, vector + at, inside)

    each_vector(e, n, body)


def _kernel_of(rule: int) -> Kernel:
    NUMBER = rule

    def update_block(a: Any, task: int, scratch: int) -> None:
        """Arguments: four scalars, number of values, values a task, theta, g, state; all of them in every rule."""
        first = task * a[5]
        at = 4 * first
        _update(NUMBER, a[6] + at, a[7] + at, a[8] + at, a[9] + at, min(a[5], a[4] - first),
                as_float(a[0]), as_float(a[1]), as_float(a[2]), as_float(a[3]))

    return kernel(update_block)


STATES = (0, 1, 1, 2, 2, 2)  # how many vectors of state each of RULES has
SGD, MOMENTUM, NESTEROV, RMSPROP, ADAM, NADAM = map(_kernel_of, range(len(RULES)))


# The plain form. "contract" allows fused multiply-add: one rounding instead of two, in every element alike.


def _with_complements(scalars: tuple[float, ...]) -> tuple[float, ...]:
    step, beta1, beta2, epsilon = scalars
    return step, beta1, 1 - beta1, beta2, 1 - beta2, epsilon



@njit(cache=True, nogil=True, fastmath={"contract"})
def _sgd(theta: Array, g: Array, lr: float) -> None:
    lr = theta.dtype.type(lr)
    for i in range(theta.size):
        theta[i] -= lr * g[i]


@njit(cache=True, nogil=True, fastmath={"contract"})
def _momentum(theta: Array, g: Array, v: Array, lr: float, gamma: float) -> None:
    real = theta.dtype.type
    lr, gamma = real(lr), real(gamma)
    for i in range(theta.size):
        vi = gamma * v[i] + g[i]
        v[i] = vi
        theta[i] -= lr * vi


@njit(cache=True, nogil=True, fastmath={"contract"})
def _nesterov(theta: Array, g: Array, v: Array, lr: float, gamma: float) -> None:
    real = theta.dtype.type
    lr, gamma = real(lr), real(gamma)
    for i in range(theta.size):
        gi = g[i]
        vi = gamma * v[i] + gi
        v[i] = vi
        theta[i] -= lr * (gamma * vi + gi)


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

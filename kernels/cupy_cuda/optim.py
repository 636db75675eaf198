"""The six update rules, each one launch; the equations and their roundings are in rules.cuh."""

from __future__ import annotations

from typing import Any

from ..contract import Array
from ..scalars import bias_correction
from . import check
from .device import BLOCK, blocks_for, launch
from .elementwise import values_of_block


def sgd(theta: Array, g: Array, lr: float) -> None:
    """Take a step of stochastic gradient descent, in place."""
    check.sgd(theta, g, lr)
    update("sgd", (theta, g), lr)


def momentum(theta: Array, g: Array, v: Array, lr: float, gamma: float) -> None:
    """Take a step of momentum, in place on theta and v."""
    check.momentum(theta, g, v, lr, gamma)
    update("momentum", (theta, g, v), lr, gamma)


def nesterov(theta: Array, g: Array, v: Array, lr: float, gamma: float) -> None:
    """Take a step of Nesterov momentum, in place on theta and v."""
    check.nesterov(theta, g, v, lr, gamma)
    update("nesterov", (theta, g, v), lr, gamma)


def rmsprop(
    theta: Array, g: Array, v: Array, m: Array, lr: float, gamma: float, rho: float, epsilon: float
) -> None:
    """Take a step of RMSProp with momentum, in place on theta, v and m."""
    check.rmsprop(theta, g, v, m, lr, gamma, rho, epsilon)
    update("rmsprop", (theta, g, v, m), lr, gamma, rho, epsilon)


def adam(
    theta: Array, g: Array, m: Array, v: Array, t: int, lr: float, beta1: float, beta2: float, epsilon: float
) -> None:
    """Take step t = 0, 1, ... of Adam, in place on theta, m and v."""
    check.adam(theta, g, m, v, t, lr, beta1, beta2, epsilon)
    update("adam", (theta, g, m, v), corrected_rate(t, lr, beta1, beta2), beta1, beta2, epsilon)


def nadam(
    theta: Array, g: Array, m: Array, v: Array, t: int, lr: float, beta1: float, beta2: float, epsilon: float
) -> None:
    """Take step t = 0, 1, ... of NAdam, in place on theta, m and v."""
    check.nadam(theta, g, m, v, t, lr, beta1, beta2, epsilon)
    update("nadam", (theta, g, m, v), corrected_rate(t, lr, beta1, beta2), beta1, beta2, epsilon)


def corrected_rate(t: int, lr: float, beta1: float, beta2: float) -> float:
    """Return the learning rate times the bias correction of step t."""
    return lr * bias_correction(int(t), beta1, beta2)


def update(
    rule: str, vectors: tuple[Array, ...], rate: float, *hyperparameters: float, rates: Any = None, row: Any = None,
    clip: Any = None,
) -> None:  # fmt: skip
    """Launch a rule on theta, g and its state.

    For a captured step (see `tape`): `rates`, float64 in device memory, has its rate at the index `row`[0], and the
    gradient counts times `clip`[0].
    """
    theta = vectors[0]
    launch(f"optim.{rule}_{theta.dtype}", blocks_for(theta.size, values_of_block(theta)), BLOCK, *vectors, theta.size,
           float(rate), *map(float, hyperparameters), rates, row, clip)  # fmt: skip

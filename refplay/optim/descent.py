r"""The update rules with one learning rate for all parameters: SGD, Momentum and Nesterov.

The equations are those of the playbook, "What are the update rules for all the popular optimization algorithms?"; see
`refplay.optim.rules` for what all rules have in common.
"""

from __future__ import annotations

from typing import NamedTuple

from refplay.kernels import Array, Backend
from refplay.optim.checks import below_one, not_negative


class Stateless(NamedTuple):
    """The state of SGD: nothing."""


class Velocity(NamedTuple):
    """The state of Momentum and of Nesterov."""

    v: Array


def init_sgd(theta: Array, kernels: Backend) -> Stateless:
    """Return the state before the first step; see `sgd`."""
    return Stateless()


def sgd(theta: Array, g: Array, state: Stateless, *, lr: float, kernels: Backend) -> Stateless:
    r"""Stochastic gradient descent.

    .. math::
        \theta_{t+1} = \theta_t - \eta_t g_t

    Parameters
    ----------
    theta : float[P]
        :math:`\theta_t`, overwritten with :math:`\theta_{t+1}`.
    g : float[P]
        :math:`g_t`.
    state : Stateless
        Nothing.
    lr : float, 0 or above
        :math:`\eta_t`, the learning rate of this step.
    kernels : backend

    Raises
    ------
    InputError
        A hyperparameter out of its range.

    Notes
    -----
    Paper: H. Robbins and S. Monro (1951), "A Stochastic Approximation Method". Frameworks do the same.

    Examples
    --------
    >>> import numpy as np
    >>> from refplay.kernels import load
    >>> theta, g = np.array([1.0, -2.0]), np.array([0.5, 3.0])
    >>> state = sgd(theta, g, init_sgd(theta, load("numpy")), lr=0.1, kernels=load("numpy"))
    >>> theta.tolist()
    [0.95, -2.3]
    """
    kernels.sgd(theta, g, not_negative("learning_rate", lr))
    return state


def init_momentum(theta: Array, kernels: Backend) -> Velocity:
    """Return the state before the first step, v = 0; see `momentum` and `nesterov`."""
    return Velocity(kernels.zeros(theta.shape, theta.dtype.name))


def momentum(theta: Array, g: Array, state: Velocity, *, lr: float, momentum: float = 0.9,
             kernels: Backend) -> Velocity:
    r"""Gradient descent with momentum (the heavy ball).

    .. math::
        v_0 = 0

        v_{t+1} = \gamma v_t + g_t

        \theta_{t+1} = \theta_t - \eta_t v_{t+1}

    Parameters
    ----------
    theta : float[P]
        :math:`\theta_t`, overwritten with :math:`\theta_{t+1}`.
    g : float[P]
        :math:`g_t`.
    state : Velocity
        :math:`v_t`, overwritten with :math:`v_{t+1}`.
    lr : float, 0 or above
        :math:`\eta_t`, the learning rate of this step.
    momentum : float in [0, 1)
        :math:`\gamma`.
    kernels : backend

    Raises
    ------
    InputError
        A hyperparameter out of its range.

    Notes
    -----
    Paper: B. Polyak (1964), "Some methods of speeding up the convergence of iteration methods". PyTorch does the same
    with ``dampening=0``. Keras keeps the learning rate inside the buffer, which differs once the rate changes.

    Examples
    --------
    >>> import numpy as np
    >>> from refplay.kernels import load
    >>> theta, g = np.array([1.0, -2.0]), np.array([0.5, 3.0])
    >>> state = init_momentum(theta, load("numpy"))
    >>> for _ in range(2):
    ...     state = momentum(theta, g, state, lr=0.1, momentum=0.7, kernels=load("numpy"))
    >>> theta.round(6).tolist()
    [0.865, -2.81]
    """
    kernels.momentum(theta, g, state.v, not_negative("learning_rate", lr), below_one("momentum", momentum))
    return state


def nesterov(theta: Array, g: Array, state: Velocity, *, lr: float, momentum: float = 0.9,
             kernels: Backend) -> Velocity:
    r"""Gradient descent with Nesterov's momentum.

    .. math::
        v_0 = 0

        v_{t+1} = \gamma v_t + g_t

        \theta_{t+1} = \theta_t - \eta_t \cdot (\gamma v_{t+1} + g_t)

    Parameters
    ----------
    theta : float[P]
        :math:`\theta_t`, overwritten with :math:`\theta_{t+1}`.
    g : float[P]
        :math:`g_t`.
    state : Velocity
        :math:`v_t`, overwritten with :math:`v_{t+1}`.
    lr : float, 0 or above
        :math:`\eta_t`, the learning rate of this step.
    momentum : float in [0, 1)
        :math:`\gamma`.
    kernels : backend

    Raises
    ------
    InputError
        A hyperparameter out of its range.

    Notes
    -----
    Papers: Y. Nesterov (1983), "A method for solving the convex programming problem with convergence rate O(1/k^2)";
    I. Sutskever et al. (2013), "On the importance of initialization and momentum in deep learning". Here theta is the
    point at which the gradient was taken (the look-ahead point of those papers). The playbook prints the last equation
    without its closing parenthesis. PyTorch does the same with ``nesterov=True``; Keras keeps the learning rate inside
    the buffer, which differs once the rate changes.

    Examples
    --------
    >>> import numpy as np
    >>> from refplay.kernels import load
    >>> theta, g = np.array([1.0, -2.0]), np.array([0.5, 3.0])
    >>> state = init_momentum(theta, load("numpy"))
    >>> for _ in range(2):
    ...     state = nesterov(theta, g, state, lr=0.1, momentum=0.7, kernels=load("numpy"))
    >>> theta.round(6).tolist()
    [0.8055, -3.167]
    """
    kernels.nesterov(theta, g, state.v, not_negative("learning_rate", lr), below_one("momentum", momentum))
    return state

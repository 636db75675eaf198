r"""The update rules that scale each parameter's step: RMSProp, Adam and NAdam.

The equations are those of the playbook, "What are the update rules for all the popular optimization algorithms?"; see
`refplay.optim.rules` for what all rules have in common.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from refplay.kernels import Array, Backend
from refplay.optim.checks import below_one, not_negative


class ScaledVelocity(NamedTuple):
    """The state of RMSProp: v averages the squared gradients, m is what theta moves by."""

    v: Array
    m: Array


class Moments(NamedTuple):
    """The state of Adam and of NAdam: averages of the gradients and of their squares, and the steps taken so far."""

    m: Array
    v: Array
    t: int


def init_rmsprop(theta: Array, kernels: Backend) -> ScaledVelocity:
    """Return the state before the first step, v = 1 and m = 0; see `rmsprop`."""
    ones = kernels.asarray(np.ones(theta.shape, theta.dtype.name))
    return ScaledVelocity(v=ones, m=kernels.zeros(theta.shape, theta.dtype.name))


def rmsprop(theta: Array, g: Array, state: ScaledVelocity, *, lr: float, momentum: float = 0.0, rho: float = 0.9,
            epsilon: float = 1e-10, kernels: Backend) -> ScaledVelocity:
    r"""RMSProp with momentum.

    .. math::
        v_0 = 1

        m_0 = 0

        v_{t+1} = \rho v_t + (1 - \rho) g_t^2

        m_{t+1} = \gamma m_t + \frac{\eta_t}{\sqrt{v_{t+1} + \epsilon}} g_t

        \theta_{t+1} = \theta_t - m_{t+1}

    Parameters
    ----------
    theta : float[P]
        :math:`\theta_t`, overwritten with :math:`\theta_{t+1}`.
    g : float[P]
        :math:`g_t`.
    state : ScaledVelocity
        :math:`v_t` and :math:`m_t`, overwritten with :math:`v_{t+1}` and :math:`m_{t+1}`.
    lr : float, 0 or above
        :math:`\eta_t`, the learning rate of this step.
    momentum : float in [0, 1)
        :math:`\gamma`.
    rho : float in [0, 1)
        :math:`\rho`.
    epsilon : float, 0 or above
        :math:`\epsilon`, in units of the squared gradient.
    kernels : backend

    Raises
    ------
    InputError
        A hyperparameter out of its range.

    Notes
    -----
    Source: T. Tieleman and G. Hinton (2012), "Lecture 6.5 - RMSProp", Coursera; in the form, and with the defaults, of
    TensorFlow 1. PyTorch and Keras start from :math:`v_0 = 0`, which makes the first step up to
    :math:`1 / \sqrt{1 - \rho}` times the learning rate however small the gradient; PyTorch adds epsilon outside of the
    root and multiplies by the learning rate after the momentum.

    Examples
    --------
    >>> import numpy as np
    >>> from refplay.kernels import load
    >>> theta, g = np.array([1.0, -2.0]), np.array([0.5, 3.0])
    >>> state = init_rmsprop(theta, load("numpy"))
    >>> for _ in range(2):
    ...     state = rmsprop(theta, g, state, lr=0.1, momentum=0.7, rho=0.8, epsilon=0.1, kernels=load("numpy"))
    >>> theta.round(6).tolist()
    [0.85791, -2.460753]
    """
    kernels.rmsprop(theta, g, state.v, state.m, not_negative("learning_rate", lr), below_one("momentum", momentum),
                    below_one("rho", rho), not_negative("epsilon", epsilon))
    return state


def init_adam(theta: Array, kernels: Backend) -> Moments:
    """Return the state before the first step, m = 0 and v = 0; see `adam` and `nadam`."""
    return Moments(m=kernels.zeros(theta.shape, theta.dtype.name), v=kernels.zeros(theta.shape, theta.dtype.name), t=0)


def adam(theta: Array, g: Array, state: Moments, *, lr: float, beta1: float = 0.9, beta2: float = 0.999,
         epsilon: float = 1e-8, kernels: Backend) -> Moments:
    r"""Adam, with epsilon added before the bias correction.

    .. math::
        m_0 = 0

        v_0 = 0

        m_{t+1} = \beta_1 m_t + (1 - \beta_1) g_t

        v_{t+1} = \beta_2 v_t + (1 - \beta_2) g_t^2

        b_{t+1} = \frac{\sqrt{1 - \beta_2^{t+1}}}{1 - \beta_1^{t+1}}

        \theta_{t+1} = \theta_t - \alpha_t \frac{m_{t+1}}{\sqrt{v_{t+1}} + \epsilon} b_{t+1}

    Parameters
    ----------
    theta : float[P]
        :math:`\theta_t`, overwritten with :math:`\theta_{t+1}`.
    g : float[P]
        :math:`g_t`.
    state : Moments
        :math:`m_t` and :math:`v_t`, overwritten with :math:`m_{t+1}` and :math:`v_{t+1}`; and :math:`t`.
    lr : float, 0 or above
        :math:`\alpha_t`, the learning rate of this step.
    beta1 : float in [0, 1)
        :math:`\beta_1`.
    beta2 : float in [0, 1)
        :math:`\beta_2`.
    epsilon : float, 0 or above
        :math:`\epsilon`, in units of the gradient.
    kernels : backend

    Raises
    ------
    InputError
        A hyperparameter out of its range.

    Notes
    -----
    Paper: D. Kingma and J. Ba (2015), "Adam: A Method for Stochastic Optimization", the efficient form at the end of
    section 2, whose epsilon-hat is the epsilon here. PyTorch and optax add their epsilon to the corrected root: they
    take the same step if theirs is :math:`\epsilon / \sqrt{1 - \beta_2^{t+1}}`.

    Examples
    --------
    >>> import numpy as np
    >>> from refplay.kernels import load
    >>> theta, g = np.array([1.0, -2.0]), np.array([0.5, 3.0])
    >>> state = init_adam(theta, load("numpy"))
    >>> for _ in range(2):
    ...     state = adam(theta, g, state, lr=0.1, beta1=0.7, beta2=0.8, epsilon=0.1, kernels=load("numpy"))
    >>> theta.round(6).tolist()
    [0.855902, -2.1878]
    """
    kernels.adam(theta, g, state.m, state.v, state.t, not_negative("learning_rate", lr), below_one("beta1", beta1),
                 below_one("beta2", beta2), not_negative("epsilon", epsilon))
    return Moments(state.m, state.v, state.t + 1)


def nadam(theta: Array, g: Array, state: Moments, *, lr: float, beta1: float = 0.9, beta2: float = 0.999,
          epsilon: float = 1e-8, kernels: Backend) -> Moments:
    r"""Adam with Nesterov's momentum.

    .. math::
        m_0 = 0

        v_0 = 0

        m_{t+1} = \beta_1 m_t + (1 - \beta_1) g_t

        v_{t+1} = \beta_2 v_t + (1 - \beta_2) g_t^2

        b_{t+1} = \frac{\sqrt{1 - \beta_2^{t+1}}}{1 - \beta_1^{t+1}}

        \theta_{t+1} = \theta_t - \alpha_t \frac{\beta_1 m_{t+1} + (1 - \beta_1) g_t}{\sqrt{v_{t+1}} + \epsilon} b_{t+1}

    Parameters
    ----------
    theta : float[P]
        :math:`\theta_t`, overwritten with :math:`\theta_{t+1}`.
    g : float[P]
        :math:`g_t`.
    state : Moments
        :math:`m_t` and :math:`v_t`, overwritten with :math:`m_{t+1}` and :math:`v_{t+1}`; and :math:`t`.
    lr : float, 0 or above
        :math:`\alpha_t`, the learning rate of this step.
    beta1 : float in [0, 1)
        :math:`\beta_1`.
    beta2 : float in [0, 1)
        :math:`\beta_2`.
    epsilon : float, 0 or above
        :math:`\epsilon`, in units of the gradient.
    kernels : backend

    Raises
    ------
    InputError
        A hyperparameter out of its range.

    Notes
    -----
    Paper: T. Dozat (2016), "Incorporating Nesterov Momentum into Adam". One correction for the whole numerator and no
    schedule of beta1: PyTorch and Keras warm beta1 up by a schedule and correct the two terms of the numerator apart,
    optax corrects them apart; all of them add epsilon after the correction (see `adam`).

    Examples
    --------
    >>> import numpy as np
    >>> from refplay.kernels import load
    >>> theta, g = np.array([1.0, -2.0]), np.array([0.5, 3.0])
    >>> state = init_adam(theta, load("numpy"))
    >>> for _ in range(2):
    ...     state = nadam(theta, g, state, lr=0.1, beta1=0.7, beta2=0.8, epsilon=0.1, kernels=load("numpy"))
    >>> theta.round(6).tolist()
    [0.785915, -2.280251]
    """
    kernels.nadam(theta, g, state.m, state.v, state.t, not_negative("learning_rate", lr), below_one("beta1", beta1),
                  below_one("beta2", beta2), not_negative("epsilon", epsilon))
    return Moments(state.m, state.v, state.t + 1)

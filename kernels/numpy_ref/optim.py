r"""The six update rules of the playbook, to the letter of its equations, in place on the parameters and the state.

In the equations `theta` is :math:`\theta`, `g` is :math:`\nabla \mathcal{l}(\theta_t)`, `lr` is :math:`\eta_t` or
:math:`\alpha_t`, and `t` counts the steps from 0. All vectors have one shape [n] and one dtype; `theta` and the state
hold their values of t before the call and those of t+1 after it. Scalars are multiplied with each other first, and
with a quotient rather than with its numerator, whose product with a small scalar may be denormal and lose digits.

Scalars are made NumPy's float64 before they meet float32 vectors: NumPy then computes in double precision, and rounds
once, where it writes.

Source: the playbook's section "What are the update rules for all the popular optimization algorithms?". Where
frameworks compute something else, the docstring says so.
"""

import numpy as np

from .. import check_vectors as check
from ..contract import Array
from ..scalars import bias_correction


def sgd(theta: Array, g: Array, lr: float) -> None:
    r"""Take a step of stochastic gradient descent.

    .. math:: \theta_{t+1} = \theta_t - \eta_t \nabla \mathcal{l}(\theta_t)

    >>> theta, g = np.array([1.0, -2.0]), np.array([0.5, 3.0])
    >>> sgd(theta, g, lr=0.1)
    >>> theta
    array([ 0.95, -2.3 ])
    """
    check.sgd(theta, g, lr)
    theta[...] = theta - np.float64(lr) * g


def momentum(theta: Array, g: Array, v: Array, lr: float, gamma: float) -> None:
    r"""Take a step of momentum (heavy ball); `v` is 0 at the start.

    .. math:: v_{t+1} &= \gamma v_t + \nabla \mathcal{l}(\theta_t) \\
              \theta_{t+1} &= \theta_t - \eta_t v_{t+1}

    >>> theta, g, v = np.array([1.0, -2.0]), np.array([0.5, 3.0]), np.array([0.25, 0.0])
    >>> momentum(theta, g, v, lr=0.1, gamma=0.8)
    >>> v, theta
    (array([0.7, 3. ]), array([ 0.93, -2.3 ]))
    """
    check.momentum(theta, g, v, lr, gamma)
    lr, gamma = np.float64(lr), np.float64(gamma)
    v[...] = gamma * v + g
    theta[...] = theta - lr * v


def nesterov(theta: Array, g: Array, v: Array, lr: float, gamma: float) -> None:
    r"""Take a step of Nesterov momentum; `v` is 0 at the start.

    .. math:: v_{t+1} &= \gamma v_t + \nabla \mathcal{l}(\theta_t) \\
              \theta_{t+1} &= \theta_t - \eta_t \cdot (\gamma v_{t+1} + \nabla \mathcal{l}(\theta_t))

    >>> theta, g, v = np.array([1.0, -2.0]), np.array([0.5, 3.0]), np.array([0.25, 0.0])
    >>> nesterov(theta, g, v, lr=0.1, gamma=0.8)
    >>> v, theta
    (array([0.7, 3. ]), array([ 0.894, -2.54 ]))
    """
    check.nesterov(theta, g, v, lr, gamma)
    lr, gamma = np.float64(lr), np.float64(gamma)
    v[...] = gamma * v + g
    theta[...] = theta - lr * (gamma * v + g)


def rmsprop(
    theta: Array, g: Array, v: Array, m: Array, lr: float, gamma: float, rho: float, epsilon: float
) -> None:
    r"""Take a step of RMSProp with momentum; `v` is 1 and `m` is 0 at the start.

    .. math:: v_{t+1} &= \rho v_t + (1 - \rho) \nabla \mathcal{l}(\theta_t)^2 \\
              m_{t+1} &= \gamma m_t + \frac{\eta_t}{\sqrt{v_{t+1} + \epsilon}} \nabla \mathcal{l}(\theta_t) \\
              \theta_{t+1} &= \theta_t - m_{t+1}

    PyTorch and Keras start from v = 0; PyTorch adds epsilon outside of the root and keeps the learning rate outside of
    `m`, which matters when the learning rate changes.

    >>> theta, g, v, m = np.array([1.0]), np.array([0.5]), np.array([1.0]), np.array([0.25])
    >>> rmsprop(theta, g, v, m, lr=0.1, gamma=0.8, rho=0.9, epsilon=0.01)
    >>> v, m.round(6), theta.round(6)
    (array([0.925]), array([0.251709]), array([0.748291]))
    """
    check.rmsprop(theta, g, v, m, lr, gamma, rho, epsilon)
    lr, gamma, rho, epsilon = np.float64(lr), np.float64(gamma), np.float64(rho), np.float64(epsilon)
    v[...] = rho * v + (1 - rho) * g**2
    m[...] = gamma * m + lr / np.sqrt(v + epsilon) * g
    theta[...] = theta - m


def adam(
    theta: Array, g: Array, m: Array, v: Array, t: int, lr: float, beta1: float, beta2: float, epsilon: float
) -> None:
    r"""Take step `t` of Adam; `m` and `v` are 0 at the start.

    .. math:: m_{t+1} &= \beta_1 m_t + (1 - \beta_1) \nabla \mathcal{l}(\theta_t) \\
              v_{t+1} &= \beta_2 v_t + (1 - \beta_2) \nabla \mathcal{l}(\theta_t)^2 \\
              b_{t+1} &= \frac{\sqrt{1 - \beta_2^{t+1}}}{1 - \beta_1^{t+1}} \\
              \theta_{t+1} &= \theta_t - \alpha_t \frac{m_{t+1}}{\sqrt{v_{t+1}} + \epsilon} b_{t+1}

    This is the form at the end of section 2 of Kingma and Ba 2015 (arXiv:1412.6980), whose epsilon-hat is added before
    the bias correction. Algorithm 1 there, PyTorch and optax add it after: their epsilon is ours divided by
    :math:`\sqrt{1 - \beta_2^{t+1}}`.

    >>> theta, g, m, v = np.array([1.0]), np.array([0.5]), np.zeros(1), np.zeros(1)
    >>> adam(theta, g, m, v, t=0, lr=0.1, beta1=0.9, beta2=0.99, epsilon=0.01)
    >>> m.round(6), v.round(6), theta.round(6)
    (array([0.05]), array([0.0025]), array([0.916667]))
    """
    check.adam(theta, g, m, v, t, lr, beta1, beta2, epsilon)
    lr, beta1, beta2, epsilon = np.float64(lr), np.float64(beta1), np.float64(beta2), np.float64(epsilon)
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * g**2
    b = bias_correction(int(t), beta1, beta2)
    theta[...] = theta - lr * b * (m / (np.sqrt(v) + epsilon))


def nadam(
    theta: Array, g: Array, m: Array, v: Array, t: int, lr: float, beta1: float, beta2: float, epsilon: float
) -> None:
    r"""Take step `t` of NAdam; `m` and `v` are 0 at the start.

    .. math:: m_{t+1} &= \beta_1 m_t + (1 - \beta_1) \nabla \mathcal{l}(\theta_t) \\
              v_{t+1} &= \beta_2 v_t + (1 - \beta_2) \nabla \mathcal{l}(\theta_t)^2 \\
              b_{t+1} &= \frac{\sqrt{1 - \beta_2^{t+1}}}{1 - \beta_1^{t+1}} \\
              \theta_{t+1} &= \theta_t - \alpha_t
              \frac{\beta_1 m_{t+1} + (1 - \beta_1) \nabla \mathcal{l}(\theta_t)}{\sqrt{v_{t+1}} + \epsilon} b_{t+1}

    One bias correction for the whole numerator and no schedule of the momentum: Dozat 2016, PyTorch, Keras and optax
    correct the two terms of the numerator by different powers of beta1.

    >>> theta, g, m, v = np.array([1.0]), np.array([0.5]), np.zeros(1), np.zeros(1)
    >>> nadam(theta, g, m, v, t=0, lr=0.1, beta1=0.9, beta2=0.99, epsilon=0.01)
    >>> m.round(6), v.round(6), theta.round(6)
    (array([0.05]), array([0.0025]), array([0.841667]))
    """
    check.nadam(theta, g, m, v, t, lr, beta1, beta2, epsilon)
    lr, beta1, beta2, epsilon = np.float64(lr), np.float64(beta1), np.float64(beta2), np.float64(epsilon)
    m[...] = beta1 * m + (1 - beta1) * g
    v[...] = beta2 * v + (1 - beta2) * g**2
    b = bias_correction(int(t), beta1, beta2)
    theta[...] = theta - lr * b * ((beta1 * m + (1 - beta1) * g) / (np.sqrt(v) + epsilon))

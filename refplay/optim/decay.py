r"""Weight decay, in the loss (L2) or beside the update rule (decoupled). They are the same only for plain SGD.

Hand over the part of theta that decays (`theta[:decayed]`): biases and the parameters of normalization do not.
"""


from refplay.kernels import Array, Backend
from refplay.optim.checks import not_negative


def add_l2_gradient(theta: Array, g: Array, weight_decay: float, *, kernels: Backend) -> None:
    r"""Add the gradient of :math:`\frac{\lambda}{2} |\theta|^2` to g, before clipping and before the update rule.

    .. math::
        g' = g + \lambda \theta

    Parameters
    ----------
    theta : float[D]
        :math:`\theta`, the parameters that decay.
    g : float[D]
        :math:`g`, their gradient, overwritten with :math:`g'`.
    weight_decay : float, 0 or above
        :math:`\lambda`.
    kernels : backend

    Raises
    ------
    InputError
        A negative weight decay.

    Notes
    -----
    PyTorch's ``weight_decay`` of SGD, Adam and RMSprop is this one.

    >>> import numpy as np
    >>> from refplay.kernels import load
    >>> theta, g = np.array([2.0, -4.0]), np.array([1.0, 1.0])
    >>> add_l2_gradient(theta, g, 0.25, kernels=load("numpy"))
    >>> g.tolist()
    [1.5, 0.0]
    """
    kernels.axpby(not_negative("weight_decay", weight_decay), theta, 1.0, g)


def decay_weights(theta: Array, lr: float, weight_decay: float, *, kernels: Backend) -> None:
    r"""Shrink the parameters beside the update rule, just before it (decoupled weight decay).

    .. math::
        \theta_d = (1 - \eta_t \lambda) \theta_t

    Parameters
    ----------
    theta : float[D]
        :math:`\theta_t`, the parameters that decay, overwritten with :math:`\theta_d`.
    lr : float, 0 or above
        :math:`\eta_t`, the learning rate of this step.
    weight_decay : float, 0 or above
        :math:`\lambda`.
    kernels : backend

    Raises
    ------
    InputError
        A negative learning rate or weight decay.

    Notes
    -----
    Paper: I. Loshchilov and F. Hutter (2019), "Decoupled Weight Decay Regularization", which multiplies lambda by the
    schedule's factor alone; like PyTorch's AdamW, this multiplies by the whole learning rate.

    >>> import numpy as np
    >>> from refplay.kernels import load
    >>> theta = np.array([2.0, -4.0])
    >>> decay_weights(theta, 0.5, 0.25, kernels=load("numpy"))
    >>> theta.tolist()
    [1.75, -3.5]
    """
    kernels.scale(theta, 1 - not_negative("learning_rate", lr) * not_negative("weight_decay", weight_decay))

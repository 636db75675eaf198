"""Polyak averaging: an exponential moving average of the parameters, to evaluate with."""

from typing import NamedTuple

from refplay.kernels import Array, Backend
from refplay.optim.checks import below_one


class Average(NamedTuple):
    """A running average of theta."""

    theta: Array  # float[P], like the parameters
    t: int  # updates so far


def init_average(theta: Array, kernels: Backend) -> Average:
    """Return the average before the first step: a copy of theta."""
    copy = kernels.zeros(theta.shape, theta.dtype.name)
    kernels.axpby(1.0, theta, 0.0, copy)
    return Average(copy, 0)


def update_average(theta: Array, average: Average, *, decay: float, bias_free: bool = False,
                   kernels: Backend) -> Average:
    r"""Move the average towards theta; call it after each step.

    .. math::
        a_0 = \theta_0

        a_{t+1} = \gamma a_t + (1 - \gamma) \theta_{t+1}

    The initial parameters keep the weight :math:`\gamma^t`, which is felt for some :math:`1 / (1 - \gamma)` steps.
    With `bias_free` they have none: while :math:`t / (t + 1) < \gamma` that takes the place of :math:`\gamma`, which
    makes the average the plain mean of the parameters after each step so far.

    Parameters
    ----------
    theta : float[P]
        :math:`\theta_{t+1}`, the parameters after the step.
    average : Average
        :math:`a_t`, overwritten with :math:`a_{t+1}`; and :math:`t`.
    decay : float in [0, 1)
        :math:`\gamma`.
    bias_free : bool
        Whether to begin with the plain mean.
    kernels : backend

    Returns
    -------
    Average

    Raises
    ------
    InputError
        A decay outside of [0, 1).

    Notes
    -----
    Paper: B. Polyak and A. Juditsky (1992), "Acceleration of Stochastic Approximation by Averaging" (the plain mean).

    >>> import numpy as np
    >>> from refplay.kernels import load
    >>> average = init_average(np.array([1.0]), load("numpy"))
    >>> for x in (2.0, 3.0):
    ...     average = update_average(np.array([x]), average, decay=0.75, kernels=load("numpy"))
    >>> average.theta.tolist()
    [1.6875]
    """
    decay = below_one("polyak_decay", decay)
    if bias_free:
        decay = min(decay, average.t / (average.t + 1))
    kernels.axpby(1 - decay, theta, decay, average.theta)
    return Average(average.theta, average.t + 1)

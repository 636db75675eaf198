"""Gradient clipping by the norm of the whole gradient."""

import math

from refplay.errors import InputError
from refplay.kernels import Array, Backend
from refplay.optim.checks import not_negative


def clip_by_norm(g: Array, threshold: float, *, kernels: Backend) -> float:
    r"""Scale the gradient down to norm lambda where it is longer, in place, and return its norm before that.

    .. math::
        n = \sqrt{\sum_{i=1}^{P} g_i^2}

        g' = \begin{cases}
            \lambda \frac{g}{n} & n > \lambda \\
            g & n \le \lambda
        \end{cases}

    The returned norm is the one to log at every step (playbook, "Gradient clipping"). A norm that is not finite leaves
    g alone: scaling would turn infinities into zeros and NaN and hide where the run broke. PyTorch's
    `clip_grad_norm_` divides by :math:`n + 10^{-6}` instead.

    Parameters
    ----------
    g : float[P]
        :math:`g`, the gradient, overwritten with :math:`g'` when it is clipped.
    threshold : float, above 0
        :math:`\lambda`; `math.inf` never clips.
    kernels : backend

    Returns
    -------
    float
        The unclipped norm :math:`n`.

    Raises
    ------
    InputError
        A threshold that is not above 0.

    >>> import numpy as np
    >>> from refplay.kernels import load
    >>> g = np.array([3.0, -4.0])
    >>> clip_by_norm(g, 2.5, kernels=load("numpy")), g.tolist()
    (5.0, [1.5, -2.0])
    """
    if threshold != math.inf and not_negative("clip_threshold", threshold) == 0:
        raise InputError("clip_threshold = 0 would erase every gradient; give a number above 0")
    norm = float(kernels.l2_norm(g))
    if threshold < norm < math.inf:
        kernels.scale(g, float(threshold) / norm)
    return norm

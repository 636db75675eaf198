"""Activations, element by element on arrays of any one shape."""

from math import pi, sqrt

import numpy as np
from scipy.special import ndtr

from .. import check
from ..contract import Array


def relu_forward(x: Array, y: Array) -> None:
    r"""Write :math:`y = \max(x, 0)`; `y` may be `x`."""
    check.relu_forward(x, y)
    y[...] = np.maximum(x, 0)


def relu_backward(x: Array, y: Array, dy: Array, dx: Array) -> None:
    r"""Write :math:`dx = dy` where :math:`y > 0`, else 0; `dx` may be `dy`.

    The derivative at the kink is taken to be 0. `x` is not read, so that the forward pass may have been in place.
    """
    check.relu_backward(x, y, dy, dx)
    dx[...] = np.where(y > 0, dy, 0)


def tanh_forward(x: Array, y: Array) -> None:
    r"""Write :math:`y = \tanh x`; `y` may be `x`."""
    check.tanh_forward(x, y)
    y[...] = np.tanh(x)


def tanh_backward(x: Array, y: Array, dy: Array, dx: Array) -> None:
    r"""Write :math:`dx = (1 - y^2) \, dy`; `dx` may be `dy`.

    `x` is not read, so that the forward pass may have been in place.
    """
    check.tanh_backward(x, y, dy, dx)
    dx[...] = (1 - y**2) * dy


def gelu_forward(x: Array, y: Array) -> None:
    r"""Write the Gaussian error linear unit of `x`, the exact one (Hendrycks and Gimpel 2016, arXiv:1606.08415).

    .. math:: y = x \Phi(x) \qquad \Phi(x) = \tfrac12 \left(1 + \mathrm{erf}(x / \sqrt 2)\right)

    `y` may not be `x`, which the backward pass needs.
    """
    check.gelu_forward(x, y)
    y[...] = x * ndtr(x)  # Phi; unlike 1 + erf it stays accurate where x is very negative


def gelu_backward(x: Array, y: Array, dy: Array, dx: Array) -> None:
    r"""Write the gradient of `gelu_forward`; `dx` may be `dy`.

    .. math:: dx = \left(\Phi(x) + x \varphi(x)\right) dy \qquad \varphi(x) = e^{-x^2/2} / \sqrt{2 \pi}
    """
    check.gelu_backward(x, y, dy, dx)
    dx[...] = (ndtr(x) + x * np.exp(-(x**2) / 2) / sqrt(2 * pi)) * dy

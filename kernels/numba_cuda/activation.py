"""Activations: the formula of one value each; `elementwise` says which thread computes it."""

from __future__ import annotations

from math import erfc, exp, pi, sqrt, tanh

from ..contract import Array
from . import check
from .device import device_function
from .elementwise import map1, map2, run


def relu_forward(x: Array, y: Array) -> None:
    """Write y = max(x, 0); y may be x."""
    check.relu_forward(x, y)
    run(_relu, x, y)


def relu_backward(x: Array, y: Array, dy: Array, dx: Array) -> None:
    """Write dx = dy where y > 0, else 0; dx may be dy."""
    check.relu_backward(x, y, dy, dx)
    run(_relu_slope, y, dy, dx)


def tanh_forward(x: Array, y: Array) -> None:
    """Write y = tanh(x); y may be x."""
    check.tanh_forward(x, y)
    run(_tanh, x, y)


def tanh_backward(x: Array, y: Array, dy: Array, dx: Array) -> None:
    """Write dx = (1 - y^2) dy; dx may be dy."""
    check.tanh_backward(x, y, dy, dx)
    run(_tanh_slope, y, dy, dx)


def gelu_forward(x: Array, y: Array) -> None:
    """Write y = x Phi(x); y may not be x, which the backward pass needs."""
    check.gelu_forward(x, y)
    run(_gelu, x, y)


def gelu_backward(x: Array, y: Array, dy: Array, dx: Array) -> None:
    """Write dx = (Phi(x) + x phi(x)) dy; dx may be dy."""
    check.gelu_backward(x, y, dy, dx)
    run(_gelu_slope, x, dy, dx)


@map1
def _relu(x):
    return type(x)(0) if x <= 0 else x  # so that a NaN stays


@map2
def _relu_slope(y, dy):
    return dy if y > 0 else type(dy)(0)


@map1
def _tanh(x):
    return tanh(x)


@map2
def _tanh_slope(y, dy):
    return (type(y)(1) - y * y) * dy


@device_function
def _normal_cdf(x):
    """Phi(x) = erfc(-x / sqrt 2) / 2; unlike (1 + erf) / 2 it stays accurate where x is very negative."""
    real = type(x)
    return erfc(x * real(-sqrt(0.5))) * real(0.5)


@map1
def _gelu(x):
    return x * _normal_cdf(x)


@map2
def _gelu_slope(x, dy):
    real = type(x)
    density = exp(x * x * real(-0.5)) * real(1 / sqrt(2 * pi))
    return (_normal_cdf(x) + x * density) * dy

"""Activations: one pass over memory, 16 bytes at a time. Formulas: `refplay.kernels.numpy_ref.activation`."""

from __future__ import annotations

from typing import Any

from ..contract import Array
from . import check
from .device import BLOCK, blocks_for, launch
from .launches import packs

ROUNDS = 2  # packs of a thread, kRounds in elementwise.cuh


def relu_forward(x: Array, y: Array) -> None:
    """Write y = max(x, 0); y may be x."""
    check.relu_forward(x, y)
    _launch("relu_forward", x, y)


def relu_backward(x: Array, y: Array, dy: Array, dx: Array) -> None:
    """Write dx = dy where y > 0, else 0; dx may be dy."""
    check.relu_backward(x, y, dy, dx)
    _launch("relu_backward", y, dy, dx)


def tanh_forward(x: Array, y: Array) -> None:
    """Write y = tanh(x); y may be x."""
    check.tanh_forward(x, y)
    _launch("tanh_forward", x, y)


def tanh_backward(x: Array, y: Array, dy: Array, dx: Array) -> None:
    """Write dx = (1 - y^2) dy; dx may be dy."""
    check.tanh_backward(x, y, dy, dx)
    _launch("tanh_backward", y, dy, dx)


def gelu_forward(x: Array, y: Array) -> None:
    """Write y = x Phi(x); y may not be x, which the backward pass needs."""
    check.gelu_forward(x, y)
    _launch("gelu_forward", x, y)


def gelu_backward(x: Array, y: Array, dy: Array, dx: Array) -> None:
    """Write dx = (Phi(x) + x phi(x)) dy; dx may be dy."""
    check.gelu_backward(x, y, dy, dx)
    _launch("gelu_backward", x, dy, dx)


def _launch(name: str, *arrays: Any) -> None:
    n, dtype = arrays[0].size, arrays[0].dtype
    launch(f"activation.{name}_{dtype}", blocks_for(n, ROUNDS * packs(dtype) * BLOCK), BLOCK, *arrays, n)

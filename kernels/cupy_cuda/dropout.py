"""Dropout: the random words are made where they are used; no mask is stored."""

from __future__ import annotations

from typing import Any

from ..contract import Array
from ..philox import MASK, threshold
from . import check
from .device import BLOCK, blocks_for, launch

VALUES = 16  # of a thread: four Philox counters


def dropout_forward(x: Array, y: Array, rate: float, seed: int, step: int, layer: int) -> None:
    """y_i = x_i / (1 - rate) if word_i >= 2^32 rate else 0, of any one shape; y may be x."""
    check.dropout_forward(x, y, rate, seed, step, layer)
    dropout(x, y, rate, seed, step, layer)


def dropout_backward(dy: Array, dx: Array, rate: float, seed: int, step: int, layer: int) -> None:
    """dx_i = dy_i / (1 - rate) if word_i >= 2^32 rate else 0, of any one shape; dx may be dy."""
    check.dropout_backward(dy, dx, rate, seed, step, layer)
    dropout(dy, dx, rate, seed, step, layer)


def dropout(x: Any, y: Any, rate: float, seed: int, step: Any, layer: int) -> None:
    """Launch forward or backward, which are the same.

    `step` is an int, or an int64 array of one in the memory of the GPU, which a captured step moves on at each replay.
    """
    value, place = (0, step) if getattr(step, "ndim", 0) else (int(step), None)
    launch(f"dropout.dropout_{x.dtype}", blocks_for(x.size, VALUES * BLOCK), BLOCK, x, y, x.size, 1 / (1 - float(rate)),
           threshold(float(rate)), int(seed) & MASK, int(seed) >> 32, value, place, int(layer))  # fmt: skip

"""The grid of the kernels that elementwise.cuh writes."""

from __future__ import annotations

from typing import Any

from .device import BLOCK


def values_of_block(x: Any) -> int:
    """Return how many values of `x` a block owns: two packs of 16 bytes for each thread (kBlock)."""
    return BLOCK * 2 * 16 // int(x.dtype.itemsize)

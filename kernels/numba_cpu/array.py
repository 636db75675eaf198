"""Arrays: those of NumPy, as on the reference backend, but that long ones begin where it costs least.

The system begins every long array at the same place of a page, 16 bytes after its begin. A loop over several of equal
length, as in an update rule, then has all its vectors at equal places: they compete for the same lines of the caches,
and every vector of 64 bytes lies in two lines. Here each array begins with a line, and some lines further on in its
page than the one before.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from math import prod

import numpy as np

from .. import check
from ..contract import Array
from ..numpy_ref.array import asarray, synchronize, to_host

__all__ = ["asarray", "empty", "synchronize", "to_host", "zeros"]

LONG = 2**24  # bytes; shorter vectors gained nothing. `python bench/caches.py` shows what these do
LINE, PAGE = 64, 4096
FURTHER = 17 * LINE  # an odd number of lines: 64 arrays one after the other have 64 places

_turns = count()


def empty(shape: int | tuple[int, ...], dtype: str = "float32") -> Array:
    """Return a new C-contiguous array whose values are whatever the memory held; see `numpy_ref`."""
    check.empty(shape, dtype)
    return _allocate(np.empty, shape, dtype)


def zeros(shape: int | tuple[int, ...], dtype: str = "float32") -> Array:
    """Return a new C-contiguous array of zeros; see `numpy_ref`."""
    check.zeros(shape, dtype)
    return _allocate(np.zeros, shape, dtype)


def _allocate(new: Callable[..., Array], shape: int | tuple[int, ...], dtype: str) -> Array:
    size = prod(shape if isinstance(shape, tuple) else (shape,)) * np.dtype(dtype).itemsize
    if size < LONG:
        return new(shape, dtype)
    memory = new(size + PAGE, np.uint8)
    start = (next(_turns) * FURTHER - memory.ctypes.data) % PAGE
    return memory[start : start + size].view(dtype).reshape(shape)

"""Arrays of the CPU backends are NumPy arrays, so that nothing needs to be moved or waited for."""

import numpy as np

from .. import check
from ..contract import Array


def empty(shape: int | tuple[int, ...], dtype: str = "float32") -> Array:
    """Return a new C-contiguous array whose values are whatever the memory held.

    Parameters
    ----------
    shape : int or tuple of int
    dtype : {"float32", "float64", "int32", "int64"}
    """
    check.empty(shape, dtype)
    return np.empty(shape, dtype)


def zeros(shape: int | tuple[int, ...], dtype: str = "float32") -> Array:
    """Return a new C-contiguous array of zeros; see `empty` for the arguments."""
    check.zeros(shape, dtype)
    return np.zeros(shape, dtype)


def asarray(host_array: Array) -> Array:
    """Return a NumPy array as one of this backend: the same dtype, C-contiguous; itself where it already is.

    >>> asarray(np.arange(6.0).reshape(2, 3).T).flags.c_contiguous
    True
    """
    check.asarray(host_array)
    return np.require(host_array, requirements=["C", "ALIGNED", "ENSUREARRAY"])


def to_host(array: Array) -> Array:
    """Return an array of this backend as a NumPy array: here the array itself, not a copy."""
    check.to_host(array)
    return array


def synchronize() -> None:
    """Wait until all kernels called so far are done: on the CPU they are, when they return."""

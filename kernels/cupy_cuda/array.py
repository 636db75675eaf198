"""Arrays in the memory of the GPU: CuPy's."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import check as host_check
from ..arguments import layout
from ..contract import Array
from ..foreign import is_foreign, take
from . import check, device


def empty(shape: int | tuple[int, ...], dtype: str = "float32") -> Array:
    """Return a new array in device memory, whose values are what was there."""
    host_check.empty(shape, dtype)
    return device.empty(shape, dtype)  # type: ignore[no-any-return]


def zeros(shape: int | tuple[int, ...], dtype: str = "float32") -> Array:
    """Return a new array of zeros in device memory."""
    host_check.zeros(shape, dtype)
    return device.zeros(shape, dtype)  # type: ignore[no-any-return]


def asarray(host_array: Any) -> Array:
    """Return a contiguous copy of a NumPy array in device memory; an array that lies there without a copy.

    Such an array is one of CuPy, which this backend's are, or of PyTorch, JAX or another that has `__dlpack__` or
    `__cuda_array_interface__`: contiguous, on the GPU in use, of a dtype of the contract.
    """
    if isinstance(host_array, device.DeviceArray):
        seen = check.stand_in("asarray", "host_array", host_array)
        host_check.asarray(seen)
        layout("asarray", "host_array", seen, written=False)
        return host_array  # type: ignore[no-any-return]
    if not isinstance(host_array, np.ndarray) and is_foreign(host_array):
        return take(host_array, device)[0]  # type: ignore[no-any-return]
    host_check.asarray(host_array)
    return device.from_host(np.asarray(host_array, order="C"))  # type: ignore[no-any-return]


def to_host(array: Array) -> Array:
    """Return a copy as a NumPy array, after all that was launched before has run."""
    check.to_host(array)
    return device.to_host(array)


def synchronize() -> None:
    """Wait until all that was launched has run."""
    device.synchronize()

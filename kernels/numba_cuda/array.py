"""Arrays in the memory of the GPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import check as host_check
from ..contract import Array
from ..foreign import is_foreign, take
from . import check, device
from .device import DeviceArray, allocate, cleared, upload


def empty(shape: int | tuple[int, ...], dtype: str = "float32") -> Array:
    """Return a new array in device memory, whose values are what was there; MemoryError where it does not fit."""
    host_check.empty(shape, dtype)
    return allocate(shape, dtype)  # type: ignore[no-any-return]


def zeros(shape: int | tuple[int, ...], dtype: str = "float32") -> Array:
    """Return a new array of zeros in device memory; MemoryError where it does not fit."""
    host_check.zeros(shape, dtype)
    return cleared(allocate(shape, dtype))  # type: ignore[no-any-return]


def asarray(host_array: Any) -> Array:
    """Return a contiguous copy of a NumPy array in device memory; an array that lies there without a copy.

    Such an array is one of this backend, or of CuPy, PyTorch, JAX or another that has `__dlpack__` or
    `__cuda_array_interface__`: contiguous, on the GPU in use, of a dtype of the contract.
    """
    if isinstance(host_array, DeviceArray):
        return host_array  # type: ignore[no-any-return]
    if not isinstance(host_array, np.ndarray) and is_foreign(host_array):
        array, array.__dict__["_stand_in"] = take(host_array, device)  # of `check`: what is read-only stays so
        return array  # type: ignore[no-any-return]
    host_check.asarray(host_array)
    return upload(np.asarray(host_array, order="C"))  # type: ignore[no-any-return]


def to_host(array: Array) -> Array:
    """Return a copy as a NumPy array, after all that was launched before has run."""
    check.to_host(array)
    return array.copy_to_host()  # type: ignore[attr-defined, no-any-return]


def synchronize() -> None:
    """Wait until all that was launched has run."""
    device.synchronize()

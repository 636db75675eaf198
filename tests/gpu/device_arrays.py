"""What tests do with device arrays that the backends' own functions would not."""

from importlib import import_module
from typing import Any

import numpy as np


def to_device(gpu: Any, value: Any) -> Any:
    """Return a copy of a NumPy array in device memory, of any dtype; what is no array as it is."""
    if not isinstance(value, np.ndarray):
        return value
    device = import_module(f"{gpu.__name__}.device")
    return device.upload(value) if hasattr(device, "upload") else device.from_host(value)


def to_host(gpu: Any, array: Any) -> np.ndarray:
    """Return a copy as a NumPy array, whatever `check` says of the array."""
    if hasattr(array, "copy_to_host"):
        return array.copy_to_host()
    return import_module(f"{gpu.__name__}.device").to_host(array)


def is_contiguous(array: Any) -> bool:
    """Return whether the values of an array lie in C order without gaps."""
    return tuple(array.strides) == np.empty(tuple(array.shape), array.dtype).strides

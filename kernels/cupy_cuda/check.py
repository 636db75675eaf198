"""Argument checks of this backend; `refplay.kernels.device_check` says how they see arrays and what they do not."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..device_check import device_checks, other_gpu
from . import device


def stand_in(kernel: str, name: str, array: Any) -> np.ndarray:
    """Return a NumPy array at the address of a device array; a read-only one where its owner said so."""
    if array.size and (gpu := device.gpu_of(array)) != (used := device.current_device()):
        other_gpu(kernel, name, used, gpu)
    return device.stand_in(array)


_checks = device_checks(device.DeviceArray, stand_in)


def __getattr__(name: str) -> Any:
    """Return the check of the kernel `name`, made at the first call."""
    globals()[name] = _checks(name)
    return globals()[name]

"""Argument checks of this backend: those of the CPU backends, on what stands for the device arrays.

As in `refplay.kernels.numba_cuda.check`: each device array is shown as a NumPy array at the same address, which is
never read. A label outside of the classes gives its example a loss of NaN.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from ..device_check import device_checks
from . import device


def _stand_in(array: Any) -> np.ndarray:
    """Return a NumPy array of the same form at the address of a device array."""
    if isinstance(array, np.ndarray):  # kernels on the CPU, in tests
        return array
    interface = {"shape": array.shape, "strides": array.strides, "typestr": array.dtype.str,
                 "data": (device.address(array), False), "version": 3}
    return np.asarray(SimpleNamespace(__array_interface__=interface))


_checks = device_checks(device.DeviceArray, _stand_in)


def __getattr__(name: str) -> Any:
    """Return the check of the kernel `name`, made at the first call."""
    globals()[name] = _checks(name)
    return globals()[name]

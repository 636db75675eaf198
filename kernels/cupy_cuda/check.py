"""Argument checks of this backend: those of the CPU backends, on what stands for the device arrays.

As in `refplay.kernels.numba_cuda.check`: each device array is shown as a NumPy array at the same address, which is
never read. A label outside of the classes gives its example a loss of NaN.
"""

from __future__ import annotations

from typing import Any

from ..device_check import device_checks
from . import device

_checks = device_checks(device.DeviceArray, device.stand_in)


def __getattr__(name: str) -> Any:
    """Return the check of the kernel `name`, made at the first call."""
    globals()[name] = _checks(name)
    return globals()[name]

"""Argument checks of this backend; `refplay.kernels.device_check` says how they see arrays and what they do not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from ..device_check import device_checks, other_gpu
from .device import SIMULATED, DeviceArray, current_device, device_of


def stand_in(kernel: str, name: str, array: Any) -> np.ndarray:
    """Return a NumPy array at the address of a device array, made once."""
    known = array.__dict__.get("_stand_in")
    if known is None:
        known = array._ary if SIMULATED else np.asarray(SimpleNamespace(__array_interface__=_interface(array)))
        if known.size and (gpu := device_of(known.ctypes.data)) != (used := current_device()):
            other_gpu(kernel, name, used, gpu)
        array.__dict__["_stand_in"] = known
    return known  # type: ignore[no-any-return]


def _interface(array: Any) -> dict[str, Any]:
    on_device = array.__cuda_array_interface__
    return {key: on_device[key] for key in ("shape", "strides", "typestr", "data")} | {"version": 3}


_checks = device_checks(DeviceArray, stand_in)


def __getattr__(name: str) -> Any:
    """Return the check of the kernel `name`, made at the first call."""
    globals()[name] = _checks(name)
    return globals()[name]

"""Argument checks of this backend: those of the CPU backends, on what stands for the device arrays.

What `refplay.kernels.check` asks of arrays (dtype, shape, strides, which memory) does not need their values. So each
device array is shown to it as a NumPy array at the same address, which is never read. Values are not checked: to look
at labels would mean to wait for the GPU at every step. A label outside of the classes gives its
example a loss of NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from types import SimpleNamespace
from typing import Any

import numpy as np

from .. import check, check_vectors
from ..arguments import type_name, wrong
from .device import SIMULATED, DeviceArray, current_device, device_of


def _stand_in(kernel: str, name: str, value: Any) -> Any:
    """Return a NumPy array at the address of the device array `value`; what is no array (a number, None) as it is."""
    if isinstance(value, DeviceArray):
        known = value.__dict__.get("_stand_in")
        if known is None:
            known = value._ary if SIMULATED else np.asarray(SimpleNamespace(__array_interface__=_interface(value)))
            if known.size and (gpu := device_of(known.ctypes.data)) != (used := current_device()):
                wrong(ValueError, kernel, name, f"memory of GPU {used}, the one in use", f"memory of GPU {gpu}")
            value.__dict__["_stand_in"] = known
        return known
    if value is None or isinstance(value, int | float | np.number):
        return value
    return wrong(TypeError, kernel, name, "a device array of this backend (its asarray makes one)", type_name(value))


def _interface(value: Any) -> dict[str, Any]:
    on_device = value.__cuda_array_interface__
    return {key: on_device[key] for key in ("shape", "strides", "typestr", "data")} | {"version": 3}


def _of_device_arrays(kernel: str, function: Callable[..., Any]) -> Callable[..., None]:
    names = tuple(signature(function).parameters)

    def checked(*arguments: Any) -> None:
        function(*[_stand_in(kernel, name, value) for name, value in zip(names, arguments, strict=True)])

    return checked


def __getattr__(name: str) -> Callable[..., None]:
    """Return the check of the kernel `name`, made at the first call."""
    if name == "softmax_cross_entropy":
        function: Callable[..., Any] = check.loss_form
    else:
        function = getattr(check, name, None) or getattr(check_vectors, name)
    globals()[name] = _of_device_arrays(name, function)
    return globals()[name]  # type: ignore[no-any-return]

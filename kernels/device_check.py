"""Argument checks of the GPU backends: those of the CPU backends, on what stands for the device arrays.

What `check` asks of arrays (dtype, shape, strides, which memory) does not need their values. So each device array is
shown to it as a NumPy array at the same address, which is never read. Values are not checked: to look at labels would
mean to wait for the GPU at every step. A label outside of the classes gives its example a loss of NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, signature
from typing import Any

import numpy as np

from . import check, check_vectors
from .arguments import type_name, wrong
from .contract import Array

StandIn = Callable[[str, str, Any], np.ndarray]  # (kernel, name of the argument, device array)


def device_checks(array_type: Any, stand_in: StandIn) -> Callable[[str], Callable[..., None]]:
    """Return the function that makes the check of a kernel, by its name, for arrays of `array_type`."""

    def seen(kernel: str, parameter: Parameter, value: Any) -> Any:
        takes = parameter.annotation
        if takes in (int, float) or (value is None and takes != Array):  # else `Array | None`
            return value
        if isinstance(value, array_type):
            return stand_in(kernel, parameter.name, value)
        return wrong(TypeError, kernel, parameter.name, "a device array of this backend (its asarray makes one)",
                     type_name(value))

    def make(kernel: str) -> Callable[..., None]:
        if kernel == "softmax_cross_entropy":
            function: Callable[..., Any] = check.loss_form
        else:
            function = getattr(check, kernel, None) or getattr(check_vectors, kernel)
        parameters = tuple(signature(function).parameters.values())

        def checked(*arguments: Any) -> None:
            function(*[seen(kernel, *each) for each in zip(parameters, arguments, strict=True)])

        return checked

    return make


def other_gpu(kernel: str, name: str, used: int, gpu: int) -> None:
    """Refuse an argument that lies in the memory of another GPU than the one in use."""
    wrong(ValueError, kernel, name, f"memory of GPU {used}, the one in use", f"memory of GPU {gpu}")

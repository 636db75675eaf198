"""Arrays of CuPy, PyTorch, JAX and others in the memory of the GPU, taken without a copy.

Two protocols say where such an array lies: DLPack (its methods `__dlpack__` and `__dlpack_device__`) and
`__cuda_array_interface__`. What is taken stays the memory of its owner, which is kept alive; it is read and written in
the order of both: what the owner has launched is waited for on the GPU, not by the host.

The `device` of a backend makes the array: its `adopt(interface, owner)`; says what is in use: `current_device()`,
`device_of(pointer)` and, as DLPack counts them, the `stream()` in which the kernels run; and waits: `synchronize()`.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np

from . import check as host_check
from .arguments import layout, type_name, wrong

HOST, CUDA, PINNED, MANAGED = 1, 2, 3, 13  # DLDeviceType of DLPack


class Kept:
    """What owns the memory of an array, kept until the kernels that were given the array have run.

    The owner knows nothing of our launches: once it has its memory back, the next array may get it, at once.
    """

    def __init__(self, owner: Any, readonly: bool, device: Any) -> None:
        self.owner, self.readonly, self._device = owner, readonly, device

    def __del__(self) -> None:
        if not sys.is_finalizing():  # else nothing is launched any more
            self._device.synchronize()


def is_foreign(value: Any) -> bool:
    """Return whether `value` says by one of the two protocols where it lies."""
    return hasattr(type(value), "__dlpack__") or hasattr(value, "__cuda_array_interface__")


def take(value: Any, device: Any) -> tuple[Any, np.ndarray]:
    """Return a device array of the memory of `value`, and what stands in for it in checks; errors as of `asarray`."""
    by = _by_dlpack if hasattr(type(value), "__dlpack__") else _by_interface
    interface, owner = by(value, device)
    # The checks of all arrays are those of a NumPy array at the same address, which is never read.
    stand_in = np.asarray(SimpleNamespace(__array_interface__=interface, owner=owner))
    host_check.asarray(stand_in)
    layout("asarray", "host_array", stand_in, written=False)
    kept = Kept(owner, interface["data"][1], device)
    return device.adopt(interface | {"strides": None}, kept), stand_in


def _check_place(value: Any, kind: int, number: int, device: Any) -> None:
    if kind in (HOST, PINNED):
        mend = "its .numpy(), or .cuda()" if type_name(value).startswith("torch.") else "numpy.asarray of it"
        wrong(TypeError, "asarray", "host_array", f"an array on the GPU, or a numpy.ndarray ({mend})",
              f"{type_name(value)} on the host")
    if kind not in (CUDA, MANAGED):
        wrong(TypeError, "asarray", "host_array", "memory of a CUDA device", f"DLPack's device type {kind}")
    if number != (used := device.current_device()):
        wrong(ValueError, "asarray", "host_array", f"memory of GPU {used}, the one in use", f"memory of GPU {number}")


def _by_dlpack(value: Any, device: Any) -> tuple[dict[str, Any], Any]:
    """Return address, shape, strides in bytes and type of `value`, and what keeps its memory."""
    from cuda.core.utils import StridedMemoryView

    kind, number = map(int, value.__dlpack_device__())
    _check_place(value, kind, number, device)
    if getattr(value, "requires_grad", False):  # cuda.core asks PyTorch, which refuses, only in some versions
        wrong(ValueError, "asarray", "host_array", "an array that can be exported",
              "a tensor that requires a gradient: use its .detach()")
    try:
        view = StridedMemoryView.from_dlpack(value, stream_ptr=device.stream())
    except BufferError as error:  # of a tensor whose conjugation is still to be computed, for one
        wrong(ValueError, "asarray", "host_array", "an array that can be exported", str(error))
    except NotImplementedError as error:  # of a dtype that NumPy does not know, as bfloat16
        wrong(TypeError, "asarray", "host_array", "a dtype of the contract", str(error))
    dtype = np.dtype(view.dtype)
    strides = None if view.strides is None else tuple(dtype.itemsize * stride for stride in view.strides)
    return _described(view.shape, strides, dtype.str, view.ptr, view.readonly), view


def _by_interface(value: Any, device: Any) -> tuple[dict[str, Any], Any]:
    """Return the same by `__cuda_array_interface__`."""
    found = value.__cuda_array_interface__
    if found.get("mask") is not None:
        wrong(ValueError, "asarray", "host_array", "an array without a mask", "one with a mask")
    pointer, readonly = found["data"]
    if pointer:
        _check_place(value, CUDA, device.device_of(pointer), device)
    described = _described(found["shape"], found.get("strides"), found["typestr"], pointer, readonly)
    return described | {"stream": found.get("stream")}, value


def _described(shape: Any, strides: Any, typestr: str, pointer: int, readonly: bool) -> dict[str, Any]:
    return {"shape": tuple(shape), "strides": strides, "typestr": typestr, "data": (pointer, readonly), "version": 3}

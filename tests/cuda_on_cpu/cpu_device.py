"""What stands in the place of `refplay.kernels.cupy_cuda.device` where there is no GPU: its functions, on the CPU.

`install()` before the backend is imported; then the launchers of the backend run as they are, and what they
launch are the same `*.cu` files, compiled by g++.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from cuda_on_cpu.launch import Kernel, load

KERNELS = Path(__file__).parents[2] / "kernels" / "cupy_cuda"
BLOCK = 256


class DeviceArray(np.ndarray):
    """Memory of the device. The backends that run on the CPU refuse it, as this one refuses NumPy's arrays."""

    __array_ufunc__ = None  # nothing is computed with it but by kernels


def blocks_for(n: int, block: int = BLOCK) -> int:
    return -(-n // block)


def launch(kernel: str, grid: int | tuple[int, ...], block: int | tuple[int, ...], *arguments: Any,
           shared: int = 0) -> None:
    grid, block = _three(grid), _three(block)
    if not all(grid) or _rehearsing:
        return
    if _captured is not None:
        _captured.append((kernel, grid, block, arguments, shared))
        return
    function = _function(kernel)
    if shared > 48 * 1024:
        function.max_dynamic_shared_size_bytes = shared
    function(grid, block, arguments, shared_mem=shared)


def _three(size: int | tuple[int, ...]) -> tuple[int, ...]:
    return (size, 1, 1) if isinstance(size, int) else (*size, 1, 1)[:3]


@cache
def _function(kernel: str) -> Kernel:
    file, name = kernel.split(".")
    function = load(KERNELS / f"{file}.cu").get_function(name)
    return function


def multiprocessors() -> int:
    return 4


def architecture() -> int:
    return 90


def empty(shape: int | tuple[int, ...], dtype: str) -> Any:
    array = np.empty(shape, dtype).view(DeviceArray)
    if _rehearsing:
        return array  # never touched, it takes no memory
    array.view(np.uint8).fill(0xFF)  # NaN, and -1: what is not written shows
    return array


def zeros(shape: int | tuple[int, ...], dtype: str) -> Any:
    return np.zeros(shape, dtype).view(DeviceArray)


def from_host(array: np.ndarray) -> Any:
    assert _captured is None, "a copy from the host while a graph is captured"
    return array.copy().view(DeviceArray)


def bring(host: np.ndarray, array: Any) -> None:
    assert _captured is None, "a copy from the host while a graph is captured"
    assert (host.shape, host.dtype) == (array.shape, array.dtype)
    array[...] = host


def to_host(array: Any) -> np.ndarray:
    assert _captured is None, "a copy to the host while a graph is captured"
    return np.array(array).view(np.ndarray)


def synchronize() -> None:
    assert _captured is None, "a synchronization while a graph is captured"


def memory() -> int | None:
    return None


def stand_in(array: Any) -> np.ndarray:
    return np.asarray(array).view(np.ndarray)


def current_device() -> int:
    return 0


def gpu_of(array: Any) -> int:
    return 0


def device_of(pointer: int) -> int:
    return 0


def stream() -> int:
    return 1


def adopt(interface: dict[str, Any], owner: Any) -> Any:
    return np.asarray(SimpleNamespace(__array_interface__=interface, owner=owner)).view(DeviceArray)


_scratch: dict[str, Any] = {}


def scratch(n: int, dtype: str, name: str = "", make: Callable[[int, str], Any] = empty) -> Any:
    key = f"{name}:{dtype}"
    if key not in _scratch or _scratch[key].size < n:
        _scratch[key] = make(max(n, 4096), dtype)
    return _scratch[key]


_rehearsing = False


@contextmanager
def rehearsal() -> Iterator[dict[str, Any]]:
    global _rehearsing, _scratch
    kept, _scratch, _rehearsing = _scratch, {}, True
    try:
        yield _scratch
    finally:
        _scratch, _rehearsing = kept, False


_captured: list[Any] | None = None


class Graph:
    """Launches written down by `launch` while `launches` ran, and made again at each `launch()`."""

    def __init__(self, launches: Callable[[], Any]) -> None:
        global _captured
        try:
            for _ in range(2):  # as on a GPU, where the first time only prepares
                self._launches = _captured = []
                launches()
        finally:
            _captured = None

    def launch(self) -> None:
        for kernel, grid, block, arguments, shared in self._launches:
            launch(kernel, grid, block, *arguments, shared=shared)


def install() -> None:
    """Let this module be the device of the backend, in this process and from now on."""
    sys.modules["refplay.kernels.cupy_cuda.device"] = sys.modules[__name__]


def install_as_gpu() -> None:
    """Do as `install`, and let this machine be taken for one with a GPU: `refplay.kernels.load` gives the backend.

    Only in a process of its own: tests of what is said on a machine without a GPU would fail beside it.
    """
    from refplay.kernels import gpu

    install()
    found = gpu.Found("", device="CPU in the place of a GPU", name="cupy")
    gpu.find = lambda package="": found
    gpu.missing = lambda found: ""

"""The one module that imports numba-cuda: what every kernel file of this backend takes from it.

numba-cuda is in maintenance mode. Should another package take its place, this file is what changes.

A kernel is a Python function that every thread of a grid runs. The grid is cut into blocks; the threads of a block
share memory and can wait for each other, those of different blocks cannot. `launch` starts one.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from types import SimpleNamespace
from typing import Any

import numpy as np

from .. import gpu

if not gpu.installed("numba_cuda"):
    raise ImportError(gpu.NOT_INSTALLED.format("numba-cuda"))

from numba import cuda as numba_cuda
from numba.cuda.core import config

from ..numba_cache import cover_package

cuda: Any = numba_cuda  # what is in it is found at run time, not by type checkers
config.CUDA_LOW_OCCUPANCY_WARNINGS = 0  # a small batch makes small grids; that is no mistake

__all__ = [
    "BLOCK", "SIMULATED", "DeviceArray", "adopt", "allocate", "blocks_for", "cleared", "cuda", "current_device",
    "device_function", "device_of", "free_and_total", "index", "kernel", "launch", "scratch", "stream", "synchronize",
    "upload",
]  # fmt: skip

SIMULATED = bool(config.ENABLE_CUDASIM)  # NUMBA_ENABLE_CUDASIM=1: Python threads on the CPU stand for those of a GPU
DeviceArray: Any = type(cuda.device_array(0)) if SIMULATED else cuda.cudadrv.devicearray.DeviceNDArray
OUT_OF_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY
BLOCK = 256  # threads of a block where nothing asks for another number: eight blocks fill a multiprocessor

if not SIMULATED:
    from numba.cuda.core import caching

    cover_package(caching, "numba_cuda")
kernel: Callable[..., Any] = cuda.jit(cache=True)  # what `launch` starts; compiled at its first launch, kept on disk
device_function: Callable[..., Any] = cuda.jit(device=True)  # what kernels call; it becomes part of them

# For the index of an inner loop: x[b, index(c)]. A signed index might count from the end, and Numba lets each access
# find out whether it does: some twenty instructions in place of three.
index = np.uint64


def blocks_for(n: int, block: int = BLOCK) -> int:
    """Return how many blocks hold n threads, the last of them perhaps not full.

    >>> blocks_for(0), blocks_for(256), blocks_for(257)
    (0, 1, 2)
    """
    return -(-n // block)


def launch(kernel: Any, blocks: int | tuple[int, ...], block: int | tuple[int, ...], *arguments: Any) -> None:
    """Let `blocks` blocks of `block` threads each run `kernel`; does not wait for them. An empty grid runs nothing.

    The kernels of one stream run one after the other: what one has written the next one reads. Scalars are typed by
    what they are: np.float64 computes in double, as a Python float does; the sizes are Python ints, 64 bits there.
    """
    if np.prod(blocks):
        kernel[blocks, block](*arguments)


_scratch: dict[Any, Any] = {}


def scratch(n: int, dtype: Any, which: int = 0) -> Any:
    """Return at least n values of device memory for partial results, the same memory at each call.

    Memory of another `which`, or of another thread, is apart from it. A kernel may use it from its launch until that of
    the kernel that takes the partial results up. It grows, so that in a training nothing is allocated after the first
    step.
    """
    key = np.dtype(dtype), which, get_ident()
    if key not in _scratch or _scratch[key].size < n:
        _scratch[key] = allocate((max(n, 4096),), dtype)
    return _scratch[key]


def allocate(shape: int | tuple[int, ...], dtype: Any) -> Any:
    """Return a new device array, or raise a MemoryError that says how much was wanted and how much is free."""
    return _or_memory_error(cuda.device_array, shape, dtype, wanted=int(np.prod(shape)) * np.dtype(dtype).itemsize)


def upload(host_array: Any) -> Any:
    """Return a copy of a contiguous NumPy array in device memory; MemoryError as of `allocate`."""
    return _or_memory_error(cuda.to_device, host_array, wanted=host_array.nbytes)


def cleared(array: Any) -> Any:
    """Return a device array after setting it to zeros."""
    if array.size:
        cuda.cudadrv.driver.device_memset(array.reshape(array.size), 0, array.nbytes)
    return array


def _or_memory_error(make: Callable[..., Any], *arguments: Any, wanted: int) -> Any:
    try:
        return make(*arguments)
    except cuda.cudadrv.driver.CudaAPIError as error:
        if error.code != OUT_OF_MEMORY:
            raise
    free, total = free_and_total()  # numba-cuda has tried twice, the second time after giving back what it kept
    raise MemoryError(f"{wanted:,} bytes wanted on the GPU, {free:,} of {total:,} free")


def free_and_total() -> tuple[int, int]:
    """Return the bytes of the GPU's memory."""
    info = cuda.current_context().get_memory_info()
    return int(info.free), int(info.total)


def current_device() -> int:
    """Return the number of the GPU in use."""
    return 0 if SIMULATED else cuda.current_context().device.id


def device_of(pointer: int) -> int:
    """Return the number of the GPU in whose memory an address lies."""
    if SIMULATED:
        return 0
    driver = cuda.cudadrv.driver
    ordinal = driver.binding.CUpointer_attribute.CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL
    return int(driver.driver.cuPointerGetAttribute(ordinal, driver.binding.CUdeviceptr(pointer)))


def stream() -> int:
    """Return the stream in which all kernels run, as DLPack counts: the default stream."""
    return 1


def synchronize() -> None:
    """Wait until all that was launched has run."""
    cuda.synchronize()


def adopt(interface: dict[str, Any], owner: Any) -> Any:
    """Return a device array at the address of a `__cuda_array_interface__`, whose memory stays that of `owner`."""
    if SIMULATED:
        return DeviceArray(np.asarray(SimpleNamespace(__array_interface__=interface, owner=owner)))
    array = cuda.from_cuda_array_interface(interface, owner=owner)  # has the GPU's stream of the owner waited for
    array.stream = 0  # from here on it is used in the order of our kernels
    return array

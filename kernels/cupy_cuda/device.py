"""The one module that imports CuPy: memory, launches, graphs.

Everything runs on one stream of our own, in the order in which it was launched. Without a GPU, as in most tests,
tests/cuda_on_cpu/cupy_on_cpu.py is below this module, in the place of CuPy's streams, graphs and modules.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from math import prod
from types import SimpleNamespace
from typing import Any

import numpy as np

from .. import gpu
from ..foreign import Kept

if not gpu.installed("cupy"):
    raise ImportError(gpu.NOT_INSTALLED.format("cupy"))

import cupy

from .compile import cubin

__all__ = ["BLOCK", "DeviceArray", "Graph", "adopt", "architecture", "blocks_for", "bring", "current_device",
           "device_of", "empty", "from_host", "gpu_of", "launch", "memory", "multiprocessors", "rehearsal",
           "scratch", "stand_in", "stream", "synchronize", "to_host", "zeros"]  # fmt: skip

DeviceArray: Any = cupy.ndarray
OUT_OF_MEMORY = 2  # cudaErrorMemoryAllocation, and the driver's CUDA_ERROR_OUT_OF_MEMORY
BLOCK = 256  # threads of a block where nothing asks for another number


def blocks_for(n: int, block: int = BLOCK) -> int:
    """Return how many blocks hold n threads, the last of them perhaps not full."""
    return -(-n // block)


@cache
def _stream() -> Any:
    """Not the default stream, which cannot be captured; but one that keeps its order with what runs there.

    What CuPy and PyTorch launch runs in the default stream unless a user says otherwise.
    """
    return cupy.cuda.Stream(non_blocking=False)


class _OfThread(threading.local):
    """What each thread has for itself, so that trials can be run by threads: their launches alternate in the stream."""

    def __init__(self) -> None:
        self.scratch: dict[str, Any] = {}
        self.rehearsing = False  # nothing is allocated, copied or launched
        self.only_preparing = False  # kernels are found and memory is allocated, but nothing is launched
        self.captured: list[Any] | None = None  # while a graph is captured: what its launches were given
        self.on_their_way: deque[tuple[Any, Any]] = deque()  # copies to the GPU: the event of their end, their memory

    def capturing(self) -> Any:
        """Return the stream in which graphs are captured, where nothing runs.

        While a stream like the other is captured, nobody in the process could use the default stream.
        """
        if not hasattr(self, "_capturing"):
            self._capturing = cupy.cuda.Stream(non_blocking=True)
        return self._capturing


_own = _OfThread()


def _current() -> Any:
    return _stream() if _own.captured is None else _own.capturing()


def stream() -> int:
    """Return the stream in which all kernels run, as DLPack names it."""
    return int(_stream().ptr)


def launch(kernel: str, grid: int | tuple[int, ...], block: int | tuple[int, ...], *arguments: Any,
           shared: int = 0) -> None:
    """Launch a kernel, "file.name", on a grid of blocks of threads; does not wait. An empty grid launches nothing.

    Arguments are device arrays, None for a null pointer, Python ints (64 bits, `long long` there) and floats
    (`double`). `shared` is the bytes of dynamic shared memory.
    """
    grid, block = _three(grid), _three(block)
    if all(grid) and not _own.rehearsing:
        function = _or_memory_error(_function, kernel, shared)
        if _own.captured is not None:
            _own.captured.extend(arguments)
        if _own.only_preparing:
            return
        _or_memory_error(function, grid, block, arguments, shared, _current())


def _three(size: int | tuple[int, ...]) -> tuple[int, ...]:
    return (size, 1, 1) if isinstance(size, int) else (*size, 1, 1)[:3]


@cache
def _function(kernel: str, shared: int) -> Any:
    file, name = kernel.split(".")
    function = _module(file).get_function(name)
    if shared > 48 * 1024:  # more than that must be asked for
        driver = cupy.cuda.driver
        driver.funcSetAttribute(function.ptr, driver.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, shared)
    return function


@cache
def _module(file: str) -> Any:
    module = cupy.cuda.function.Module()
    module.load(cubin(file, architecture()))
    return module


@cache
def architecture() -> int:
    """Return the GPU's compute capability, 90 for 9.0."""
    return int(cupy.cuda.Device().compute_capability)


@cache
def multiprocessors() -> int:
    """Return how many multiprocessors the GPU has: what a grid should give work to."""
    return int(cupy.cuda.Device().attributes["MultiProcessorCount"])


def empty(shape: int | tuple[int, ...], dtype: Any) -> Any:
    """Return new device memory."""
    if _own.rehearsing:
        return _nowhere(shape, dtype)
    with _stream():
        return cupy.empty(shape, dtype)


def zeros(shape: int | tuple[int, ...], dtype: str) -> Any:
    """Return new device memory full of zeros."""
    array = empty(shape, dtype)
    if array.nbytes and not _own.rehearsing:
        array.data.memset_async(0, array.nbytes, _current())
    return array


def from_host(array: np.ndarray) -> Any:
    """Return a copy of a NumPy array in device memory."""
    if _own.rehearsing:
        return _nowhere(array.shape, array.dtype)
    copy = empty(array.shape, array.dtype)
    if array.nbytes:
        bring(array, copy)
    return copy


LONG = 2**24  # bytes: to pin more would take longer than to wait for their copy; a guess


def bring(host: np.ndarray, array: Any) -> None:
    """Copy a NumPy array into a contiguous device array of its shape and dtype; `host` may change when this returns.

    The GPU reads it when the launches before have run, and so from pinned memory of our own. Of memory that the system
    may move CUDA only says that it "might" have been read by now, or wait for the stream to do so. A long array is
    waited for.
    """
    stream, on_their_way = _current(), _own.on_their_way
    while on_their_way and on_their_way[0][0].done:
        on_their_way.popleft()
    if host.nbytes > LONG:
        array.set(host, stream=stream)
        stream.synchronize()
    elif host.nbytes:
        pinned = cupy.cuda.alloc_pinned_memory(host.nbytes)
        copy = np.frombuffer(pinned, host.dtype, host.size).reshape(host.shape)
        copy[...] = host
        array.set(copy, stream=stream)
        on_their_way.append((stream.record(cupy.cuda.Event(disable_timing=True)), pinned))


def to_host(array: Any) -> np.ndarray:
    """Return a copy of a device array as a NumPy array, after all that was launched before."""
    host: np.ndarray = array.get(stream=_current())  # which waits
    return host


def synchronize() -> None:
    """Wait until all that was launched has run."""
    _stream().synchronize()


def memory() -> int | None:
    """Return how many bytes of memory the device has."""
    return int(cupy.cuda.Device().mem_info[1])


def current_device() -> int:
    """Return the number of the GPU in use."""
    return int(cupy.cuda.Device().id)


def gpu_of(array: Any) -> int:
    """Return the number of the GPU in whose memory an array lies."""
    return int(array.device.id)


def device_of(pointer: int) -> int:
    """Return the number of the GPU in whose memory an address lies."""
    return int(cupy.cuda.runtime.pointerGetAttributes(pointer).device)


def adopt(interface: dict[str, Any], owner: Kept) -> Any:
    """Return a device array at the address of a `__cuda_array_interface__`, whose memory stays that of `owner`."""
    shape, dtype, (pointer, _) = interface["shape"], np.dtype(interface["typestr"]), interface["data"]
    if interface.get("stream"):  # of the owner: what it has launched there comes first
        event = cupy.cuda.Event(disable_timing=True)
        cupy.cuda.runtime.eventRecord(event.ptr, interface["stream"])
        _stream().wait_event(event)
    memory = cupy.cuda.UnownedMemory(pointer, prod(shape) * dtype.itemsize, owner, current_device())
    return cupy.ndarray(shape, dtype, cupy.cuda.MemoryPointer(memory, 0))


def stand_in(array: Any) -> np.ndarray:
    """Return a NumPy array of the same form at the address of a device array, to be looked at and never read."""
    owner = getattr(array.data.mem, "_owner", None)  # of what `adopt` made, and of views of it
    readonly = isinstance(owner, Kept) and owner.readonly
    interface = {"shape": array.shape, "strides": array.strides, "typestr": array.dtype.str,
                 "data": (array.data.ptr, readonly), "version": 3}
    return np.asarray(SimpleNamespace(__array_interface__=interface))


def scratch(n: int, dtype: str, name: str = "", make: Callable[[int, str], Any] = empty) -> Any:
    """Return at least n values of device memory for partial results, the same memory at each call with this name.

    A kernel may use it from its launch until that of the kernel that takes the partial results up. With `make` =
    `zeros` it holds zeros at first.
    """
    key, memory = f"{name}:{dtype}", _own.scratch
    if key not in memory or memory[key].size < n:
        memory[key] = make(max(n, 4096), dtype)
    return memory[key]


_places = count(2**40, 2**40)  # addresses of what is not there, far apart


@contextmanager
def rehearsal() -> Iterator[dict[str, Any]]:
    """Inside, arrays are made that have no memory, and nothing is copied or launched; yields the scratch asked for."""
    kept, _own.scratch, _own.rehearsing = _own.scratch, {}, True
    try:
        yield _own.scratch
    finally:
        _own.scratch, _own.rehearsing = kept, False


def _nowhere(shape: int | tuple[int, ...], dtype: Any) -> Any:
    """Return an array that has a form and an address, but no memory."""
    size = prod(shape if isinstance(shape, tuple) else (shape,)) * np.dtype(dtype).itemsize
    memory = cupy.cuda.UnownedMemory(next(_places), size, None, current_device())
    return cupy.ndarray(shape, dtype, cupy.cuda.MemoryPointer(memory, 0))


class Graph:
    """Launches that are written down once and replayed as one.

        graph = Graph(lambda: step())      # what `step` launches is captured, not run
        graph.launch()                     # all of it, in order; does not wait

    It runs on the memory that the launches had, whatever has become of the arrays since; so it keeps them, scratch
    memory included, which may have grown elsewhere by then.
    """

    def __init__(self, launches: Callable[[], Any]) -> None:
        _own.only_preparing = True
        try:
            launches()  # what loads modules and allocates, which may not happen while a stream is captured
        finally:
            _own.only_preparing = False
        self._arrays: list[Any] = []
        _own.capturing().begin_capture()
        _own.captured = self._arrays
        try:
            launches()
        finally:
            _own.captured = None
            self._graph = _or_memory_error(_own.capturing().end_capture)
        _or_memory_error(self._graph.upload, _stream())

    def launch(self) -> None:
        """Run what was captured."""
        _or_memory_error(self._graph.launch, _stream())


def _or_memory_error(make: Callable[..., Any], *arguments: Any) -> Any:
    """Call; what runtime and driver say of memory that is used up becomes a MemoryError, as CuPy's own is.

    A kernel takes memory when it is loaded, and may when it is launched; so does a graph.
    """
    try:
        return make(*arguments)
    except (cupy.cuda.runtime.CUDARuntimeError, cupy.cuda.driver.CUDADriverError) as error:
        if error.status != OUT_OF_MEMORY:
            raise
        raise MemoryError(f"no memory on the GPU for a kernel or graph: {error}") from None

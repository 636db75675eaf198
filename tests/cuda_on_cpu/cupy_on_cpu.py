"""CuPy without a GPU: its own arrays, in memory of the host; streams, graphs and modules run what g++ has compiled.

`install()` before the backend is used: then its `device.py` and all that is built on it run as they are, and what they
launch are the same `*.cu` files. What this knows of CuPy is what `device.py` asks of it, and it is strict where a GPU
would be silent or wrong:

- New memory holds NaN.
- Work runs as late as it may: when somebody waits for it. A copy from the host reads what stands there by then.
- Between the beginning and the end of a capture nothing is allocated, copied to or from the host, or waited for.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections import deque
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import cupy
import numpy as np

from cuda_on_cpu.launch import Kernel, load
from refplay.kernels.foreign import Kept

KERNELS = Path(__file__).parents[2] / "kernels" / "cupy_cuda"
ALIGNED = 512  # bytes: where CuPy's pool begins an array
MOST = 2**36  # bytes of an array
Work = Callable[[], Any]


class Capturing(threading.local):
    """The stream that a thread captures."""

    stream: Stream | None = None


class Stream:
    """A queue of work; all streams together have one, as each waits for the others where it matters."""

    queue: ClassVar[deque[Work]] = deque()
    working: ClassVar[threading.Lock] = threading.Lock()  # there is one GPU for all threads
    now: ClassVar[Capturing] = Capturing()

    def __init__(self, non_blocking: bool) -> None:
        self.ptr, self._apart = 2 + non_blocking, non_blocking
        self._captured: list[Work] = []

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def do(self, work: Work) -> None:
        if Stream.now.stream is self:
            self._captured.append(work)
        else:
            no_capture("work in another stream")
            Stream.queue.append(work)

    def begin_capture(self) -> None:
        no_capture("a capture")
        assert self._apart, "a capture in a stream that keeps its order with the default stream"
        Stream.now.stream, self._captured = self, []

    def end_capture(self) -> SimpleNamespace:
        Stream.now.stream, captured = None, self._captured

        def launch(stream: Stream) -> None:
            for work in captured:
                stream.do(work)

        return SimpleNamespace(launch=launch, upload=lambda stream: None)

    def synchronize(self) -> None:
        no_capture("a wait")
        with Stream.working:
            while Stream.queue:
                Stream.queue.popleft()()

    def wait_event(self, event: Any) -> None:
        pass

    def record(self, event: SimpleNamespace) -> SimpleNamespace:
        no_capture("an event")
        event.done = False
        self.do(lambda: vars(event).update(done=True))
        return event


def no_capture(what: str) -> None:
    """Raise where something would spoil a capture."""
    assert Stream.now.stream is None, f"{what} while a graph is captured"


class Pointer(cupy.cuda.MemoryPointer):  # type: ignore[misc]
    """The address of an array."""

    def memset_async(self, value: int, size: int, stream: Stream) -> None:
        stream.do(lambda: ctypes.memset(self.ptr, value, size))  # keeps the memory, as the order of a pool does


class Array(cupy.ndarray):  # type: ignore[misc]
    """CuPy's array, whose copies are those of the host's memory."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:  # CuPy's own asks the driver for a stream
        return {"shape": self.shape, "strides": self.strides, "typestr": self.dtype.str, "version": 3,
                "data": (self.data.ptr, False)}  # fmt: skip

    def set(self, host: np.ndarray, stream: Stream) -> None:
        no_capture("a copy from the host")
        assert (self.shape, self.dtype) == (host.shape, host.dtype)
        assert self.flags.c_contiguous
        assert host.flags.c_contiguous
        root: Any = host
        while isinstance(root, np.ndarray) and root.base is not None:
            root = root.base
        root = root.obj if isinstance(root, memoryview) else root
        to, source, size = seen(self), host.ctypes.data, host.nbytes
        kept = weakref.ref(root) if isinstance(root, Pinned) else lambda: host

        def copy() -> None:
            assert kept() is not None, "pinned memory was given back before the copy from it"
            ctypes.memmove(to.ctypes.data, source, size)

        stream.do(copy)

    def get(self, stream: Stream | None = None, *more: Any) -> np.ndarray:  # CuPy calls it to print an array
        no_capture("a copy to the host")
        assert self.flags.c_contiguous
        (stream or Stream(False)).synchronize()
        return seen(self).copy()


def seen(array: Any) -> Any:
    """Return the values of one of CuPy's arrays as NumPy's: a view of all of its memory, as a kernel on the CPU wants.

    A launch puts the memory elsewhere, and the view as far from its beginning as here.
    """
    memory = array.data.mem
    kept = memory._owner if isinstance(memory._owner, Kept) else None  # an array of another library
    if not array.size:
        return np.empty(array.shape, array.dtype)
    begin = array.data.ptr - memory.ptr
    assert 0 <= begin <= memory.size - array.nbytes, "an array that is larger than its memory"
    interface = {"shape": (memory.size,), "typestr": "|u1", "version": 3,
                 "data": (memory.ptr, kept is not None and kept.readonly)}  # fmt: skip
    values = np.asarray(SimpleNamespace(__array_interface__=interface, owner=kept.owner if kept else memory))
    return values[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)


def empty(shape: int | tuple[int, ...], dtype: Any) -> Array:
    """Return new memory full of NaN, and -1: what nobody writes shows."""
    no_capture("an allocation")
    size = int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize
    if size > MOST:
        raise cupy.cuda.memory.OutOfMemoryError(size, 0)
    memory = np.full(size + ALIGNED, 0xFF, np.uint8)
    address = memory.ctypes.data + -memory.ctypes.data % ALIGNED if size else 0
    return Array(shape, dtype, Pointer(cupy.cuda.UnownedMemory(address, size, memory, 0), 0))


def placed(values: np.ndarray, offset: int = 0) -> Any:
    """Return a copy of the values in new memory, `offset` values behind its beginning, as a view of theta may lie."""
    memory = empty(values.size + offset, values.dtype)
    if values.size:
        seen(memory)[offset:] = values.ravel()
    return memory[offset:].reshape(values.shape)


def values_of(array: Any) -> Any:
    """Return the values of an array when all work is done."""
    Stream(False).synchronize()
    return seen(array)


class Function:
    """A kernel of a module."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel, self.ptr = kernel, self  # what `allow_shared` is given

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], arguments: tuple[Any, ...], shared: int,
                 stream: Stream) -> None:
        assert not any(isinstance(each, np.ndarray) for each in arguments), "an array of the host"
        views = tuple(seen(each) if isinstance(each, cupy.ndarray) else each for each in arguments)
        stream.do(lambda: self._kernel(grid, block, views, shared_mem=shared))

    def allow_shared(self, attribute: int, size: int) -> None:
        assert attribute == cupy.cuda.driver.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        self._kernel.max_dynamic_shared_size_bytes = size


class Module:
    """The kernels of a file, whose name is in the place of its machine code."""

    def load(self, file: str) -> None:
        self._kernels = load(KERNELS / f"{file}.cu")

    def get_function(self, name: str) -> Function:
        return Function(self._kernels.get_function(name))


class Device:
    id, compute_capability, attributes = 0, "90", {"MultiProcessorCount": 4}
    mem_info = (2**36, 2**36)


class Pinned(bytearray):
    """Pinned memory of the host."""


@cache
def install() -> None:
    """Put this below the backend's `device.py`, in this process and from now on."""
    from refplay.kernels.cupy_cuda import device

    cuda = cupy.cuda
    device.cubin = lambda file, architecture: file
    device.gpu_of = lambda array: 0
    device.cupy = SimpleNamespace(ndarray=Array, empty=empty, cuda=SimpleNamespace(
        Device=Device, Event=lambda **options: SimpleNamespace(ptr=0), MemoryPointer=Pointer, Stream=Stream,
        UnownedMemory=cuda.UnownedMemory, alloc_pinned_memory=Pinned, function=SimpleNamespace(Module=Module),
        driver=SimpleNamespace(
            CUDADriverError=cuda.driver.CUDADriverError,
            CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES=cuda.driver.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
            funcSetAttribute=Function.allow_shared),
        runtime=SimpleNamespace(
            CUDARuntimeError=cuda.runtime.CUDARuntimeError, eventRecord=lambda event, stream: None,
            pointerGetAttributes=lambda pointer: SimpleNamespace(device=0))))  # fmt: skip


def install_as_gpu() -> None:
    """Do as `install`, and let this machine be taken for one with a GPU: `refplay.kernels.load` gives the backend.

    Only in a process of its own: tests of what is said on a machine without a GPU would fail beside it.
    """
    from refplay.kernels import gpu

    install()
    found = gpu.Found("", device="CPU in the place of a GPU", name="cupy")
    gpu.find = lambda package="": found
    gpu.missing = lambda found: ""

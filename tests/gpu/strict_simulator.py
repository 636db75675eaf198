"""Numba's CUDA simulator, made strict: what a GPU would do to a wrong kernel becomes an error that names the line.

The simulator as it comes runs each CUDA thread as a thread of the operating system. It lets races pass as the scheduler
happens to let them, keeps shared memory from block to block, takes a negative index for one from the end, and lets
threads of a block wait at different barriers. `install` replaces the parts of it that do so:

- One greenlet per CUDA thread, run one after the other from barrier to barrier in an order drawn at random (`SEED`).
- Every element remembers who read and wrote it since the last barrier, whatever array it was reached through. Two
  threads that touch one element, one of them writing, with no barrier between them, are a race; so are two blocks of
  one launch.
- All threads of a block wait at the same barrier, called from the same place, or it is an error; none may have left.
- Shared and local memory begins as NaN (integers: as the least there is), anew for each block.
- An index is a full one, from 0 to the size; it names one element.

What it still cannot see: types (a double where a float32 was meant), which tests/cuda_compiled reads off the compiled
code; warps, whose instructions the kernels do not use.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from itertools import starmap
from types import SimpleNamespace
from typing import Any

import numpy as np
from greenlet import getcurrent, greenlet
from numba.core import types
from numba.cuda.np import numpy_support
from numba.cuda.simulator import kernel as simulated
from numba.cuda.simulator import kernelapi

SEED = 20231
MANY = -1  # in place of a thread: more than one


class KernelError(Exception):
    """What a kernel does wrong. Not an Exception of Python's own, so that no test mistakes it for one."""


class Thread:
    """What the simulator asks of the thread that runs."""

    def __init__(self, number: int, block: tuple[int, ...], thread: tuple[int, ...]) -> None:
        self.thread_id, self.blockIdx, self.threadIdx = number, kernelapi.Dim3(*block), kernelapi.Dim3(*thread)
        self.waits_at: tuple[Any, ...] = ()
        self.shared_lines: set[str] = set()

    def syncthreads(self) -> None:
        self.waits_at = _lines(sys._getframe(2))
        getcurrent().parent.switch()
        self.waits_at = ()


_now = SimpleNamespace(
    thread=None, block=0, epoch=0, shared={}, launch=None, rng=np.random.default_rng(SEED)
)  # fmt: skip
_call = simulated.FakeCUDAKernel.__call__


def _launch(self: Any, *arguments: Any) -> Any:
    """Run a kernel, or a device function inside of one; in place of FakeCUDAKernel.__call__."""
    if not self._device:
        _now.launch = Records()
    return _call(self, *arguments)


def _run_block(self: Any, grid_point: tuple[int, ...], *arguments: Any) -> None:
    """Run one block; in place of BlockManager.run."""
    threads = [Thread(i, grid_point, at) for i, at in enumerate(_points(self._block_dim))]
    fibers = [greenlet(self._f) for _ in threads]
    order = _now.rng.permutation(len(threads)).tolist()
    _now.block += 1
    _now.shared = {}
    started = False
    try:
        while order:
            _now.epoch += 1
            for i in order:
                _now.thread = threads[i]
                fibers[i].switch(*(() if started else arguments))
            started = True
            places = {threads[i].waits_at if not fibers[i].dead else () for i in order}
            if len(places) > 1:
                told = sorted(", called at ".join(starmap(_place, at)) or "the end of the kernel" for at in places)
                raise KernelError(f"divergent barrier: threads of a block wait at {' and at '.join(told)}")
            order = [i for i in order if not fibers[i].dead]
    finally:
        for fiber in fibers:
            fiber.throw()  # after an error: threads that still wait leave the device functions that they are in


def _points(dim: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the threads of a block in the order of their numbers: x runs fastest."""
    return [(x, y, z) for z in range(dim[2]) for y in range(dim[1]) for x in range(dim[0])]


class Records:
    """Who touched what: (block, epoch, thread) by address."""

    def __init__(self) -> None:
        self.writes: dict[int, tuple[int, int, int]] = {}
        self.reads: dict[int, tuple[int, int, int]] = {}


class Memory:
    """An array as a kernel sees it. The arrays of one launch share their records: two of them may overlap."""

    def __init__(self, array: Any, name: str = "global") -> None:
        self._array: np.ndarray = getattr(array, "_ary", array)
        self._name = name
        records = _now.launch if name == "global" else Records()
        self._writes, self._reads = records.writes, records.reads
        self._start, self._strides = self._array.__array_interface__["data"][0], self._array.strides
        self.shape, self.size, self.ndim = self._array.shape, self._array.size, self._array.ndim
        self.dtype = self._array.dtype
        self._addresses: dict[Any, int] = {}  # of the indices that were found to be right

    def __getitem__(self, index: Any) -> Any:
        at = self._address(index)
        me = (_now.block, _now.epoch, _now.thread.thread_id)
        write = self._writes.get(at)
        if write is not None and write != me:
            self._hold(write, me, index, "written", "read")
        read = self._reads.get(at)
        self._reads[at] = me if read is None or read == me else _both(read, me)
        return self._array[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        at = self._address(index)
        me = (_now.block, _now.epoch, _now.thread.thread_id)
        write, read = self._writes.get(at), self._reads.get(at)
        if write is not None and write != me:
            self._hold(write, me, index, "written", "written")
        if read is not None and read != me:
            self._hold(read, me, index, "read", "written")
        self._writes[at] = me
        self._array[index] = value

    def __len__(self) -> int:
        return len(self._array)

    def _address(self, index: Any) -> int:
        at = self._addresses.get(index)
        if at is None:
            at = self._addresses[index] = self._checked_address(index)
        return at

    def _checked_address(self, index: Any) -> int:
        parts = index if isinstance(index, tuple) else (index,)
        if len(parts) != self.ndim or not all(isinstance(i, int | np.integer) for i in parts):
            raise KernelError(f"index {index} into {self.ndim} axes is not one element ({_line(sys._getframe(3))})")
        at = self._start
        for i, size, stride in zip(parts, self.shape, self._strides, strict=True):
            if not 0 <= i < size:
                raise KernelError(f"index {index} is outside of {self._name} memory of shape {tuple(self.shape)} "
                                  f"({_line(sys._getframe(3))})")
            at += int(i) * stride
        return at

    def _hold(self, first: tuple[int, int, int], me: tuple[int, int, int], index: Any, did: str, does: str) -> None:
        """Raise where `first` and `me` touch one element and nothing orders them."""
        between_blocks = first[0] != me[0]
        if between_blocks or (first[1] == me[1] and first[2] != me[2]):
            who = "another block" if between_blocks else "another thread since the last barrier"
            raise KernelError(f"race: element {index} of {self._name} memory was {did} by {who} and is {does} at "
                              f"{_line(sys._getframe(2))}")


class Registers(Memory):
    """An array of one thread: nobody else can touch it."""

    def __init__(self, array: Any, name: str) -> None:
        super().__init__(array, name)
        self._values: dict[Any, Any] = {}  # in place of the array, which would be slow

    def __getitem__(self, index: Any) -> Any:
        if index not in self._values:
            self._address(index)
            self._values[index] = self._array[index]
        return self._values[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self._address(index)
        self._values[index] = self.dtype.type(value)


def _both(a: tuple[int, int, int], b: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return who has read, of two readers: of several threads, or of several blocks, none is the one."""
    if a[0] != b[0]:
        return MANY, MANY, MANY
    return b if a[1] != b[1] else (b[0], b[1], MANY)


def _line(frame: Any) -> str:
    return _place(frame.f_code, frame.f_lineno)


def _lines(frame: Any) -> tuple[tuple[Any, int], ...]:
    """Return where a thread is: its line, that of the call that led there, and so on; without the simulator's own."""
    found = []
    while frame is not None:
        if frame.f_globals.get("__name__") not in (__name__, simulated.__name__):
            found.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return tuple(found)


def _place(code: Any, line: int) -> str:
    return f"{code.co_filename.rsplit('/', 1)[-1]}:{line}"


def _shared(self: Any, shape: Any, dtype: Any, alignment: None = None) -> Memory:
    line = _line(sys._getframe(1))
    if line in _now.thread.shared_lines:
        raise KernelError(f"two shared arrays on one line, or one in a loop: {line}")
    _now.thread.shared_lines.add(line)
    if line not in _now.shared:
        _now.shared[line] = Memory(_poisoned(shape, dtype), "shared")
    return _now.shared[line]


def _local(self: Any, shape: Any, dtype: Any) -> Memory:
    return Registers(_poisoned(shape, dtype), "local")


def _poisoned(shape: Any, dtype: Any) -> np.ndarray:
    if isinstance(dtype, types.Type):
        dtype = numpy_support.as_dtype(dtype)
    kind = np.dtype(dtype)
    return np.full(shape, np.nan if kind.kind == "f" else np.iinfo(kind).min, kind)


def install() -> None:
    """Make the simulator strict, in this process and from now on."""
    simulated.FakeCUDAKernel.__call__ = _launch
    simulated.BlockManager.run = _run_block
    simulated.FakeWithinKernelCUDAArray = Memory
    kernelapi.FakeCUDAShared.array = _shared
    kernelapi.FakeCUDALocal.array = _local
    kernelapi.threading = SimpleNamespace(current_thread=lambda: _now.thread, Lock=threading.Lock)

"""Kernels as addresses, and programs as tables of them: how work gets from Python to the threads.

A kernel is a Python function `(a, task, scratch)`: `a[0]`, `a[1]`, ... are its arguments (int64: addresses in bytes,
sizes; a float64 through `as_float`), `task` is the number of the part of the work to do, `scratch` the address of
memory of its own. It is compiled at its first use, once for all shapes, and kept on disk.

    @kernel
    def copy_rows(a, task, scratch):
        x, y, bytes_a_row = a[0], a[1], a[2]
        ...

    launch(call(copy_rows, rows, x, y, bytes_a_row))         # now
    program = Program([call(...), call(...)]); program.run()     # as often as you like, without any Python in between
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Sequence
from ctypes import addressof, c_char
from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import cfunc, types

from . import threads
from .simd import primitive

_SIGNATURE = types.void(types.CPointer(types.int64), types.int64, types.int64)


class Kernel:
    """A compiled function of tasks."""

    def __init__(self, function: Callable[..., None]) -> None:
        self.function, self.__doc__, self.name = function, function.__doc__, function.__name__

    @cached_property
    def address(self) -> int:
        compile_kernel: Any = cfunc(_SIGNATURE, cache=True, error_model="numpy")
        self._compiled = compile_kernel(self.function)
        address: int = self._compiled.address
        return address


def kernel(function: Callable[..., None]) -> Kernel:
    """Make a kernel of `function(a, task, scratch)`."""
    return Kernel(function)


class Call(NamedTuple):
    """One instruction: a kernel, its number of tasks, its arguments, the bytes of scratch that a task needs."""

    kernel: Kernel
    tasks: int
    arguments: tuple[Any, ...]
    scratch: int = 0


def call(kernel: Kernel, tasks: int, *arguments: Any, scratch: int = 0) -> Call:
    """Return an instruction; an argument is an array (its address is taken), an int or a float."""
    return Call(kernel, tasks, arguments, scratch)


class Program:
    """Instructions to run one after the other; it holds on to the arrays that they work on."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self.calls = [c for c in calls if c.tasks]
        self.code = np.zeros((max(1, len(self.calls)), threads.WORDS), np.int64)
        self.scratch = max((c.scratch for c in self.calls), default=0)
        for row, c in zip(self.code, self.calls, strict=False):
            _check(c.kernel, c.tasks, c.arguments)
            row[: 2 + len(c.arguments)] = [c.kernel.address, c.tasks, *map(word, c.arguments)]
        self._where = self.code.ctypes.data

    def run(self) -> None:
        threads.run(self._where, len(self.calls), self.scratch)


def launch(*calls: Call) -> None:
    """Run instructions once, in two thirds of the time of a `Program` for one run (`bench/overhead.py` has both)."""
    if len(calls) > getattr(_own, "most", 0):
        code = np.zeros((len(calls), threads.WORDS), np.int64)
        _own.code, _own.address, _own.most = code, code.ctypes.data, len(calls)
    for i, (run, tasks, arguments, _) in enumerate(calls):
        _check(run, tasks, arguments)
        pack = packer((int, int, *map(type, arguments)))
        pack(_own.code, 8 * threads.WORDS * i, run.address, tasks,
             *[address_of(a) if isinstance(a, np.ndarray) else a for a in arguments])
    if calls:
        alone = max([c.tasks for c in calls]) == 1  # nothing for a second thread to do: let it sleep
        run_code = threads._run_alone if alone else threads.run
        run_code(_own.address, len(calls), max([c.scratch for c in calls]))


_own = threading.local()  # each thread writes its instructions to memory of its own


@cache
def packer(kinds: tuple[type, ...]) -> Callable[..., None]:
    """Return `pack(memory, byte, *values)`, which writes values of these types as kernels read them."""
    return struct.Struct("".join("d" if issubclass(kind, float) else "q" for kind in kinds)).pack_into


def _check(kernel: Kernel, tasks: int, arguments: tuple[Any, ...]) -> None:
    if tasks > threads.MOST_TASKS or len(arguments) > threads.WORDS - 2:
        raise ValueError(f"{kernel.name}: {tasks} tasks, {len(arguments)} arguments; too many")


def word(argument: Any) -> int:
    """Return an argument as the int64 that a kernel finds."""
    if isinstance(argument, np.ndarray):
        return address_of(argument)
    if isinstance(argument, float):
        return int(struct.unpack("q", struct.pack("d", argument))[0])
    return int(argument)


def address_of(array: Any) -> int:
    """Return where the values of an array are; four times as fast as to ask NumPy."""
    try:
        return addressof(c_char.from_buffer(array))
    except (TypeError, ValueError):  # read-only or empty
        return int(array.__array_interface__["data"][0])


# as_float(word): the float64 whose bits an int64 holds.
as_float = primitive(types.float64(types.int64), lambda b, bits: b.bitcast(bits, ir.DoubleType()))


def _values_at(kind: Any, lowered: Any) -> Any:
    return primitive(types.CPointer(kind)(types.int64), lambda b, address: b.inttoptr(address, lowered.as_pointer()))


floats_at = _values_at(types.float32, ir.FloatType())  # floats_at(address)[i] in a kernel
doubles_at = _values_at(types.float64, ir.DoubleType())
ints_at = _values_at(types.int64, ir.IntType(64))


def blocks(size: int, most: int) -> tuple[int, int]:
    """Return into how many blocks of at most `most` to cut `size`, and the size of all but the last.

    >>> blocks(100, 32)
    (4, 25)
    """
    count = max(1, -(-size // most))
    each = max(1, -(-size // count))
    return -(-size // each), each


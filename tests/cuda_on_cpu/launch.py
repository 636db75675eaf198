"""Launch kernels on the CPU, as CuPy launches them on a GPU: `module.get_function(name)(grid, block, arguments)`.

The arguments are what CuPy takes, NumPy arrays in the place of its own: code that launches kernels runs with either. It
is checked harder here. Arrays must have the dtype of the kernel's parameter and scalars must be NumPy scalars of its
type, where CuPy would pass on the bits that it is given. Each array is copied to memory of its own, with nothing around
it, and back; arrays that share memory share it there.

A launch is repeated in several orders of threads and blocks, which all must give the same bits.
"""

import ctypes
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from cuda_on_cpu.build import build

VARIANT = os.environ.get("CUDA_ON_CPU", "plain")  # what sanitizers.py sets for the processes that it starts
# A sanitizer finds the same in every order, or nearly, and takes ten times as long.
ORDERS = {"plain": ("forward", "reverse", "random 1"), "address": ("reverse",), "thread": ("random 2",)}[VARIANT]

DYNAMIC_SHARED_BYTES = 48 << 10  # more only after `max_dynamic_shared_size_bytes` was set, as on a GPU
MOST_SHARED_BYTES = 227 << 10  # of a block on an H100 and its successors


class KernelFault(RuntimeError):
    """A kernel did what it must not do.

    `tool` says who saw it: "runtime" (meetings of threads), "undefined" (the compiler's checks), "address", "thread"
    (the sanitizers) or "order" (two orders of threads, two results).
    """

    def __init__(self, tool: str, message: str) -> None:
        super().__init__(message)
        self.tool = tool


class Module:
    """A .cu file on the CPU, with CuPy's `RawModule.get_function`."""

    def __init__(self, source: str | Path, variant: str = VARIANT, defines: Sequence[str] = ()) -> None:
        library = ctypes.CDLL(str(build(Path(source), variant, defines)))
        library.cuda_cpu_table.restype = ctypes.c_void_p
        library.cuda_cpu_kernels.restype = library.cuda_cpu_fault.restype = ctypes.c_char_p
        library.cuda_cpu_kernels.argtypes = (ctypes.c_void_p,)
        library.cuda_cpu_allocate.restype = ctypes.c_void_p
        library.cuda_cpu_allocate.argtypes = (ctypes.c_size_t, ctypes.c_size_t)
        library.cuda_cpu_launch.argtypes = (
            ctypes.c_void_p, ctypes.c_uint, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_char_p,
            ctypes.c_uint64,
        )  # fmt: skip
        table = library.cuda_cpu_table()
        self.kernels: dict[str, Kernel] = {}
        for number, line in enumerate(library.cuda_cpu_kernels(table).decode().splitlines()):
            name, largest_block, *codes = line.split("\t")
            self.kernels[name] = Kernel(library, table, number, name, int(largest_block), codes)

    def get_function(self, name: str) -> "Kernel":
        if name not in self.kernels:
            raise ValueError(f"no kernel {name}; there are {', '.join(self.kernels)}")
        return self.kernels[name]


@cache
def load(source: str | Path) -> Module:
    """Return the module of a .cu file, in the variant of this process."""
    return Module(source)


@dataclass
class Kernel:
    """One kernel; `codes` are the types of its parameters: "f4" a float, "f4 const*" an array of them."""

    library: ctypes.CDLL
    table: int
    number: int
    name: str
    largest_block: int
    codes: list[str]
    max_dynamic_shared_size_bytes: int = DYNAMIC_SHARED_BYTES

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: Sequence[Any], *, shared_mem: int = 0,
        orders: Sequence[str] = ORDERS,
    ) -> None:  # fmt: skip
        """Launch, once for each of `orders` ("forward", "reverse", "random <seed>") on the same arguments.

        Raises
        ------
        TypeError, ValueError
            Arguments that are not the kernel's; a grid or block that no GPU takes.
        KernelFault
            What a thread did, with its line in the source; the arrays are then as before.
        """
        sizes = self._sizes(grid, block, shared_mem)
        self._check_arguments(args)
        arrays = [a for a in args if isinstance(a, np.ndarray)]
        places = _places(arrays)
        first: list[bytes] = []
        for order in orders:
            after = self._launch_once(sizes, shared_mem, args, places, order)
            first = first or after
            if after != first:
                where = _first_difference(args, places, first, after)
                told = f"the order {order!r} gives other bits than {orders[0]!r} {where}"
                raise KernelFault("order", f"{self.name}: {told}")
        for place, content in zip(places, first, strict=True):
            place.write_back(content)

    def _launch_once(
        self, sizes: list[int], shared_mem: int, args: Sequence[Any], places: list["Place"], order: str
    ) -> list[bytes]:
        try:
            for place in places:
                place.address = self.library.cuda_cpu_allocate(place.bytes, place.offset)
                if place.address is None:
                    raise MemoryError(f"{self.name}: no room for arrays of {place.bytes} bytes")
                ctypes.memmove(place.address, place.start, place.bytes)
            bits = b"".join(_as_bits(argument, places) for argument in args)
            name, _, seed = order.partition(" ")
            stopped = self.library.cuda_cpu_launch(
                self.table, self.number, (ctypes.c_uint * 6)(*sizes), shared_mem, bits, name.encode(), int(seed or 0)
            )
            if stopped:
                raise self._fault(self.library.cuda_cpu_fault().decode(errors="replace"), args, places)
            if races := _new_races():
                raise KernelFault("thread", f"{self.name}: {_summary(races)}\n{races}")
            return [ctypes.string_at(place.address, place.bytes) for place in places]
        finally:
            self.library.cuda_cpu_free_all()

    def _sizes(self, grid: tuple[int, ...], block: tuple[int, ...], shared_mem: int) -> list[int]:
        sizes = [int(n) for size in (grid, block) for n in (*size, 1, 1)[:3]]
        threads = sizes[3] * sizes[4] * sizes[5]
        for n, most in zip(sizes, (2**31 - 1, 65535, 65535, 1024, 1024, 64), strict=True):
            if not 1 <= n <= most:
                raise ValueError(f"{self.name}: no GPU takes grid {grid} and block {block}: {n} is not in 1 to {most}")
        if threads > self.largest_block:
            raise ValueError(f"{self.name}: blocks of {threads} threads; at most {self.largest_block} were promised")
        if not 0 <= shared_mem <= min(self.max_dynamic_shared_size_bytes, MOST_SHARED_BYTES):
            raise ValueError(f"{self.name}: {shared_mem} bytes of dynamic shared memory are more than were allowed")
        return sizes

    def _check_arguments(self, args: Sequence[Any]) -> None:
        if len(args) != len(self.codes):
            parameters = ", ".join(self.codes)
            raise TypeError(f"{self.name}: takes {len(self.codes)} arguments ({parameters}), got {len(args)}")
        for number, (argument, code) in enumerate(zip(args, self.codes, strict=True)):
            problem = _problem(argument, code)
            if problem:
                raise TypeError(f"{self.name}: argument {number} is {code}, got {problem}")

    def _fault(self, report: str, args: Sequence[Any], places: list["Place"]) -> KernelFault:
        tool, _, text = report.partition("\n")
        if tool == "address":
            address, shared, thread, details = text.split("\n", 3)
            where = shared or self._nearest(int(address, 16), args, places)
            text = f"{_line_of(details)}: {thread}: {_access(details)} {where}\n{details}"
        return KernelFault(tool, f"{self.name}: {text}")

    def _nearest(self, address: int, args: Sequence[Any], places: list["Place"]) -> str:
        """Say where `address` lies: so many bytes in front of an argument, or behind it."""
        distances = []
        for number, argument in enumerate(args):
            if isinstance(argument, np.ndarray):
                start = _address_of(argument, places)
                end = start + argument.nbytes
                what = f"argument {number} ({argument.dtype}{list(argument.shape)})"
                distances.append((start - address, f"{start - address} bytes in front of {what}"))
                distances.append((address - end, f"{address - end} bytes past the end of {what}"))
        near = [(distance, text) for distance, text in distances if 0 <= distance < 1 << 20]
        return min(near)[1] if near else "far from every argument"


@dataclass
class Place:
    """Memory of one or several arguments: on the host from `start` on, and where the kernel finds it."""

    start: int
    bytes: int
    offset: int  # from a multiple of 256, as it would be in an allocation of CuPy's
    writable: bool
    address: int | None = None

    def write_back(self, content: bytes) -> None:
        if self.writable:
            ctypes.memmove(self.start, content, self.bytes)


def _places(arrays: Sequence[np.ndarray]) -> list[Place]:
    """Return the memory of the arrays: in one place what overlaps, and apart what does not."""
    places: list[Place] = []
    for array in sorted(arrays, key=lambda a: (a.ctypes.data, -a.nbytes)):
        root: Any = array
        while isinstance(root.base, np.ndarray):
            root = root.base
        start, end, last = array.ctypes.data, array.ctypes.data + array.nbytes, places[-1] if places else None
        if last and (start < last.start + last.bytes or (start, end) == (last.start, last.start + last.bytes)):
            last.bytes = max(last.bytes, end - last.start)
            last.writable |= array.flags.writeable
        else:
            places.append(Place(start, array.nbytes, (start - root.ctypes.data) % 256, array.flags.writeable))
    return places


def _address_of(array: np.ndarray, places: list[Place]) -> int:
    start = array.ctypes.data
    for place in places:
        if place.start <= start and start + array.nbytes <= place.start + place.bytes:
            assert place.address is not None
            return place.address + start - place.start
    raise AssertionError("an argument without a place")


def _first_difference(args: Sequence[Any], places: list[Place], one: list[bytes], other: list[bytes]) -> str:
    """Say in which argument, and from which of its values on, the contents of the places differ."""
    for place, a, b in zip(places, one, other, strict=True):
        if a != b:
            byte = place.start + next(i for i in range(len(a)) if a[i] != b[i])
            for number, argument in enumerate(args):
                if isinstance(argument, np.ndarray) and 0 <= byte - argument.ctypes.data < argument.nbytes:
                    index = (byte - argument.ctypes.data) // argument.itemsize
                    return f"from value {index} of argument {number} on ({argument.dtype}{list(argument.shape)})"
    return "in memory between the arguments"


def _problem(argument: Any, code: str) -> str:
    """Return what is wrong with an argument for a parameter of type `code`, or ""."""
    kind = code.removesuffix("*").removesuffix(" const")
    if not code.endswith("*"):
        cupy_passes = {bool: "b1", int: "i8", float: "f8"}  # for Python's own numbers
        given = argument.dtype.str[1:] if isinstance(argument, np.generic) else cupy_passes.get(type(argument))
        return "" if given == kind else f"{argument!r}, which CuPy passes as {given}" if given else repr(argument)
    if argument is None:
        return ""
    if not isinstance(argument, np.ndarray):
        return repr(argument)
    if argument.dtype.str[1:] != kind:
        return f"an array of {argument.dtype}"
    if not argument.flags.c_contiguous:
        return "an array that is not contiguous"
    return "" if argument.flags.writeable or code.endswith("const*") else "an array that is read-only"


def _as_bits(argument: Any, places: list[Place]) -> bytes:
    """Return the eight bytes of an argument."""
    if isinstance(argument, np.ndarray):
        return _address_of(argument, places).to_bytes(8, sys.byteorder)
    return bytes(8) if argument is None else np.asarray(argument).tobytes().ljust(8, b"\0")


def _line_of(report: str) -> str:
    """Return the innermost line of a .cu or .cuh file in a report's stack."""
    found = re.search(r"/([\w.]+\.cuh?:\d+)", report)
    return found[1] if found else "unknown line"


def _access(report: str) -> str:
    found = re.search(r"(READ|WRITE) of size (\d+)", report)
    return f"{found[1].lower()} of {found[2]} bytes" if found else "access"


def _summary(races: str) -> str:
    """Say which lines the first of ThreadSanitizer's reports is about."""
    accesses = re.findall(r"  (\S.*?) of size \d+ at .*\n    #0 .*?/([\w.]+:\d+)", races.split("SUMMARY")[0])
    return "data race: " + " and ".join(f"{kind.lower()} at {line}" for kind, line in accesses)


_races_read = 0


def _new_races() -> str:
    """Return what ThreadSanitizer has written since the last call; sanitizers.py tells it where to."""
    global _races_read
    prefix = os.environ.get("CUDA_ON_CPU_RACES")
    if prefix is None:
        return ""
    log = Path(f"{prefix}.{os.getpid()}")
    text = log.read_text()[_races_read:] if log.exists() else ""
    _races_read += len(text)
    return text

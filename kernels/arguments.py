"""The machinery of `check`: holding arrays against a written signature, numbers against a range.

It runs before every kernel, and a training makes the same few calls over and over. So what depends on the forms of the
arrays alone (class, dtype, shape, layout) is checked once per combination and then looked up; what else can be wrong,
overlapping memory and the numbers, is checked at every call. A call costs 1 to 4 microseconds
(`python bench/overhead.py`).
"""

from collections.abc import Callable
from math import inf, isfinite
from operator import attrgetter
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy import ndarray, shares_memory

from .contract import Array

FLOATS = (np.dtype("float32"), np.dtype("float64"))
INTS = (np.dtype("int64"), np.dtype("int32"))
KNOWN = FLOATS + INTS
DTYPES = ("float32", "float64", "int32", "int64")
_MAY_BE_EMPTY = frozenset("BNGn")  # the axes that count examples, ghost batches or parameters


class Argument(NamedTuple):
    name: str
    axes: tuple[str, ...] | None  # None: any shape, the same for all arguments
    written: bool
    optional: bool


class Signature(NamedTuple):
    name: str
    arguments: tuple[Argument, ...]
    apart: tuple[tuple[int, int], ...]  # pairs of arguments that must not share memory
    in_place: tuple[tuple[int, int], ...]  # pairs that may be the same array, but must not overlap otherwise


def signature(name: str, arguments: str, apart: str = "", in_place: str = "") -> Signature:
    """Parse "x[B,I] w[I,O] -> y[B,O]" and pairs "x~y dx~dy"; a "?" marks an argument that may be None."""
    parsed, written = [], False
    for word in arguments.split():
        written |= word == "->"
        if word != "->":
            argument, _, axes = word.rstrip("]?").partition("[")
            parsed.append(Argument(argument, tuple(axes.split(",")) if axes else None, written, word.endswith("?")))
    names = [argument.name for argument in parsed]

    def pairs(text: str) -> tuple[tuple[int, int], ...]:
        halves = [pair.split("~") for pair in text.split()]
        return tuple((names.index(a), names.index(b)) for a, b in halves)

    return Signature(name, tuple(parsed), pairs(apart), pairs(in_place))


_form: Callable[[Any], tuple[Any, ...]] = attrgetter("dtype", "shape", "flags.num")  # one call for three attributes
_passed: dict[tuple[Any, ...], dict[str, int]] = {}  # kernel and forms of calls that had nothing wrong -> their sizes
_MOST_FORMS = 4096  # then it begins anew, so that a program with ever new shapes does not fill the memory


def arrays(kernel: Signature, *values: Any) -> dict[str, int]:
    """Check dtypes, shapes, layout and overlap of all arrays of one call; return the sizes of the axes."""
    # Of what is no array the class suffices: only None passes, where it is allowed.
    forms = (kernel.name, *[_form(value) if type(value) is ndarray else type(value) for value in values])
    sizes = _passed.get(forms)
    if sizes is None:
        sizes = _check_forms(kernel, values)
        if len(_passed) >= _MOST_FORMS:
            _passed.clear()
        _passed[forms] = sizes
    _check_memory(kernel, values)
    return sizes


def _check_forms(kernel: Signature, values: tuple[Any, ...]) -> dict[str, int]:
    """Check all that `_form` tells."""
    sizes: dict[str, int] = {}
    dtype = shape = None
    for (name, axes, written, optional), array in zip(kernel.arguments, values, strict=True):
        if array is None and optional:
            continue
        if type(array) is not ndarray:
            wrong(TypeError, kernel.name, name, "a numpy.ndarray", type_name(array))
        if dtype is None:
            dtype, shape = array.dtype, array.shape
            if dtype not in FLOATS:
                wrong(TypeError, kernel.name, name, "dtype float32 or float64", f"dtype {dtype}")
        elif array.dtype != dtype:
            first = kernel.arguments[0].name
            wrong(TypeError, kernel.name, name, f"dtype {dtype} (that of {first!r})", f"dtype {array.dtype}")
        layout(kernel.name, name, array, written)
        if axes is not None:
            _check_shape(kernel.name, name, axes, array.shape, sizes)
        elif array.shape != shape:
            wrong(ValueError, kernel.name, name, f"shape {shape}", f"shape {array.shape}")
    return sizes


def layout(kernel: str, name: str, array: Array, written: bool) -> None:
    flags = array.flags
    if flags.carray:  # contiguous, aligned and writable: nothing to find
        return
    if not (flags.c_contiguous and flags.aligned):
        wrong(ValueError, kernel, name, "a C-contiguous, aligned array", f"strides {array.strides}")
    if written:
        wrong(ValueError, kernel, name, "a writable array", "a read-only one")


def _check_shape(kernel: str, name: str, axes: tuple[str, ...], shape: tuple[int, ...], sizes: dict[str, int]) -> None:
    """Hold `shape` against the axes seen so far and add the new ones to `sizes`."""
    if len(shape) == len(axes):
        for axis, size in zip(axes, shape, strict=True):
            if (size == 0 and axis not in _MAY_BE_EMPTY) or sizes.setdefault(axis, size) != size:
                break
        else:
            return
    expected = ", ".join(f"{axis}={sizes[axis]}" if axis in sizes else axis for axis in axes)
    note = " without an empty axis" if 0 in shape else ""
    wrong(ValueError, kernel, name, f"shape ({expected}){note}", f"shape {shape}")


def _check_memory(kernel: Signature, values: tuple[Any, ...]) -> None:
    for i, j in kernel.apart:
        a, b = values[i], values[j]
        if a is not None and b is not None and shares_memory(a, b):
            _overlap(kernel, i, j, "")
    for i, j in kernel.in_place:
        a, b = values[i], values[j]
        if a is not b and shares_memory(a, b) and a.__array_interface__["data"] != b.__array_interface__["data"]:
            _overlap(kernel, i, j, ", or the very same array")


def _overlap(kernel: Signature, i: int, j: int, same: str) -> NoReturn:
    names = kernel.arguments[i].name, kernel.arguments[j].name
    wrong(ValueError, kernel.name, names[1], f"memory apart from {names[0]!r}{same}", "overlapping memory")


def wrong(error: type[Exception], kernel: str, name: str, expected: str, got: str) -> NoReturn:
    raise error(f"{kernel}: argument {name!r}: expected {expected}, got {got}")


def type_name(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def number(kernel: str, name: str, value: Any, low: float = -inf, high: float = inf, *, below: bool = False) -> None:
    """Check low <= value <= high (value < high with `below`); the negated comparisons refuse a NaN."""
    if type(value) is not float and (isinstance(value, bool) or not isinstance(value, int | float)):
        wrong(TypeError, kernel, name, "a Python float", type_name(value))
    if not (low <= value < high if below else low <= value <= high) or not isfinite(value):
        limits = "finite" if high == inf else f"{'<' if below else '<='} {high}"
        wrong(ValueError, kernel, name, f"a number >= {low}, {limits}" if low > -inf else "a finite number", str(value))


def integer(kernel: str, name: str, value: Any, low: int, bits: int = 63) -> None:
    if type(value) is not int and (isinstance(value, bool) or not isinstance(value, int | np.integer)):
        wrong(TypeError, kernel, name, "an int", type_name(value))
    if not low <= value < 2**bits:
        wrong(ValueError, kernel, name, f"an int >= {low}, < 2**{bits}", str(value))


def scalar(kernel: str, name: str, value: Any) -> None:
    """Check the type only: a factor that comes from a diverged run may well be infinite or NaN."""
    if type(value) is not float and (isinstance(value, bool) or not isinstance(value, int | float)):
        wrong(TypeError, kernel, name, "a Python float", type_name(value))

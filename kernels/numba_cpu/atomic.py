"""What threads need of each other, for compiled code: memory that all see in one order, a clock, a pause, a nap.

Addresses are int64, in bytes, of int64 words. All of these work without Python and without its lock.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .simd import intrinsic

_I64, _I32, _VOID = ir.IntType(64), ir.IntType(32), ir.VoidType()


def _primitive(result: Any, emit: Callable[..., Any], count: int) -> Any:
    """Make a function of `count` int64 arguments of `emit(builder, *values)`."""

    def typing(typing_context: Any, *given: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            value = emit(builder, *values)
            return context.get_dummy_value() if result == types.void else value

        return result(*[types.int64] * count), generate

    names = ["typing_context", *[f"a{i}" for i in range(count)]]
    typing.__signature__ = Signature(  # type: ignore[attr-defined]  # Numba asks how many arguments there are
        [Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in names]
    )
    return intrinsic(typing)


def _word(b: Any, address: Any) -> Any:
    return b.inttoptr(address, _I64.as_pointer())


def _claim(b: Any, address: Any, seen: Any) -> Any:
    pair = b.cmpxchg(_word(b, address), seen, b.add(seen, _I64(1)), "acq_rel", "acquire")
    return b.extract_value(pair, 1)


def _call_function(b: Any, function: Any, arguments: Any, task: Any, scratch: Any) -> Any:
    return b.call(b.inttoptr(function, ir.FunctionType(_VOID, [_I64] * 3).as_pointer()), [arguments, task, scratch])


def _external(name: str, result: Any, *arguments: Any) -> Callable[[Any], Any]:
    def emit(b: Any) -> Any:
        kind = ir.FunctionType(result, [a.type for a in arguments])
        return b.call(cgutils.get_or_insert_function(b.module, kind, name), arguments)

    return emit


# read(address); write(address, value); add(address, value) returns what was there before.
read = _primitive(types.int64, lambda b, at: b.load_atomic(_word(b, at), "acquire", 8), 1)
write = _primitive(types.void, lambda b, at, value: b.store_atomic(value, _word(b, at), "seq_cst", 8), 2)
add = _primitive(types.int64, lambda b, at, value: b.atomic_rmw("add", _word(b, at), value, "seq_cst"), 2)
# claim(address, seen): if there still is what was seen, add 1 to it and return True, all in one piece.
claim = _primitive(types.boolean, _claim, 2)
# call_function(function, a, b, c) calls the function at an address.
call_function = _primitive(types.void, _call_function, 4)
# ticks(): a clock of the CPU, some nanoseconds or less apart. relax(): for the body of a loop that waits.
ticks = _primitive(types.int64, _external("llvm.readcyclecounter", _I64), 0)
if platform.machine().lower() in ("x86_64", "amd64"):
    relax = _primitive(types.void, _external("llvm.x86.sse2.pause", _VOID), 0)
else:
    relax = _primitive(types.void, _external("llvm.aarch64.hint", _VOID, _I32(1)), 0)
# nap(): let another thread have the CPU for a moment.
if os.name == "nt":
    nap = _primitive(types.void, _external("Sleep", _VOID, _I32(1)), 0)
else:
    nap = _primitive(types.void, _external("usleep", _I32, _I32(20)), 0)

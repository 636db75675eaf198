"""What threads need of each other, for compiled code: memory that all see in one order, a clock, a pause, a nap.

Addresses are int64, in bytes, of int64 words. All of these work without Python and without its lock.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .simd import caller, primitive

_I64, _I32, _VOID = ir.IntType(64), ir.IntType(32), ir.VoidType()
_INT, _NONE = types.int64, types.void


def _word(b: Any, address: Any) -> Any:
    return b.inttoptr(address, _I64.as_pointer())


def _claim(b: Any, address: Any, seen: Any) -> Any:
    pair = b.cmpxchg(_word(b, address), seen, b.add(seen, _I64(1)), "acq_rel", "acquire")
    return b.extract_value(pair, 1)


def _external(name: str, result: Any, *arguments: Any) -> Callable[[Any], Any]:
    def emit(b: Any) -> Any:
        kind = ir.FunctionType(result, [a.type for a in arguments])
        return b.call(cgutils.get_or_insert_function(b.module, kind, name), arguments)

    return emit


# read(address); write(address, value); add(address, value) returns what was there before.
read = primitive(_INT(_INT), lambda b, at: b.load_atomic(_word(b, at), "acquire", 8))
write = primitive(_NONE(_INT, _INT), lambda b, at, value: b.store_atomic(value, _word(b, at), "seq_cst", 8))
add = primitive(_INT(_INT, _INT), lambda b, at, value: b.atomic_rmw("add", _word(b, at), value, "seq_cst"))
# claim(address, seen): if there still is what was seen, add 1 to it and return True, all in one piece.
claim = primitive(types.boolean(_INT, _INT), _claim)
# call_function(function, a, b, c) calls the function at an address.
call_function = caller(_NONE(_INT, _INT, _INT))
# ticks(): a clock of the CPU, some nanoseconds or less apart. relax(): for the body of a loop that waits.
ticks = primitive(_INT(), _external("llvm.readcyclecounter", _I64))
if platform.machine().lower() in ("x86_64", "amd64"):
    relax = primitive(_NONE(), _external("llvm.x86.sse2.pause", _VOID))
else:
    relax = primitive(_NONE(), _external("llvm.aarch64.hint", _VOID, _I32(1)))
# nap(): let another thread have the CPU for a moment.
if os.name == "nt":
    nap = primitive(_NONE(), _external("Sleep", _VOID, _I32(1)))
else:
    nap = primitive(_NONE(), _external("usleep", _I32, _I32(20)))

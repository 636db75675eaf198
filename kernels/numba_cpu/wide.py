"""What micro-kernels over whole vectors share: the loop over any length, float64 beside float32, exact constants.

A vector of float64 here has as many lanes as one of float32, so that a value and its wider form stand in the same lane;
LLVM puts it into two registers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from .simd import BYTES, LANES, Emitter, Value

F32, F64 = ir.VectorType(ir.FloatType(), LANES), ir.VectorType(ir.DoubleType(), LANES)
I32, I64 = ir.VectorType(ir.IntType(32), LANES), ir.VectorType(ir.IntType(64), LANES)


def each_vector(e: Emitter, n: Value, body: Callable[[Value, Value | None], None]) -> None:
    """Emit body(offset in bytes, mask) for the vectors of n float32: without a mask, and once for the rest."""
    fold(e, n, [], lambda at, inside: body(at, inside))


def fold(e: Emitter, n: Value, carried: Sequence[Value], body: Callable[..., Any]) -> list[Value]:
    """Emit body(offset in bytes, mask, *carried) -> new carried for the vectors of n float32; return the last ones."""
    full = n // LANES
    rest = n - full * LANES
    carried = e.loop(full, carried, lambda i, *values: body(i * BYTES, None, *values))
    return e.loop((rest + (LANES - 1)) // LANES, carried, lambda _, *values: body(full * BYTES, e.first(rest), *values))


def sum_lanes(e: Emitter, a: Value) -> Value:
    """Return the sum of the lanes, halves on halves, as a scalar."""
    return _combine_lanes(e, a, lambda x, y: x + y)


def max_lanes(e: Emitter, a: Value) -> Value:
    """Return the largest lane, one that is not NaN if there is any, as a scalar."""
    return _combine_lanes(e, a, lambda x, y: e.where(x < y, y, x))


def _combine_lanes(e: Emitter, a: Value, combine: Callable[[Value, Value], Value]) -> Value:
    half = LANES // 2
    while half:
        lanes = [(lane + half) % LANES for lane in range(LANES)]
        a = combine(a, Value(e, e.b.shuffle_vector(a.v, a.v, ir.Constant(I32, lanes))))
        half //= 2
    return Value(e, e.b.extract_element(a.v, ir.IntType(32)(0)))


def load_doubles(e: Emitter, address: Value) -> Value:
    """Return the vector of float64 at `address`."""
    return e._load(address, F64)


def double(e: Emitter, a: Value) -> Value:
    """Return float32 or int32 as float64."""
    whole = isinstance(a.v.type.element, ir.IntType)
    return Value(e, e.b.sitofp(a.v, F64) if whole else e.b.fpext(a.v, F64))


def single(e: Emitter, a: Value) -> Value:
    """Return float64 rounded to float32."""
    return Value(e, e.b.fptrunc(a.v, F32))


def doubles(e: Emitter, number: float) -> Value:
    return Value(e, ir.Constant(F64, [float(number)] * LANES))


def real(e: Emitter, whole: Value) -> Value:
    """Return an int64 as float64."""
    return Value(e, e.b.sitofp(whole.v, F64.element))


def square_root(e: Emitter, a: Value) -> Value:
    """Return the square root of one float64."""
    return Value(e, e._call("llvm.sqrt.f64", F64.element, a.v))


def rounded(e: Emitter, a: Value) -> Value:
    """Return one float64 as float32."""
    return Value(e, e.b.fptrunc(a.v, F32.element))


def widened(e: Emitter, a: Value) -> Value:
    """Return one float32 as float64."""
    return Value(e, e.b.fpext(a.v, F64.element))


def halves(e: Emitter, scalar: Value) -> tuple[Value, Value]:
    """Return high and low of a float64 as float32: their sum is off by 2^-48 of it at most."""
    high = e.b.fptrunc(scalar.v, ir.FloatType())
    low = e.b.fptrunc(e.b.fsub(scalar.v, e.b.fpext(high, ir.DoubleType())), ir.FloatType())
    return e.splat(Value(e, high)), e.splat(Value(e, low))


def finite_or_zero(e: Emitter, a: Value) -> Value:
    return e.where((a - a).equals(0.0), a, Value(e, ir.Constant(a.v.type, None)))


def bits(e: Emitter, a: Value, kind: Any) -> Value:
    """Return the bits of a vector as those of another type."""
    return Value(e, e.b.bitcast(a.v, kind))

"""Explicit SIMD for Numba: write a micro-kernel as Python that emits the vector instructions it wants.

Numba vectorizes loops by itself, but does not keep a tile of accumulators in registers. `@emit` does what is asked:
the body runs once, at compile time; its values stand for registers; a list of values is a row of a register tile, a
Python loop over it is unrolled code, and only `e.loop` is a loop at run time::

    @emit
    def add_rows(e, x, y, n):                       # x, y addresses of n vectors of float32
        def body(i):
            at = 4 * e.lanes * i
            e.store(e.load(x + at) + e.load(y + at), y + at)
        e.loop(n, [], body)

    @njit
    def f(x, y):
        add_rows(x.ctypes.data, y.ctypes.data, x.size // LANES)

Arguments are int64 (addresses in bytes and counts; `x + 64` is 64 bytes on) unless annotated `Real` (then float64). A
parameter annotated `int` is a constant of the kernel, known when the body runs. A vector has as many float32 lanes as
a register of the CPU that Numba compiles for: 16 with AVX-512, 8 with AVX, else 4 (SSE, NEON); code that counts in
`lanes` is right for all.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

_F32, _F64 = ir.FloatType(), ir.DoubleType()
_I64, _I32, _I8, _I1 = (ir.IntType(bits) for bits in (64, 32, 8, 1))
_, CPU_NAME, _FEATURES = cpu_target.target_context.codegen().magic_tuple()  # or NUMBA_CPU_NAME and NUMBA_CPU_FEATURES
_HAS = set(_FEATURES.split(","))

LANES = 16 if "+avx512f" in _HAS else 8 if "+avx" in _HAS else 4
REGISTERS = 32 if LANES == 16 or "+neon" in _HAS else 16
BYTES = 4 * LANES
FUSED = bool(_HAS & {"+fma", "+neon"})  # whether `fma` is one instruction that rounds once


class Value:
    """A register: a vector of float32 (or the mask or integers of one), a float, or an int64. Python's operators work.

    The other operand may be a number: it becomes a constant of the same type.
    """

    __slots__ = ("_e", "v")

    def __init__(self, e: Emitter, v: Any) -> None:
        self._e, self.v = e, v

    def _with(self, other: Any) -> Any:
        if isinstance(other, Value):
            return other.v
        kind = self.v.type
        return ir.Constant(kind, [other] * kind.count if isinstance(kind, ir.VectorType) else other)

    @property
    def _real(self) -> bool:
        kind = self.v.type
        return isinstance(kind.element if isinstance(kind, ir.VectorType) else kind, ir.FloatType | ir.DoubleType)

    def _binary(self, other: Any, real: str, whole: str, swap: bool = False) -> Value:
        a, b = self.v, self._with(other)
        return Value(self._e, getattr(self._e.b, real if self._real else whole)(*((b, a) if swap else (a, b))))

    def __add__(self, other: Any) -> Value:
        return self if isinstance(other, int) and other == 0 else self._binary(other, "fadd", "add")

    __radd__ = __add__

    def __sub__(self, other: Any) -> Value:
        return self._binary(other, "fsub", "sub")

    def __rsub__(self, other: Any) -> Value:
        return self._binary(other, "fsub", "sub", swap=True)

    def __mul__(self, other: Any) -> Value:
        return self._binary(other, "fmul", "mul")

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Value:
        return self._binary(other, "fdiv", "sdiv")

    def __rtruediv__(self, other: Any) -> Value:
        return self._binary(other, "fdiv", "sdiv", swap=True)

    __floordiv__ = __truediv__  # of integers, towards zero

    def __and__(self, other: Any) -> Value:
        return Value(self._e, self._e.b.and_(self.v, self._with(other)))

    def __or__(self, other: Any) -> Value:
        return Value(self._e, self._e.b.or_(self.v, self._with(other)))

    def _compare(self, sign: str, other: Any) -> Value:
        compare = self._e.b.fcmp_ordered if self._real else self._e.b.icmp_signed
        return Value(self._e, compare(sign, self.v, self._with(other)))  # false where an operand is NaN

    def __lt__(self, other: Any) -> Value:
        return self._compare("<", other)

    def __le__(self, other: Any) -> Value:
        return self._compare("<=", other)

    def __gt__(self, other: Any) -> Value:
        return self._compare(">", other)

    def equals(self, other: Any) -> Value:
        return self._compare("==", other)

    def is_nan(self) -> Value:
        return Value(self._e, self._e.b.fcmp_unordered("uno", self.v, self.v))


class Real(Value):
    """A float64 that a micro-kernel is given as an argument; `e.splat` makes a vector of float32 of it."""

    __slots__ = ()


class Emitter:
    """What a micro-kernel can ask for. Offsets and addresses are in bytes; loads and stores need no alignment."""

    lanes = LANES

    def __init__(self, builder: Any) -> None:
        self.b = builder

    # memory

    def load(self, address: Value, mask: Value | None = None) -> Value:
        """Return the vector of float32 at `address`; lanes outside of `mask` are 0 and not touched."""
        return self._load(address, ir.VectorType(_F32, LANES), mask)

    def store(self, value: Value, address: Value, mask: Value | None = None) -> None:
        kind = value.v.type
        if mask is None:
            self.b.store(value.v, self._pointer(address, kind)).align = _align(kind)
            return
        name = f"llvm.masked.store.v{kind.count}{_name(kind.element)}.p0"
        self._call(name, ir.VoidType(), value.v, self._pointer(address, kind), _I32(_align(kind)), mask.v)

    def load_float(self, address: Value) -> Value:
        return self._load(address, _F32)

    def load_int(self, address: Value) -> Value:
        return self._load(address, _I64)

    def broadcast(self, address: Value) -> Value:
        """Return a vector full of the float32 at `address`; AVX-512 folds it into the instruction that uses it."""
        return self.splat(self.load_float(address))

    def prefetch(self, address: Value) -> None:
        """Have the line at `address` brought into the cache, to be read."""
        self._call("llvm.prefetch.p0", ir.VoidType(), self._pointer(address, _I8), _I32(0), _I32(3), _I32(1))

    def _pointer(self, address: Value, kind: Any) -> Any:
        return self.b.inttoptr(address.v, kind.as_pointer())

    def _load(self, address: Value, kind: Any, mask: Value | None = None) -> Value:
        if mask is None:
            loaded = self.b.load(self._pointer(address, kind))
            loaded.align = _align(kind)
            return Value(self, loaded)
        zero = ir.Constant(kind, [0] * kind.count)
        name = f"llvm.masked.load.v{kind.count}{_name(kind.element)}.p0"
        return Value(self, self._call(name, kind, self._pointer(address, kind), _I32(_align(kind)), mask.v, zero))

    # values

    def vector(self, number: float) -> Value:
        return Value(self, ir.Constant(ir.VectorType(_F32, LANES), [float(number)] * LANES))

    def ints(self, number: int) -> Value:
        return Value(self, ir.Constant(ir.VectorType(_I32, LANES), [number] * LANES))

    def whole(self, number: int) -> Value:
        return Value(self, _I64(number))

    def splat(self, scalar: Value) -> Value:
        """Return a vector full of a float32 or int32 scalar; a float64 is rounded to float32, an int64 cut to int32."""
        v = scalar.v
        v = self.b.fptrunc(v, _F32) if v.type == _F64 else self.b.trunc(v, _I32) if v.type == _I64 else v
        return self.fill(Value(self, v))

    def fill(self, scalar: Value) -> Value:
        """Return a vector full of a scalar of any type, as it is."""
        undefined = ir.Constant(ir.VectorType(scalar.v.type, LANES), ir.Undefined)
        one = self.b.insert_element(undefined, scalar.v, _I32(0))
        return Value(self, self.b.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES)))

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        """Return a b + c, rounded once where the CPU has the instruction (all with AVX2, AVX-512 or NEON)."""
        kind = a.v.type
        return Value(self, self._call(f"llvm.fmuladd.v{kind.count}{_name(kind.element)}", kind, a.v, b.v, c.v))

    def sqrt(self, a: Value) -> Value:
        """Return the square root, correctly rounded."""
        kind = a.v.type
        return Value(self, self._call(f"llvm.sqrt.v{kind.count}{_name(kind.element)}", kind, a.v))

    def where(self, mask: Value, a: Value, b: Value) -> Value:
        return Value(self, self.b.select(mask.v, a.v, b.v))

    def min(self, a: Value, b: int) -> Value:
        """Return the smaller of an int64 and a constant."""
        return self.where(a < b, a, self.whole(b))

    def first(self, count: Value) -> Value:
        """Return the mask of the first `count` lanes."""
        lane = ir.Constant(ir.VectorType(_I32, LANES), list(range(LANES)))
        return Value(self, lane) < self.splat(count)

    def past(self, count: int) -> Value:
        """Return the mask of all lanes but the first `count`."""
        return Value(self, ir.Constant(ir.VectorType(_I1, LANES), [lane >= count for lane in range(LANES)]))

    def all_if(self, condition: Value) -> Value:
        """Return the mask of all lanes or of none."""
        return self.fill(condition)

    def sum(self, vectors: Sequence[Value]) -> Value:
        """Return the vector whose lane i is the sum of the lanes of vectors[i], for `lanes` vectors."""
        rows, half = list(vectors), LANES // 2
        while half:
            rows = [self._pick(a, b, half, 0) + self._pick(a, b, half, 1)
                    for a, b in zip(rows[:half], rows[half : 2 * half], strict=True)]
            half //= 2
        return rows[0]

    def transpose(self, vectors: Sequence[Value]) -> list[Value]:
        """Return the columns of a matrix of `lanes` rows as vectors."""
        rows, half = list(vectors), LANES // 2
        while half:
            for i in range(LANES):
                if not i & half:
                    a, b = rows[i], rows[i + half]
                    rows[i], rows[i + half] = self._pick(a, b, half, 0), self._pick(a, b, half, 1)
            half //= 2
        return rows

    def _pick(self, a: Value, b: Value, half: int, odd: int) -> Value:
        """Return every other block of `half` lanes, the even ones or the odd ones, of a and of b, interleaved."""
        lanes = [(lane & ~half | half * odd) + (LANES if lane & half else 0) for lane in range(LANES)]
        return Value(self, self.b.shuffle_vector(a.v, b.v, ir.Constant(ir.VectorType(_I32, LANES), lanes)))

    def _call(self, name: str, result: Any, *arguments: Any) -> Any:
        kind = ir.FunctionType(result, [a.type for a in arguments])
        return self.b.call(cgutils.get_or_insert_function(self.b.module, kind, name), arguments)

    # control

    def loop(self, count: Value | int, carried: Sequence[Value], body: Callable[..., Any]) -> list[Value]:
        """Run `body(i, *carried) -> new carried` for i = 0 .. count - 1 and return the last ones; count may be 0."""
        b, many = self.b, (_I64(count) if isinstance(count, int) else count.v)
        before, start, end = b.block, b.append_basic_block("loop"), b.append_basic_block("end")
        b.cbranch(b.icmp_signed(">", many, _I64(0)), start, end)
        b.position_at_end(start)
        i = b.phi(_I64)
        i.add_incoming(_I64(0), before)
        inside = [b.phi(value.v.type) for value in carried]
        for phi, value in zip(inside, carried, strict=True):
            phi.add_incoming(value.v, before)
        new = list(body(Value(self, i), *[Value(self, phi) for phi in inside]) or [])
        after, following = b.block, b.add(i, _I64(1))  # the body may have loops of its own: not the block it began in
        for phi, last in zip([i, *inside], [following, *[value.v for value in new]], strict=True):
            phi.add_incoming(last, after)
        b.cbranch(b.icmp_signed("<", following, many), start, end)
        b.position_at_end(end)
        results = []
        for value, last in zip(carried, new, strict=True):
            phi = b.phi(value.v.type)
            phi.add_incoming(value.v, before)
            phi.add_incoming(last.v, after)
            results.append(Value(self, phi))
        return results


def primitive(signature: Any, emit: Callable[..., Any]) -> Any:
    """Make a function that Numba-compiled code can call of `emit(builder, *values)`, which returns an LLVM value."""
    def typing(typing_context: Any, *given: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            value = emit(builder, *values)
            return context.get_dummy_value() if signature.return_type == types.void else value

        return signature, generate

    return intrinsic(_with_parameters(typing, [f"a{i}" for i in range(len(signature.args))]))


def caller(signature: Any) -> Any:
    """Make a function `call(address, *arguments)` for compiled code; `signature` is that of what it finds there."""
    def emit(builder: Any, address: Any, *values: Any) -> None:
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
        builder.call(builder.inttoptr(address, kind.as_pointer()), values)

    return primitive(types.void(types.int64, *signature.args), emit)


def _with_parameters(typing: Callable[..., Any], names: Sequence[str]) -> Any:
    """Give `typing(typing_context, *given)` the parameters that Numba is to bind a call to."""
    function: Any = typing
    function.__signature__ = inspect.Signature(
        [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in ("typing_context", *names)])
    return function


def emit(body: Callable[..., None]) -> Any:
    """Make a function that Numba-compiled code can call of `body(e, ...)`, which emits its instructions.

    Constants (parameters annotated `int`) are literals in the call, or variables that the calling function closes over.
    """
    parameters = list(inspect.signature(body, eval_str=True).parameters.values())[1:]
    constant = [p.annotation is int for p in parameters]
    kinds = [types.float64 if p.annotation is Real else types.int64 for p in parameters]

    def typing(typing_context: Any, *given: Any) -> Any:
        if any(c and not isinstance(g, types.IntegerLiteral) for c, g in zip(constant, given, strict=True)):
            return None  # Numba asks again, with literals
        signature = types.void(*[g if c else kind for c, g, kind in zip(constant, given, kinds, strict=True)])

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            e = Emitter(builder)
            body(e, *[g.literal_value if c else (Real if kind is types.float64 else Value)(e, a)
                      for c, g, kind, a in zip(constant, given, kinds, arguments, strict=True)])
            return context.get_dummy_value()

        return signature, generate

    typing.__name__, typing.__doc__ = body.__name__, body.__doc__
    return intrinsic(prefer_literal=True)(_with_parameters(typing, [p.name for p in parameters]))


def _align(kind: Any) -> int:
    element = kind.element if isinstance(kind, ir.VectorType) else kind
    return {_F32: 4, _F64: 8, _I64: 8, _I32: 4, _I8: 1}[element]


def _name(kind: Any) -> str:
    return {_F32: "f32", _F64: "f64", _I64: "i64", _I32: "i32", _I8: "i8"}[kind]

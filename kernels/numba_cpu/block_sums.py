"""The micro-kernel of sparse gradients: sums of blocks of memory, each with a factor, that stay in registers.

    out[r, j] += sum over i < count of factors[i] (base + offsets[i])[r, j]

A block has some lines (of a patch of an image, or of a filter) of values side by side. Each costs one load and one
multiply-add a vector, whatever it is that was left out of the list.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir
from numba import cfunc, njit, types

from .convolve import SUMS
from .program import blocks
from .simd import BYTES, LANES, Emitter, Value, caller, emit

_SIGNATURE = types.void(*[types.int64] * 8)
_I32, _I64 = ir.IntType(32), ir.IntType(64)


@emit
def _sum_blocks(
    e: Emitter, lines: int, vectors: int, masked: int, offsets: Value, factors: Value, count: Value, base: Value,
    line: Value, out: Value, out_line: Value, columns: Value,
) -> None:  # fmt: skip
    inside = [None] * (vectors - 1) + [e.first(columns - LANES * (vectors - 1)) if masked else None]
    places = [(r, j) for r in range(lines) for j in range(vectors)]

    def add_block(i: Value, *sums: Value) -> list[Value]:
        block, factor = base + load_offset(e, offsets + i * 4), e.broadcast(factors + i * 4)
        return [e.fma(factor, e.load(block + line * r + BYTES * j, inside[j]), one)
                for (r, j), one in zip(places, sums, strict=True)]

    sums = [e.load(out + out_line * r + BYTES * j, inside[j]) for r, j in places]
    for (r, j), one in zip(places, e.loop(count, sums, add_block), strict=True):
        e.store(one, out + out_line * r + BYTES * j, inside[j])


def load_offset(e: Emitter, address: Value) -> Value:
    """Return the int32 at `address` as int64."""
    return Value(e, e.b.sext(e._load(address, _I32).v, _I64))


@cache
def sum_blocks(lines: int, vectors: int, masked: bool) -> Any:
    """Return the compiled out[r, j] += sum over i < count of factors[i] (base + offsets[i])[r, j]."""
    L, V, M = lines, vectors, int(masked)

    def compiled(
        offsets: int, factors: int, count: int, base: int, line: int, out: int, out_line: int, columns: int
    ) -> None:
        _sum_blocks(L, V, M, offsets, factors, count, base, line, out, out_line, columns)

    return cfunc(_SIGNATURE, cache=True)(compiled)


_call_sum_blocks = caller(_SIGNATURE)


def pieces(lines: int, values: int) -> tuple[int, int, int, int]:
    """Return how many vectors of each line a call of `sum_blocks` has, the number of calls, and two addresses.

    The first is for all pieces but the last, the second for the last.
    """
    wide = -(-values // LANES)
    count, vectors = blocks(wide, max(1, SUMS // lines))
    last = wide - vectors * (count - 1)
    return (vectors, count, sum_blocks(lines, vectors, False).address if count > 1 else 0,
            sum_blocks(lines, last, values % LANES > 0).address)  # fmt: skip


@njit(cache=True, nogil=True)
def sum_all(
    vectors: int, count: int, inner: int, last: int, offsets: int, factors: int, many: int, base: int, line: int,
    out: int, out_line: int, values: int,
) -> None:  # fmt: skip
    for piece in range(count):
        at = piece * vectors * BYTES
        _call_sum_blocks(last if piece == count - 1 else inner, offsets, factors, many, base + at, line, out + at,
                        out_line, values - piece * vectors * LANES)

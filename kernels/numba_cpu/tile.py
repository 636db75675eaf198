"""The one micro-kernel under every matrix product and convolution: a tile of the result that stays in registers.

    c[i, j] = max(floor, start[i, j] + sum over o < outer, k < inner of a[i, o, k] b[o, k, j])

for i < rows and j < some vectors of columns. For each (o, k) it loads the vectors of b, and for each row broadcasts one
value of a, multiplies and adds: rows x vectors multiply-adds for rows + vectors loads. That is what makes it fast: 24
to 28 sums in the 32 registers of AVX-512 (12 in the 16 of AVX2) keep the multipliers busy while each waits for the one
before it.

Where a row of `a` lies is free: `row` bytes between rows, `step` between values, `jump` more after each `inner` of
them. So the same tile is a dense layer (outer = 1), its two gradients (a transposed by its strides), a convolution (the
values under a row of the filter lie side by side; `jump` leads to the next row of the image) and the gradient of its
filters. The plain form of it, and its test, is three loops in NumPy: tests/kernels/test_numba_tile.py.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from numba import cfunc, types

from .simd import BYTES, LANES, Emitter, Real, Value, caller, emit

_SIGNATURE = types.void(*[types.int64] * 13, types.float64)


@emit
def _tile(
    e: Emitter, rows: int, vectors: int, masked: int, a: Value, row: Value, step: Value, jump: Value, b: Value,
    b_row: Value, c: Value, c_row: Value, start: Value, start_row: Value, outer: Value, inner: Value, columns: Value,
    floor: Real,
) -> None:  # fmt: skip
    inside = [None] * (vectors - 1) + [e.first(columns - LANES * (vectors - 1)) if masked else None]

    def load_row(address: Value) -> list[Value]:
        return [e.load(address + BYTES * j, inside[j]) for j in range(vectors)]

    def add_products(_: Value, a: Value, b: Value, *sums: Value) -> list[Value]:
        wide = load_row(b)
        new = []
        for i in range(rows):
            one = e.broadcast(a + row * i)
            new += [e.fma(one, wide[j], sums[i * vectors + j]) for j in range(vectors)]
        return [a + step, b + b_row, *new]

    def add_runs(_: Value, a: Value, b: Value, *sums: Value) -> list[Value]:
        a, b, *new = e.loop(inner, [a, b, *sums], add_products)
        return [a + jump, b, *new]

    sums = [value for i in range(rows) for value in load_row(start + start_row * i)]
    _, _, *sums = e.loop(outer, [a, b, *sums], add_runs)
    least = e.splat(floor)
    for i in range(rows):
        for j in range(vectors):
            value = sums[i * vectors + j]
            value = e.where(value <= least, least, value)  # a NaN is not below anything and stays
            e.store(value, c + c_row * i + BYTES * j, inside[j])


@cache
def tile(rows: int, vectors: int, masked: bool) -> Any:
    """Return the compiled tile of this size; masked: of its last vector, only `columns - LANES (vectors - 1)` lanes."""
    R, V, M = rows, vectors, int(masked)

    def compiled(
        a: int, row: int, step: int, jump: int, b: int, b_row: int, c: int, c_row: int, start: int, start_row: int,
        outer: int, inner: int, columns: int, floor: float,
    ) -> None:  # fmt: skip
        _tile(R, V, M, a, row, step, jump, b, b_row, c, c_row, start, start_row, outer, inner, columns, floor)

    return cfunc(_SIGNATURE, cache=True)(compiled)


call_tile = caller(_SIGNATURE)  # call_tile(address, a, row, ..., floor)

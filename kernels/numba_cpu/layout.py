"""Moving float32 about: copy a line, clear it, transpose a matrix. All by addresses and bytes; nothing past the end."""

from __future__ import annotations

from numba import njit

from .simd import BYTES, LANES, Emitter, Value, emit


@njit(cache=True, nogil=True)
def copy(source: int, to: int, values: int) -> None:
    """to[i] = source[i]."""
    _copy(source, to, (values - 1) // LANES, values)


@njit(cache=True, nogil=True)
def clear(to: int, values: int) -> None:
    """to[i] = 0."""
    _clear(to, (values - 1) // LANES, values)


@njit(cache=True, nogil=True)
def transpose(a: int, a_row: int, rows: int, columns: int, to: int, to_row: int) -> None:
    """to[j, i] = a[i, j], in blocks of LANES x LANES; lines of `to` are filled with zeros to the next full vector."""
    for i in range(0, rows, LANES):
        for j in range(0, columns, LANES):
            _transpose_block(a + i * a_row + 4 * j, a_row, rows - i, columns - j, to + j * to_row + 4 * i, to_row)


@emit
def _copy(e: Emitter, source: Value, to: Value, full: Value, values: Value) -> None:
    e.loop(full, [], lambda j: e.store(e.load(source + j * BYTES), to + j * BYTES))
    rest, at = e.first(values - full * LANES), full * BYTES
    e.store(e.load(source + at, rest), to + at, rest)


@emit
def _clear(e: Emitter, to: Value, full: Value, values: Value) -> None:
    e.loop(full, [], lambda j: e.store(e.vector(0), to + j * BYTES))
    e.store(e.vector(0), to + full * BYTES, e.first(values - full * LANES))


@emit
def _transpose_block(e: Emitter, a: Value, a_row: Value, rows: Value, columns: Value, to: Value, to_row: Value) -> None:
    inside = e.first(columns)
    lines = [e.load(a + a_row * i, inside & e.all_if(rows > i)) for i in range(LANES)]
    for j, line in enumerate(e.transpose(lines)):
        e.store(line, to + to_row * j, e.all_if(columns > j))

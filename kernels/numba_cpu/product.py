"""Matrix products c = a b + start over the threads: panels of columns times groups of row tiles.

A task multiplies some row tiles of `a` by one panel of `b`, a few vectors wide. Where many row tiles use a panel it is
first copied (packed) to the task's scratch, so that its rows lie side by side: read in place, rows that are a power of
two apart fall into the same few places of the cache and push each other out. A long sum is cut into pieces of K_BLOCK
terms for the same reason; the tile goes on from what it stored. The order of additions depends on the shapes alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ..contract import Array
from .program import Call, as_float, blocks, call, kernel
from .simd import BYTES, LANES, REGISTERS, Emitter, Real, Value, emit
from .tile import call_tile, tile

K_BLOCK = 512
FEW_ROWS = 8  # up to here the time goes into reading b once, row by row as it lies
_ZEROS = np.zeros(8 * LANES, np.float32)
IN_PLACE, ROWS, COLUMNS = range(3)  # how a task reads b: as it lies, packed, or packed from its transpose


def shape_of_tile(m: int, n: int) -> tuple[int, int]:
    """Return the rows and vectors of the tile for a product with m rows and n columns.

    As square as the registers allow, because that takes the fewest loads: 6 x 4 of AVX-512's 32 registers, 6 x 2 of 16;
    but flat for few rows and high for few columns.
    """
    wide = -(-n // LANES)
    if REGISTERS == 16:
        vectors = min(wide, 8 if m == 1 else 4 if m <= 3 else 2)
        return blocks(m, {1: 8, 2: 6, 4: 3, 8: 1}.get(vectors, 3))[1], vectors
    vectors = min(wide, 8 if m <= 3 else 4 if m <= 6 or m > 14 else 2)
    return blocks(m, {1: 14, 2: 12, 3: 8, 4: 6}.get(vectors, 3))[1], vectors


def product(
    a: Any, row: int, step: int, b: Any, b_row: int, c: Any, m: int, n: int, k: int, *, start: Any = None,
    floor: float = -np.inf, transposed: bool = False,
) -> Call:  # fmt: skip
    """Return the instruction c[m, n] = max(floor, a b + start), start a vector of n values or nothing.

    `row` and `step` are the bytes from a[i, k] to a[i + 1, k] and to a[i, k + 1]; `b_row` those of a row of b [k, n],
    or of b [n, k] with `transposed`. c is contiguous. Of m, n, k none is 0.
    """
    if transposed and m <= FEW_ROWS and step == 4:
        assert start is None
        _, each = blocks(n, max(LANES, 2**15 // k // LANES * LANES))
        each = -(-each // LANES) * LANES
        return call(_dots, -(-n // each), a, row, b, b_row, c, m, n, k, each)
    rows, vectors = shape_of_tile(m, n)
    columns = vectors * LANES
    panels, row_tiles = -(-n // columns), -(-m // rows)
    # At least 8 tasks where there is work for them, so that threads end at about the same time.
    groups = min(row_tiles, max(-(-m // 256), -(-8 // panels) if m * n * k > 2**18 else 1))
    groups, tiles_a_task = blocks(row_tiles, -(-row_tiles // groups))
    how = COLUMNS if transposed else ROWS if tiles_a_task > 2 and n > columns else IN_PLACE
    k_block = k if how == IN_PLACE else min(k, K_BLOCK)
    return call(
        _product, groups * panels, a, row, step, b, b_row, c, 4 * n, _ZEROS if start is None else start,
        0 if start is None else 4, m, n, k, panels, tiles_a_task, rows, vectors, k_block, how, float(floor),
        *_tiles(m, n, rows, vectors),
        scratch=0 if how == IN_PLACE else (k_block + LANES) * (columns + tiles_a_task * rows + LANES + LANES) * 4,
    )  # fmt: skip


def _tiles(m: int, n: int, rows: int, vectors: int) -> list[int]:
    """Return the addresses of the tiles for all of a panel, for its last rows, and both for the last panel."""
    columns = vectors * LANES
    last_rows, last_columns = m - rows * (-(-m // rows) - 1), n - columns * (-(-n // columns) - 1)
    return [tile(r, v, masked).address if wanted else 0
            for v, masked, wanted in ((vectors, False, n >= columns),
                                      (-(-last_columns // LANES), True, last_columns < columns))
            for r in (rows, last_rows)]  # fmt: skip


@kernel
def _product(a: Any, task: int, scratch: int) -> None:
    left, row, step, b, b_row, c, c_row = a[0], a[1], a[2], a[3], a[4], a[5], a[6]
    start, start_step, m, n, k, panels, tiles_a_task = a[7], a[8], a[9], a[10], a[11], a[12], a[13]
    rows, vectors, k_block, how, floor = a[14], a[15], a[16], a[17], as_float(a[18])
    if how == COLUMNS:  # the columns of c are rows of b: neighbouring tasks, one thread's share, read the same ones
        groups = -(-m // (tiles_a_task * rows))
        panel, group = task // groups, task % groups
    else:
        group, panel = task // panels, task % panels
    column = panel * vectors * LANES
    columns = min(vectors * LANES, n - column)
    tiles = 19 if columns == vectors * LANES else 21
    first, last = group * tiles_a_task * rows, min(m, (group + 1) * tiles_a_task * rows)
    left_pack, left_row = scratch + (k_block + LANES) * vectors * BYTES, 4 * (last - first) + BYTES
    for k0 in range(0, k, k_block):
        terms = min(k_block, k - k0)
        if how == ROWS:
            pack_rows(b + k0 * b_row + 4 * column, b_row, terms, columns, scratch, vectors * BYTES)
            panel_at, panel_row = scratch, vectors * BYTES
        elif how == COLUMNS:
            pack_columns(b + column * b_row + 4 * k0, b_row, terms, columns, vectors, scratch)
            panel_at, panel_row = scratch, vectors * BYTES
        else:
            panel_at, panel_row = b + 4 * column, b_row
        if how == ROWS and row == 4:
            pack_rows(left + first * row + k0 * step, step, terms, last - first, left_pack, left_row)
            left_at, left_step = left_pack - first * row, left_row
        else:
            left_at, left_step = left + k0 * step, step
        least = floor if k0 + terms == k else -np.inf
        for i in range(first, last, rows):
            at = c + i * c_row + 4 * column
            if k0:
                begin, begin_row = at, c_row
            else:
                begin, begin_row = start + start_step * column, 0
            call_tile(a[tiles + (1 if i + rows > m else 0)], left_at + i * row, row, left_step, 0, panel_at, panel_row,
                      at, c_row, begin, begin_row, 1, terms, columns, least)


def product_by_terms(
    a: Any, row: int, b: Any, c: Array, m: int, n: int, k: int, start: Any, floor: float = -np.inf
) -> list[Call]:
    """Return the instructions of the same c, with a task for some rows of b [k, n] instead of some columns.

    Each writes the products of its terms to memory of its own; a second instruction adds them up, in their order. That
    is more work, but b is read by the thread whose share of the weights these rows are: lines that one core has written
    and another reads cost more where few examples are multiplied with each.
    """
    many, each = blocks(k, max(8, 2**14 // n, -(-k // (16 if m <= FEW_ROWS else 8))))
    parts = np.empty((many, m, n), np.float32)
    rows, vectors = shape_of_tile(m, n)
    columns = vectors * LANES
    packed = m > 2 * rows and columns < n
    tiles = _tiles(m, n, rows, vectors)
    some_rows, block = (m, n) if m > 1 else (-(-n // 1024), 1024)
    return [
        call(_products_of_terms, many, a, row, b, parts, m, n, k, each, rows, vectors, int(packed), _ZEROS, *tiles,
             scratch=4 * each * columns if packed else 0),
        call(_add_parts, some_rows, parts, many, 4 * m * n, start, 4 * (m == 1), c, n, block, float(floor)),
    ]  # fmt: skip


@kernel
def _products_of_terms(a: Any, task: int, scratch: int) -> None:
    left, row, b, parts, m, n, k, each = a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]
    rows, vectors, packed, zeros = a[8], a[9], a[10], a[11]
    first, c = task * each, parts + 4 * task * m * n
    terms, columns = min(each, k - first), vectors * LANES
    for column in range(0, n, columns):
        wide = min(columns, n - column)
        panel_at, panel_row = b + 4 * (first * n + column), 4 * n
        if packed:
            pack_rows(panel_at, panel_row, terms, wide, scratch, vectors * BYTES)
            panel_at, panel_row = scratch, vectors * BYTES
        tiles = 12 if wide == columns else 14
        for i in range(0, m, rows):
            call_tile(a[tiles + (1 if i + rows > m else 0)], left + i * row + 4 * first, row, 4, 0, panel_at, panel_row,
                      c + 4 * (i * n + column), 4 * n, zeros, 0, 1, terms, wide, -np.inf)


@kernel
def _add_parts(a: Any, task: int, scratch: int) -> None:
    """c[i, j] = max(floor, start[j] + parts[0, i, j] + parts[1, i, j] + ...) for a row i, or part of the only one."""
    parts, many, part, start, start_step, c, n, block = a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]
    first = task * block
    count = min(block, n - first) if start_step else n
    _add_part(parts + 4 * first, many, part, start + start_step * first, c + 4 * first, count, as_float(a[8]))


@emit
def _add_part(
    e: Emitter, parts: Value, many: Value, part: Value, start: Value, c: Value, count: Value, floor: Real
) -> None:
    least = e.splat(floor)

    def add_up(j: Value) -> None:
        at, inside = j * BYTES, e.first(count - j * LANES)
        begin = [e.load(start + at, inside), parts + at]
        total, _ = e.loop(many, begin, lambda _, total, p: [total + e.load(p, inside), p + part])
        e.store(e.where(total <= least, least, total), c + at, inside)

    e.loop((count + LANES - 1) // LANES, [], add_up)


@kernel
def _dots(a: Any, task: int, scratch: int) -> None:
    """c[i, j] = sum over k of a[i, k] b[j, k] for `each` rows j of b; pieces of few rows and 256 values stay in L1."""
    left, row, b, b_row, c, m, n, k, each = a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8]
    step = LANES if m == 1 else LANES // 2
    for j in range(task * each, min(n, (task + 1) * each), step):
        rows = min(step, n - j)
        for k0 in range(0, k, K_BLOCK // 2):
            terms, piece = min(K_BLOCK // 2, k - k0), b + j * b_row + 4 * k0
            for i in range(0, m, LANES // step):
                line, at = left + i * row + 4 * k0, c + 4 * (i * n + j)
                other = min(i + 1, m - 1) - i  # of an odd number of rows, the last is done twice
                if m == 1:
                    _dot_rows(1, line, 0, piece, b_row, terms, rows, at, 0, k0)
                else:
                    _dot_rows(2, line, other * row, piece, b_row, terms, rows, at, other * 4 * n, k0)


@emit
def _dot_rows(
    e: Emitter, lefts: int, a: Value, a_row: Value, b: Value, b_row: Value, terms: Value, rows: Value, c: Value,
    c_row: Value, k0: Value,
) -> None:  # fmt: skip
    """LANES sums side by side, of 1 or 2 rows of a with rows of b, each a vector until it is added up at the end."""
    most = LANES // lefts
    lines = [b + b_row * e.min(rows - 1, i) for i in range(most)]  # past the last row: the last again
    full = terms // LANES
    rest = e.first(terms - full * LANES)

    def add_products(at: Value, mask: Value | None, sums: list[Value]) -> list[Value]:
        wide = [e.load(line + at, mask) for line in lines]
        ones = [e.load(a + a_row * i + at, mask) for i in range(lefts)]
        return [e.fma(ones[s // most], wide[s % most], one) for s, one in enumerate(sums)]

    sums = e.loop(full, [e.vector(0.0)] * LANES, lambda i, *sums: add_products(i * BYTES, None, list(sums)))
    total = e.sum(add_products(full * BYTES, rest, sums))
    for i in range(lefts):
        to = c + c_row * i - 4 * most * i  # the sums of row i begin at lane `most * i`
        inside = e.first(rows + most * i) & e.past(most * i)
        before = e.load(to, inside & e.all_if(k0 > 0))
        e.store(total + before, to, inside)


@njit(cache=True, nogil=True)
def pack_rows(b: int, b_row: int, terms: int, columns: int, packed: int, packed_row: int) -> None:
    """packed[k, j] = b[k, j]; zero from the last column to the next full vector."""
    _copy_rows(b, b_row, terms, (columns - 1) // LANES, columns, packed, packed_row)


@njit(cache=True, nogil=True)
def pack_columns(b: int, b_row: int, terms: int, columns: int, vectors: int, packed: int) -> None:
    """packed[k, j] = b[j, k]: blocks of LANES x LANES transposed in registers, zero past the last column."""
    for j in range(vectors):
        for k in range(0, terms, LANES):
            _transpose_block(b + LANES * j * b_row + 4 * k, b_row, columns - LANES * j, terms - k,
                             packed + k * (vectors * BYTES) + BYTES * j, vectors * BYTES)


@emit
def _copy_rows(
    e: Emitter, b: Value, b_row: Value, count: Value, full: Value, columns: Value, to: Value, to_row: Value
) -> None:
    rest = e.first(columns - full * LANES)

    def copy_row(k: Value) -> None:
        line, to_line = b + k * b_row, to + k * to_row
        e.loop(full, [], lambda j: e.store(e.load(line + j * BYTES), to_line + j * BYTES))
        e.store(e.load(line + full * BYTES, rest), to_line + full * BYTES)

    e.loop(count, [], copy_row)


@emit
def _transpose_block(e: Emitter, b: Value, b_row: Value, rows: Value, columns: Value, to: Value, to_row: Value) -> None:
    inside = e.first(columns)
    lines = [e.load(b + b_row * i, inside & e.all_if(rows > i)) for i in range(LANES)]
    for k, line in enumerate(e.transpose(lines)):
        e.store(line, to + to_row * k)

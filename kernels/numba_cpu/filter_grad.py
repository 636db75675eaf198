"""The gradient of a convolution's filters: products of patches and gradients, summed over pixels and examples.

    dw[r, s, c, k] = sum over n, i, j of a[n, i stride + r, j stride + s, c] dy[n, i, j, k]      db[k] = sum of dy

with the images `a` in their frame. For one row r of the filters the S C values side by side under it are the rows of
tiles; the sum runs over the pixels of an image, and from image to image the tile goes on from what it stored. A task
takes some of the tiles for a panel of channels and a part of the examples. The sums of the parts, whose number follows
from the shapes alone, are added up in their order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .convolve import _ZEROS, SUMS, aligned, copy_lines, tiles_of
from .program import Call, blocks, call, kernel
from .simd import BYTES, LANES, REGISTERS, Emitter, Value, emit
from .tile import call_tile, tile

_ONE = np.ones(1, np.float32)
MOST_PARTS = 8


def shape_of_tile(values: int, columns: int) -> tuple[int, int]:
    """Return how many of the values under a row of the filter, and vectors of channels, make a tile."""
    vectors = min(-(-columns // LANES), 4 if values <= 3 and REGISTERS == 32 else 2)
    return blocks(values, {1: 14, 2: 12, 4: 6}.get(vectors, 8) if REGISTERS == 32 else SUMS // vectors)[1], vectors


def parts_of(examples: int, tasks: int, work: int) -> tuple[int, int]:
    """Return into how many parts to cut the examples, and their size: about 16 tasks, none below 10 microseconds."""
    most = min(MOST_PARTS, -(-16 // tasks), max(1, examples * work // tasks // 2**19))
    return blocks(examples, -(-examples // min(most, examples)))


def backward_filters(frame: Any, dy: Any, dw: Any, db: Any, stride: int) -> list[Call]:
    """Return the instructions for dw and db."""
    (N, OH, OW, K), (R, S, C, _) = dy.shape, dw.shape
    if not N:
        return zeros(dw) + zeros(db)
    rows, vectors = shape_of_tile(S * C, K)
    row_tiles, panels = -(-S * C // rows), -(-K // (vectors * LANES))
    groups, each = blocks(R * row_tiles, -(-R * row_tiles * panels // 8))
    work = OH * OW * R * S * C * K
    parts, examples = parts_of(N, groups * panels, work)
    partial = aligned((parts, dw.size + K)) if parts > 1 else None
    into, into_bias = (dw, db) if partial is None else (partial, partial[:, dw.size :])
    step = stride * C * 4
    calls = [call(
        _filters, parts * groups * panels, frame, frame.strides[0], frame.strides[1], step,
        stride * frame.strides[1] - OW * step, dy, N, OH, OW, K, into, into_bias, (dw.size + K) * 4, examples, groups,
        each, R * row_tiles, row_tiles, S * C, rows, vectors, *tiles_of(S * C, K, rows, vectors),
        tile(1, vectors, False).address, tile(1, -(-K // LANES) - (panels - 1) * vectors, True).address, _ONE, _ZEROS,
    )]  # fmt: skip
    return calls + (add_parts(partial, dw, 0) + add_parts(partial, db, dw.size) if partial is not None else [])


@kernel
def _filters(a: Any, task: int, scratch: int) -> None:
    frame, image, line, step, jump, dy = a[0], a[1], a[2], a[3], a[4], a[5]
    N, OH, OW, K, dw, db, part_bytes, examples, groups = a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14]
    each, units, row_tiles, values, rows, vectors = a[15], a[16], a[17], a[18], a[19], a[20]
    panels = (K + vectors * LANES - 1) // (vectors * LANES)
    part, group, column = task // (groups * panels), task // panels % groups, task % panels * vectors * LANES
    here = min(K - column, vectors * LANES)
    full = here == vectors * LANES
    to = dw + part * part_bytes + 4 * column
    for n in range(part * examples, min(N, (part + 1) * examples)):
        first = n == part * examples
        b = dy + n * OH * OW * K * 4 + 4 * column
        for unit in range(group * each, min(units, (group + 1) * each)):
            r, i = unit // row_tiles, unit % row_tiles * rows
            c = to + (r * values + i) * K * 4
            call_tile(a[(21 if full else 23) + (1 if i + rows >= values else 0)],
                      frame + n * image + r * line + 4 * i, 4, step, jump, b, K * 4, c, K * 4,
                      a[28] if first else c, 0 if first else K * 4, OH, OW, here, -np.inf)  # fmt: skip
        if group == 0:
            c = db + part * part_bytes + 4 * column
            call_tile(a[25 if full else 26], a[27], 0, 0, 0, b, K * 4, c, 0, a[28] if first else c, 0, OH, OW, here,
                      -np.inf)  # fmt: skip


def add_parts(parts: Any, out: Any, offset: int) -> list[Call]:
    """Return the instruction out = sum over p of parts[p, offset : offset + out.size], in the order of the parts."""
    tasks, each = blocks(out.size, 4096 if out.size * len(parts) > 2**15 else out.size)
    return [call(_add_parts, tasks, parts[:, offset:], parts.strides[0], len(parts), out, out.size, each)]


@kernel
def _add_parts(a: Any, task: int, scratch: int) -> None:
    parts, part_bytes, count, out, size, each = a[0], a[1], a[2], a[3], a[4], a[5]
    first, last = task * each, min(size, (task + 1) * each)
    _sum_parts(parts + 4 * first, part_bytes, count, out + 4 * first, (last - first - 1) // LANES, last - first)


@emit
def _sum_parts(
    e: Emitter, parts: Value, part_bytes: Value, count: Value, out: Value, full: Value, values: Value
) -> None:
    def sum_at(at: Value, mask: Value | None) -> None:
        def add(p: Value, total: Value) -> list[Value]:
            return [total + e.load(parts + p * part_bytes + at, mask)]

        e.store(e.loop(count, [e.vector(0)], add)[0], out + at, mask)

    e.loop(full, [], lambda j: sum_at(j * BYTES, None))
    sum_at(full * BYTES, e.first(values - full * LANES))


def zeros(out: Any) -> list[Call]:
    """Return the instruction out = 0."""
    return copy_lines(None, (0, 0), out, (0, 0), (1, 1), out.size)

"""The gradient of the filters under ReLU and max pool, of whose pixels only the winners carry gradient.

For channel k, over its windows with the gradient dp and their winners at output pixel (u, v):

    dw[:, :, :, k] = sum of dp (patch of the images under (u, v))

For windows of 2 x 2 that is a quarter of the multiplications of the full gradient.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ..contract import Array
from .block_sums import pieces, sum_all
from .convolve import aligned
from .filter_grad import add_parts
from .layout import clear
from .lists import list_windows
from .program import Call, Kernel, blocks, call, ints_at, kernel
from .simd import BYTES, LANES, Emitter, Value, emit


def backward_filters(
    frame: Array, winners: Array, dp: Array, dw: Array, db: Array, stride: int, window: int
) -> list[Call]:
    """Return the instructions for dw and db.

    A task takes some channels (a vector of them at a time) and a part of the examples. Its sums have the layout
    [K, R S C]; added up over the parts they are turned into dw.
    """
    (N, PH, PW, K), (R, S, C, _) = dp.shape, dw.shape
    wide = -(-K // LANES)
    parts, examples = blocks(N, -(-N // min(8 if N >= 16 else 4, N)))
    groups, each = blocks(wide, -(-wide // 2) if N >= 16 else 1)
    size = R * S * C
    partial, partial_bias = aligned((parts, wide * LANES, size)), aligned((parts, wide * LANES))
    room = PH * PW + LANES  # for a list
    down, across = window * stride * frame.strides[1], window * stride * C * 4
    places = aligned((PH, PW), np.int32)
    places[...] = np.arange(PH)[:, None] * down + np.arange(PW) * across
    return [
        call(_filters(window), parts * groups, frame, *frame.strides[:2], stride * C * 4, stride * frame.strides[1],
             winners, dp, N, PH * PW, places, K, examples, groups, each, partial, partial_bias, R, S * C, room,
             *pieces(R, S * C), scratch=LANES * (2 * room + 2) * 4),
        call(_turn, -(-size // LANES), partial, parts, wide * LANES, size, dw, K),
        *add_parts(partial_bias, db, 0),
    ]  # fmt: skip


@cache
def _filters(window: int) -> Kernel:
    Z = window

    def filters_of_winners(a: Any, task: int, scratch: int) -> None:
        frame, image, line, pixel_step, line_step, winners, dp = a[0], a[1], a[2], a[3], a[4], a[5], a[6]
        N, windows, places, K, examples, groups, each = a[7], a[8], a[9], a[10], a[11], a[12], a[13]
        partial, partial_bias, R, values, room = a[14], a[15], a[16], a[17], a[18]
        vectors, count, inner, last = a[19], a[20], a[21], a[22]
        part, group = task // groups, task % groups
        wide = (K + LANES - 1) // LANES
        offsets, factors = scratch, scratch + LANES * room * 4
        counts = factors + LANES * room * 4
        first_k, last_k = group * each * LANES, min(wide, (group + 1) * each) * LANES
        sums, bias = partial + part * wide * LANES * R * values * 4, partial_bias + part * wide * BYTES
        clear(sums + first_k * R * values * 4, (last_k - first_k) * R * values)
        clear(bias + first_k * 4, last_k - first_k)
        for n in range(part * examples, min(N, (part + 1) * examples)):
            for k in range(first_k, min(K, last_k), LANES):
                here, place = min(LANES, K - k), n * windows * K + k
                list_windows(Z, winners + place, dp + 4 * place, K, windows, places, pixel_step, line_step, here,
                             offsets, factors, room * 4, counts, bias + 4 * k)
                for i in range(here):
                    sum_all(vectors, count, inner, last, offsets + i * room * 4, factors + i * room * 4,
                             ints_at(counts)[i], frame + n * image, line, sums + (k + i) * R * values * 4,
                             values * 4, values)

    return kernel(filters_of_winners)


@kernel
def _turn(a: Any, task: int, scratch: int) -> None:
    """dw[i, k] = sum over parts of sums[part, k, i], for LANES rows i of dw."""
    sums, parts, channels, size, dw, K = a[0], a[1], a[2], a[3], a[4], a[5]
    i = task * LANES
    for k in range(0, K, LANES):
        _turn_block(sums + (k * size + i) * 4, size * 4, parts, channels * size * 4, dw + (i * K + k) * 4, 4 * K,
                    size - i, K - k)


@emit
def _turn_block(
    e: Emitter, sums: Value, row: Value, parts: Value, part: Value, to: Value, to_row: Value, rows: Value,
    columns: Value,
) -> None:  # fmt: skip
    inside, channels = e.first(rows), e.first(columns)

    def add_part(p: Value, *lines: Value) -> list[Value]:
        return [line + e.load(sums + part * p + row * i, inside) for i, line in enumerate(lines)]

    lines = e.loop(parts, [e.vector(0)] * LANES, add_part)
    for i, line in enumerate(e.transpose(lines)):
        e.store(line, to + to_row * i, channels & e.all_if(rows > i))

"""The gradient of the images under ReLU and max pool, of whose pixels only the winners carry gradient.

Over the channels k that have their winner at output pixel (u, v), with its gradient dp:

    dx patch under (u, v) += sum of dp w[:, :, :, k]

A pass is over a vector of input channels. It goes from window to window, and keeps the pixels that a window's patches
reach in registers while it adds up the filters of those that won, for one place in the window after the other. Where
there are too many such pixels it keeps only those of one place.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from numba import cfunc, njit, types

from ..contract import Array
from .block_sums import load_offset
from .convolve import SUMS, aligned
from .layout import clear, transpose
from .lists import list_channels
from .program import Call, Kernel, call, kernel
from .simd import BYTES, LANES, Emitter, Value, caller, emit

_SIGNATURE = types.void(*[types.int64] * 8)


def backward_images(
    w: Array, winners: Array, dp: Array, dx: Array, stride: int, padding: int, window: int
) -> list[Call]:
    """Return the instructions for dx.

    A task is an image, or one pass over it where there are few images. It adds up in a frame of zeros of its own, a
    vector of channels wide, from where the gradient goes to dx.
    """
    (N, PH, PW, K), (R, S, C, _), (_, H, W, _) = dp.shape, w.shape, dx.shape
    wide = -(-C // LANES)
    groups = wide if N < 8 else 1
    height, line = (PH * window - 1) * stride + R, (W + 2 * padding) * BYTES
    turned = aligned((wide, K, R * S, LANES))
    lines = R if _reach(window, stride, R, S) <= SUMS else min(R, max(1, SUMS // S))
    last = R - lines * (-(-R // lines) - 1)
    room = (PH * PW * K + LANES) * 4
    return [
        call(_turn_filters, R * S, w, turned, R * S, C, K),
        call(_images(window), N * groups, turned, R * S, winners, dp, PH, PW, K, groups, wide // groups, line, height,
              dx, H, W, C, padding, room, lines, R, S,
             *(add_filters(window, stride, count, S).address for count in (lines, last)),
             scratch=height * line + 2 * room + window * window * PH * PW * 8),
    ]  # fmt: skip


def _reach(window: int, stride: int, lines: int, columns: int) -> int:
    """Return how many pixels the patches of a window reach, for so many lines and columns of the filter."""
    return ((window - 1) * stride + lines) * ((window - 1) * stride + columns)


@kernel
def _turn_filters(a: Any, task: int, scratch: int) -> None:
    """turned[j, k, tap] = the j-th vector of w[tap, :, k]."""
    w, turned, taps, C, K = a[0], a[1], a[2], a[3], a[4]
    for c in range(0, C, LANES):
        transpose(w + (task * C + c) * K * 4, 4 * K, min(LANES, C - c), K,
                  turned + (c // LANES * K * taps + task) * BYTES, taps * BYTES)


@cache
def _images(window: int) -> Kernel:
    Z = window

    def images_of_winners(a: Any, task: int, scratch: int) -> None:
        filters, taps, winners, dp, PH, PW, K, groups, passes = a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8]
        line, height, dx, H, W, C, padding, room = a[9], a[10], a[11], a[12], a[13], a[14], a[15], a[16]
        lines, R, S, inner, last = a[17], a[18], a[19], a[20], a[21]
        n, group = task // groups, task % groups
        offsets = scratch + height * line
        factors = offsets + room
        counts, place = factors + room, n * PH * PW * K
        list_channels(Z, winners + place, dp + 4 * place, PH * PW, K, taps * BYTES, offsets, factors, counts)
        for j in range(group * passes, (group + 1) * passes):
            clear(scratch, height * line // 4)
            for r in range(0, R, lines):
                _call_add_filters(last if r + lines >= R else inner, offsets, factors, counts, PH, PW,
                                  filters + (j * K * taps + r * S) * BYTES, scratch + r * line, line)
            _leave_frame(scratch, line, height, padding, dx + (n * H * W * C + j * LANES) * 4, H, W, C, C - j * LANES)

    return kernel(images_of_winners)


@njit(cache=True, nogil=True)
def _leave_frame(
    frame: int, line: int, height: int, padding: int, dx: int, H: int, W: int, C: int, values: int
) -> None:  # fmt: skip
    """Copy one vector of channels of an image; lines that no patch reaches are 0."""
    for h in range(H):
        at, to = frame + (h + padding) * line + padding * BYTES, dx + h * W * C * 4
        _leave_line(at, to, C * 4, W, values, 1 if h + padding < height else 0)


@emit
def _leave_line(e: Emitter, frame: Value, to: Value, pixel: Value, W: Value, values: Value, inside: Value) -> None:
    mask, reached = e.first(values), e.all_if(inside > 0)
    e.loop(W, [], lambda i: e.store(e.load(frame + i * BYTES, reached), to + pixel * i, mask))


@emit
def _add_filters(
    e: Emitter, window: int, stride: int, lines: int, columns: int, offsets: Value, factors: Value, counts: Value,
    height: Value, width: Value, filters: Value, frame: Value, line: Value,
) -> None:  # fmt: skip
    """For each window, from the list of each place in it, add up filters where the patch begins."""
    taps = [(r, s) for r in range(lines) for s in range(columns)]
    corners = [(r * stride, s * stride) for r in range(window) for s in range(window)]
    pixels = sorted({(u + r, v + s) for u, v in corners for r, s in taps})
    keep = _reach(window, stride, lines, columns) <= SUMS

    def add_list(at: Value, count: Value, sums: list[Value]) -> list[Value]:
        def add_filter(i: Value, *sums: Value) -> list[Value]:
            begin, factor = filters + load_offset(e, offsets + at + i * 4), e.broadcast(factors + at + i * 4)
            return [e.fma(factor, e.load(begin + BYTES * tap), one) for tap, one in enumerate(sums)]

        return e.loop(count, sums, add_filter)

    def add_window(place: Value, corner: Value, at: Value) -> Value:
        where = {(u, v): corner + line * u + BYTES * v for u, v in pixels}
        values = {pixel: e.load(address) for pixel, address in where.items()} if keep else {}
        for z, (u, v) in enumerate(corners):
            count, reached = e.load_int(counts + (place * len(corners) + z) * 8), [(u + r, v + s) for r, s in taps]
            sums = add_list(at, count, [values[pixel] if keep else e.load(where[pixel]) for pixel in reached])
            if not keep:
                for pixel, value in zip(reached, sums, strict=True):
                    e.store(value, where[pixel])
            values |= dict(zip(reached, sums, strict=True))
            at = at + count * 4
        if keep:
            for pixel, value in values.items():
                e.store(value, where[pixel])
        return at

    def add_line(i: Value, at: Value) -> list[Value]:
        first = frame + line * i * (window * stride)
        return e.loop(width, [at], lambda j, at: [
            add_window(i * width + j, first + j * (window * stride * BYTES), at)])

    e.loop(height, [e.whole(0)], add_line)


@cache
def add_filters(window: int, stride: int, lines: int, columns: int) -> Any:
    """Return the compiled pass for windows and filters of this size."""
    Z, T, L, C = window, stride, lines, columns

    def compiled(
        offsets: int, factors: int, counts: int, height: int, width: int, filters: int, frame: int, line: int
    ) -> None:
        _add_filters(Z, T, L, C, offsets, factors, counts, height, width, filters, frame, line)

    return cfunc(_SIGNATURE, cache=True)(compiled)


_call_add_filters = caller(_SIGNATURE)

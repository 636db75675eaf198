"""Pooling in float32: vectors of channels, lines of windows over the threads. `pool` has the plain form of each.

What a window is made of is known when its kernel is compiled: up to 4 x 4 its loops are unrolled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from ..contract import Array
from .convolve import copy_lines
from .layout import clear
from .program import Call, Kernel, blocks, call, kernel
from .simd import BYTES, LANES, Emitter, Real, Value, emit
from .wide import double, each_vector, single

TASK = 2**16  # values of x of a task, some 10 microseconds
UNROLLED = 4


def max_pool2d_forward_calls(x: Array, y: Array, window: int, stride: int) -> list[Call]:
    """Return the instruction of `max_pool2d_forward` in float32; a task has some lines of y."""
    (_, H, W, C), (N, OH, OW, _) = x.shape, y.shape
    if not N:
        return []
    tasks, each = blocks(N * OH, max(1, TASK // (stride * W * C), -(-N * OH // 65535)))
    return [call(_max_forward(window), tasks, x, y, stride, H, W, C, N * OH, OH, OW, each)]


@cache
def _max_forward(window: int) -> Kernel:
    Z = window

    def max_pool_forward(a: Any, task: int, scratch: int) -> None:
        x, y, stride, H, W, C, total, OH, OW, each = a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9]
        for at in range(task * each, min(total, (task + 1) * each)):
            line = x + 4 * (at // OH * H + at % OH * stride) * W * C
            _max_line(Z, line, W * C * 4, C * 4, stride, y + at * OW * C * 4, OW, C)

    return kernel(max_pool_forward)


@emit
def _max_line(
    e: Emitter, window: int, x: Value, line: Value, pixel: Value, stride: Value, y: Value, width: Value, C: Value
) -> None:
    def pool_pixel(i: Value) -> None:
        corner, to = x + pixel * stride * i, y + pixel * i

        def pool(at: Value, mask: Value | None) -> None:
            def larger(place: Value, best: Value) -> list[Value]:
                value = e.load(place + at, mask)
                return [e.where((value > best) | value.is_nan(), value, best)]  # a NaN stays: nothing is above it

            first = e.load(corner + at, mask)
            e.store(_over_window(e, window, corner, line, pixel, [first], larger)[0], to + at, mask)

        each_vector(e, C, pool)

    e.loop(width, [], pool_pixel)


def _over_window(
    e: Emitter, window: int, corner: Value, line: Value, pixel: Value, carried: Sequence[Value],
    body: Callable[..., Sequence[Value]],
) -> list[Value]:  # fmt: skip
    """Emit body(address of a pixel, *carried) -> new carried for the pixels of a window in row-major order."""
    if window > UNROLLED:
        def body_line(r: Value, *values: Value) -> list[Value]:
            return e.loop(window, values, lambda s, *more: body(corner + line * r + pixel * s, *more))

        return e.loop(window, carried, body_line)
    for r in range(window):
        for s in range(window):
            carried = body(corner + line * r + pixel * s, *carried)
    return list(carried)


def max_pool2d_backward_calls(x: Array, y: Array, dy: Array, dx: Array, window: int, stride: int) -> list[Call]:
    """Return the instructions of `max_pool2d_backward` in float32.

    Where windows do not overlap a task has some lines of y and writes the pixels under them; else it has some channels
    of an image, in which it adds up one window after the other.
    """
    (_, H, W, C), (N, OH, OW, _) = x.shape, y.shape
    if not N:
        return []
    if window <= stride:
        covered = window == stride and (OH * stride, OW * stride) == (H, W)
        calls = [] if covered else copy_lines(None, (0, 0), dx, (H * W * C * 4, W * C * 4), (N, H), W * C)
        tasks, each = blocks(N * OH, max(1, TASK // (stride * W * C), -(-N * OH // 65535)))
        return [*calls, call(_max_backward(window, 0), tasks, x, y, dy, dx, stride, H, W, C, N * OH, OH, OW, each)]
    pieces, channels = blocks(-(-C // LANES), max(1, -(-TASK // (H * W * LANES)), -(-N * -(-C // LANES) // 16)))
    return [call(_max_backward(window, 1), N * pieces, x, y, dy, dx, stride, H, W, C, pieces, OH, OW, channels * LANES)]


@cache
def _max_backward(window: int, overlap: int) -> Kernel:
    Z, O = window, overlap

    def max_pool_backward(a: Any, task: int, scratch: int) -> None:
        x, y, dy, dx, stride, H, W, C = a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]
        total, OH, OW, each = a[8], a[9], a[10], a[11]
        if O:
            n, first = task // total, task % total * each
            here, image = min(each, C - first), (n * H * W * C + first) * 4
            for i in range(H * W):
                clear(dx + image + i * C * 4, here)
            for i in range(OH):
                from_x, from_y = image + i * stride * W * C * 4, ((n * OH + i) * OW * C + first) * 4
                _share_line(Z, O, x + from_x, W * C * 4, C * 4, stride, y + from_y, dy + from_y, dx + from_x, OW, here)
        else:
            for at in range(task * each, min(total, (task + 1) * each)):
                from_x, from_y = (at // OH * H + at % OH * stride) * W * C * 4, at * OW * C * 4
                _share_line(Z, O, x + from_x, W * C * 4, C * 4, stride, y + from_y, dy + from_y, dx + from_x, OW, C)

    return kernel(max_pool_backward)


@emit
def _share_line(
    e: Emitter, window: int, overlap: int, x: Value, line: Value, pixel: Value, stride: Value, y: Value, dy: Value,
    dx: Value, width: Value, C: Value,
) -> None:  # fmt: skip
    """Give the gradient of each window of a line to its first maximum; the others get 0."""
    def share_pixel(i: Value) -> None:
        corner, from_y = pixel * stride * i, pixel * i

        def share(at: Value, mask: Value | None) -> None:
            largest = e.load(y + from_y + at, mask)

            def give(place: Value, rest: Value) -> list[Value]:
                value, zero, to = e.load(x + place + at, mask), e.vector(0), dx + place + at
                found = value.equals(largest) | value.is_nan()
                given = e.where(found, rest, zero)
                e.store(e.load(to, mask) + given if overlap else given, to, mask)
                return [e.where(found, zero, rest)]

            _over_window(e, window, corner, line, pixel, [e.load(dy + from_y + at, mask)], give)

        each_vector(e, C, share)

    e.loop(width, [], share_pixel)


def global_avg_pool_forward_calls(x: Array, y: Array) -> list[Call]:
    """Return the instruction of `global_avg_pool_forward` in float32; a task has some images."""
    N, H, W, C = x.shape
    tasks, each = blocks(N, max(1, TASK // (H * W * C), -(-N // 65535)))
    return [call(_avg_forward, tasks if N else 0, x, y, N, H * W, C, each)]


@kernel
def _avg_forward(a: Any, task: int, scratch: int) -> None:
    x, y, N, pixels, C, each = a[0], a[1], a[2], a[3], a[4], a[5]
    for n in range(task * each, min(N, (task + 1) * each)):
        for c in range(0, C, 4 * LANES):
            at, to, here = x + (n * pixels * C + c) * 4, y + (n * C + c) * 4, min(4 * LANES, C - c)
            if here > 2 * LANES:
                _mean(4, at, C * 4, pixels, here, to, float(pixels))
            elif here > LANES:
                _mean(2, at, C * 4, pixels, here, to, float(pixels))
            else:
                _mean(1, at, C * 4, pixels, here, to, float(pixels))


@emit
def _mean(e: Emitter, vectors: int, x: Value, pixel: Value, pixels: Value, C: Value, y: Value, count: Real) -> None:
    """Sums in float64, of so many vectors of channels at a time."""
    inside = _inside(e, vectors, C)

    def add_pixel(i: Value, *sums: Value) -> list[Value]:
        return [one + double(e, e.load(x + pixel * i + j * BYTES, inside[j])) for j, one in enumerate(sums)]

    for j, one in enumerate(e.loop(pixels, [double(e, e.vector(0))] * vectors, add_pixel)):
        e.store(single(e, one / e.fill(count)), y + j * BYTES, inside[j])


def _inside(e: Emitter, vectors: int, C: Value) -> list[Value]:
    return [e.first(C - LANES * j) for j in range(vectors)]


def global_avg_pool_backward_calls(dy: Array, dx: Array) -> list[Call]:
    """Return the instruction of `global_avg_pool_backward` in float32; a task has some images."""
    N, H, W, C = dx.shape
    tasks, each = blocks(N, max(1, TASK // (H * W * C), -(-N // 65535)))
    return [call(_avg_backward, tasks if N else 0, dy, dx, N, H * W, C, each)]


@kernel
def _avg_backward(a: Any, task: int, scratch: int) -> None:
    dy, dx, N, pixels, C, each = a[0], a[1], a[2], a[3], a[4], a[5]
    for n in range(task * each, min(N, (task + 1) * each)):
        for c in range(0, C, 4 * LANES):
            at, to, here = dy + (n * C + c) * 4, dx + (n * pixels * C + c) * 4, min(4 * LANES, C - c)
            if here > LANES:
                _spread(4, at, to, C * 4, pixels, here, float(pixels))
            else:
                _spread(1, at, to, C * 4, pixels, here, float(pixels))


@emit
def _spread(
    e: Emitter, vectors: int, dy: Value, dx: Value, pixel: Value, pixels: Value, C: Value, count: Real
) -> None:
    inside = _inside(e, vectors, C)
    values = [e.load(dy + j * BYTES, mask) / e.splat(count) for j, mask in enumerate(inside)]

    def write_pixel(i: Value) -> None:
        for j, value in enumerate(values):
            e.store(value, dx + pixel * i + j * BYTES, inside[j])

    e.loop(pixels, [], write_pixel)

"""Convolution, ReLU and max pool as one, p = maxpool(max(0, x * w + b)), where the windows of the pool do not overlap.

The full-size activation is never stored: a task computes the lines under a line of windows into its scratch and pools
them from there. Of each window it keeps the place of the winner, the first maximum in row-major order, in a byte; DEAD
where the maximum is not above 0, since then the ReLU passes no gradient. So p is bit for bit what the three kernels
give, NaN included, and so is the set of pixels that the gradient goes to. Backward, `winner_filters` and
`winner_images` use that only those carry gradient. With few input channels, whose patches do not fill a register, the
gradient of some lines is written out in full in scratch instead, for the tile as `filter_grad` uses it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir

from ..contract import Array
from .convolve import _ZEROS, aligned, fill_frame, new_frame, shape_of_tile, taps_of, tiles_of
from .filter_grad import add_parts, zeros
from .filter_grad import shape_of_tile as shape_of_filters_tile
from .lists import DEAD, load_winners
from .program import Call, Kernel, blocks, call, kernel
from .simd import BYTES, LANES, Emitter, Value, emit
from .tile import call_tile
from .winner_filters import backward_filters
from .winner_images import backward_images

LARGEST_WINDOW = 15  # a winner is a byte


def conv_relu_pool_calls(
    x: Array, w: Array, b: Array, p: Array, winners: Array, stride: int, padding: int, window: int,
    frame: Array | None = None,
) -> list[Call]:  # fmt: skip
    """Return the instructions of conv2d_forward, relu_forward and max_pool2d_forward with stride = window, in float32.

    Parameters
    ----------
    x, w, b : as in `conv2d_forward`
    p : array of shape [N, OH // window, OW // window, K], written
    winners : uint8 array of the shape of p, written, for the backward pass
    stride, padding : int, of the convolution
    window : int, at most LARGEST_WINDOW
    frame : as in `conv2d_forward_calls`
    """
    (N, PH, PW, K), (R, S, C, _) = p.shape, w.shape
    if not N:
        return []
    frame = new_frame(x, padding) if frame is None else frame
    pixels = PW * window
    rows, vectors = shape_of_tile(pixels, K)
    tasks, each = lines_a_task(N * PH, window * pixels * R * S * C * K)
    return [*fill_frame(x, frame, padding, padding), call(
        _forward(window), tasks, frame, *taps_of(frame, R, S, stride), w, b, p, winners, PH, N * PH, each, PW, K, rows,
        vectors, *tiles_of(pixels, K, rows, vectors), scratch=window * pixels * vectors * BYTES,
    )]  # fmt: skip


def lines_a_task(lines: int, work: int) -> tuple[int, int]:
    """Return the number of tasks and lines a task: at least about 8 tasks where there is work for them."""
    if lines * work <= 2**19:
        return 1, lines
    return blocks(lines, max(1, min(-(-(2**21) // work), -(-lines // 8)), -(-lines // 65535)))


@cache
def _forward(window: int) -> Kernel:
    Z = window

    def conv_relu_pool(a: Any, task: int, scratch: int) -> None:
        frame, image, line, pixel, jump, taps, values = a[0], a[1], a[2], a[3], a[4], a[5], a[6]
        w, b, p, winners, lines, total, each = a[7], a[8], a[9], a[10], a[11], a[12], a[13]
        width, K, rows, vectors = a[14], a[15], a[16], a[17]
        panel, pixels = vectors * LANES, width * Z
        for column in range(0, K, panel):
            here = min(K - column, panel)
            tiles = 18 if here == panel else 20
            for at in range(task * each, min(total, (task + 1) * each)):
                begin = frame + at // lines * image + at % lines * Z * line
                for r in range(Z):
                    for j in range(0, pixels, rows):
                        call_tile(a[tiles + (1 if j + rows >= pixels else 0)], begin + r * line + j * pixel, pixel, 4,
                                  jump, w + 4 * column, 4 * K, scratch + (r * pixels + j) * 4 * panel, 4 * panel,
                                  b + 4 * column, 0, taps, values, here, 0.0)  # fmt: skip
                to = at * width * K + column
                if here % LANES:
                    _pool(Z, 1, scratch, 4 * panel, width, here // LANES, here % LANES, p + 4 * to, winners + to, K)
                else:
                    _pool(Z, 0, scratch, 4 * panel, width, here // LANES, 0, p + 4 * to, winners + to, K)

    return kernel(conv_relu_pool)


@emit
def _pool(
    e: Emitter, window: int, masked: int, lines: Value, pixel: Value, width: Value, full: Value, rest: Value, p: Value,
    winners: Value, K: Value,
) -> None:  # fmt: skip
    """Pool one line of windows of `window` lines of `width * window` pixels, `pixel` bytes each."""
    corners = [(pixel * width * r + pixel * s) if window > 1 else 0
               for r in range(0, window * window, window) for s in range(window)]

    def pool(at: Value, place: Value, mask: Value | None) -> None:
        best, winner = e.load(at), e.ints(0)
        for i, corner in list(enumerate(corners))[1:]:
            value = e.load(at + corner)
            above = value > best
            winner = e.where(above, e.ints(i), winner)
            best = e.where(above | value.is_nan(), value, best)
        alive = best > 0.0
        e.store(best, p + place * 4, mask)
        narrow = ir.VectorType(ir.IntType(8), LANES)
        e.store(Value(e, e.b.trunc(e.where(alive, winner, e.ints(DEAD)).v, narrow)), winners + place, mask)

    def pool_pixel(i: Value) -> None:
        at, place = lines + pixel * window * i, K * i
        e.loop(full, [], lambda j: pool(at + j * BYTES, place + j * LANES, None))
        if masked:
            pool(at + full * BYTES, place + full * LANES, e.first(rest))

    e.loop(width, [], pool_pixel)


def conv_relu_pool_backward_calls(
    x: Array, w: Array, p: Array, winners: Array, dp: Array, dx: Array | None, dw: Array, db: Array, stride: int,
    padding: int, window: int, frame: Array | None = None,
) -> list[Call]:  # fmt: skip
    """Return the instructions of max_pool2d_backward, relu_backward and conv2d_backward.

    Sums of gradients run in another order than in those three, and without their zeros: the results differ by
    rounding, and an infinite x or w behind a zero gradient does not make them NaN.

    Parameters
    ----------
    x, w, p, winners : as they were in `conv_relu_pool_calls`, or have become; p is not read
    dp : array of the shape of p
    dx, dw, db : as in `conv2d_backward`
    stride, padding, window, frame : as they were
    """
    S, C = w.shape[1:3]
    if not len(x):
        return zeros(dw) + zeros(db)
    calls = []
    if frame is None:
        frame = new_frame(x, padding)
        calls += fill_frame(x, frame, padding, padding)
    # A patch of few values leaves most lanes empty; written out, window^2 times the work has no such loss.
    sparse = S * C >= 12
    calls += (backward_filters if sparse else _expanded_filters)(frame, winners, dp, dw, db, stride, window)
    return calls + (backward_images(w, winners, dp, dx, stride, padding, window) if dx is not None else [])


def _expanded_filters(
    frame: Array, winners: Array, dp: Array, dw: Array, db: Array, stride: int, window: int
) -> list[Call]:
    """Return the instructions for dw and db that write the gradient of some lines out in full."""
    (N, PH, PW, K), (R, S, C, _) = dp.shape, dw.shape
    rows, vectors = shape_of_filters_tile(S * C, K)
    pixels, step, line = PW * window, stride * C * 4, frame.strides[1]
    lines = max(1, min(PH, 24_000 // (window * pixels * vectors * BYTES)))  # of windows at a time: they stay in L1
    groups, lines = blocks(PH, lines)
    parts, each = blocks(N * groups, -(-N * groups // max(1, min(16, N * groups * lines // 8))))
    panels = -(-K // (vectors * LANES))
    partial = aligned((parts, dw.size + K))
    return [call(
        _expanded, parts * panels, frame, frame.strides[0], line, step, stride * line - pixels * step, stride * window,
        winners, dp, N * groups, groups, lines, PH, PW, K, window, partial, dw.size, each, R, S * C, rows, vectors,
        *tiles_of(S * C, K, rows, vectors), _ZEROS, scratch=lines * window * pixels * vectors * BYTES,
    ), *add_parts(partial, dw, 0), *add_parts(partial, db, dw.size)]  # fmt: skip


@kernel
def _expanded(a: Any, task: int, scratch: int) -> None:
    frame, image, line, step, jump, lines_down = a[0], a[1], a[2], a[3], a[4], a[5]
    winners, dp, units, groups, lines, PH, PW, K, window = a[6], a[7], a[8], a[9], a[10], a[11], a[12], a[13], a[14]
    partial, size, each, R, values, rows, vectors = a[15], a[16], a[17], a[18], a[19], a[20], a[21]
    panel = vectors * LANES
    panels = (K + panel - 1) // panel
    part, column = task // panels, task % panels * panel
    here = min(K - column, panel)
    tiles = 22 if here == panel else 24
    to = partial + part * (size + K) * 4 + 4 * column
    for unit in range(part * each, min(units, (part + 1) * each)):
        n, first_line = unit // groups, unit % groups * lines
        down = min(lines, PH - first_line)
        place = (n * PH + first_line) * PW * K + column
        first = unit == part * each
        begin, begin_row = (a[26], 0) if first else (to, 4 * K)
        for i in range(down):
            _expand(winners + place + i * PW * K, dp + 4 * (place + i * PW * K), K, PW, window, here // LANES,
                    here % LANES, scratch + i * window * window * PW * 4 * panel, 4 * panel, to + 4 * size,
                    0 if first and i == 0 else 1)  # fmt: skip
        at = frame + n * image + first_line * lines_down * line
        for r in range(R):
            for i in range(0, values, rows):
                move = (r * values + i) * 4 * K
                call_tile(a[tiles + (1 if i + rows >= values else 0)], at + r * line + 4 * i, 4, step, jump, scratch,
                          4 * panel, to + move, 4 * K, begin + (0 if first else move), begin_row, down * window,
                          PW * window, here, -float("inf"))  # fmt: skip


@emit
def _expand(
    e: Emitter, winners: Value, dp: Value, K: Value, width: Value, window: Value, full: Value, rest: Value, to: Value,
    pixel: Value, db: Value, go_on: Value,
) -> None:  # fmt: skip
    """Write the gradient of one line of windows out in full; add it up in db, which begins anew unless `go_on`."""
    def expand(at: Value, mask: Value | None) -> None:
        def expand_window(i: Value, total: Value) -> list[Value]:
            winner, value = load_winners(e, winners + K * i + at, mask), e.load(dp + (K * i + at) * 4, mask)
            corner = to + pixel * window * i + at * 4

            def expand_line(r: Value) -> None:
                def expand_pixel(s: Value) -> None:
                    here = winner.equals(e.splat(r * window + s))
                    e.store(e.where(here, value, e.vector(0)), corner + pixel * (width * window * r + s), mask)

                e.loop(window, [], expand_pixel)

            e.loop(window, [], expand_line)
            return [total + e.where(winner < DEAD, value, e.vector(0))]

        before = e.where(e.all_if(go_on > 0), e.load(db + at * 4, mask), e.vector(0))
        e.store(e.loop(width, [before], expand_window)[0], db + at * 4, mask)

    e.loop(full, [], lambda j: expand(j * LANES, None))
    e.loop(e.min(rest, 1), [], lambda _: expand(full * LANES, e.first(rest)))

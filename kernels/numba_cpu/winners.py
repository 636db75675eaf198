"""The gradients of a convolution under ReLU and max pool, of whose output pixels only the winners carry gradient.

For channel k, a window with its winner at output pixel (u, v), and its gradient dp:

    dw[:, :, :, k] += dp (patch of the images under (u, v))        dx patch under (u, v) += dp w[:, :, :, k]

Both are sums of blocks of R lines with S C values, each with a factor: of patches over the windows, of filters over the
channels. For windows of 2 x 2 that is a quarter of the multiplications of the full gradient.
"""

from __future__ import annotations

from functools import cache

from numba import njit

from ..contract import Array
from .block_sums import load_count, pieces, sum_all
from .convolve import aligned
from .filter_grad import add_parts
from .layout import add, clear, copy, transpose
from .lists import list_channels, list_windows
from .program import Call, Kernel, blocks, call, kernel
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
    return [
        call(_filters(window), parts * groups, frame, *frame.strides[:2], stride * C * 4, stride * frame.strides[1],
             winners, dp, N, PH, PW, K, examples, groups, each, partial, partial_bias, R, S * C, room,
             *pieces(R, S * C), scratch=LANES * (2 * room + 2) * 4),
        call(_turn, -(-size // LANES), partial, parts, wide * LANES, size, dw, K),
        *add_parts(partial_bias, db, 0),
    ]  # fmt: skip


@cache
def _filters(window: int) -> Kernel:
    Z = window

    def filters_of_winners(a, task, scratch):  # type: ignore[no-untyped-def]
        frame, image, line, pixel_step, line_step, winners, dp = a[0], a[1], a[2], a[3], a[4], a[5], a[6]
        N, PH, PW, K, examples, groups, each = a[7], a[8], a[9], a[10], a[11], a[12], a[13]
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
                here, place = min(LANES, K - k), n * PH * PW * K + k
                list_windows(Z, winners + place, dp + 4 * place, K, PH, PW, pixel_step, line_step, here, offsets,
                             factors, room * 4, counts, bias + 4 * k)
                for i in range(here):
                    sum_all(vectors, count, inner, last, offsets + i * room * 4, factors + i * room * 4,
                             load_count(counts + 8 * i), frame + n * image, line, sums + (k + i) * R * values * 4,
                             values * 4, values)

    return kernel(filters_of_winners)


@kernel
def _turn(a, task, scratch):
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


def backward_images(
    w: Array, winners: Array, dp: Array, dx: Array, stride: int, padding: int, window: int
) -> list[Call]:
    """Return the instructions for dx.

    A task goes through the windows of an image, or of a strip of it where there are few images, in a frame of zeros of
    its own; from there the gradient is copied to dx. Where strips overlap, they are added up in their order.
    """
    (N, PH, PW, K), (R, S, C, _), (_, H, W, _) = dp.shape, w.shape, dx.shape
    size = R * S * C
    strips, each = blocks(PH, -(-PH // min(PH, -(-4 // N))))
    height, line = (each * window - 1) * stride + R, (W + 2 * padding) * C * 4
    turned = aligned((K, -(-size // LANES) * LANES))
    frames = aligned((N, strips, height, line // 4)) if strips > 1 else None
    room = -(-K // LANES) * LANES + LANES
    shape = (H, W * C, padding, padding * C * 4, each * window * stride, height)
    calls = [
        call(_turn_filters, -(-K // LANES), w, turned, size, K, turned.strides[0]),
        call(_images(window), N * strips, turned, turned.strides[0], winners, dp, PH, PW, K, strips, each,
             stride * C * 4, stride * line, line, 0 if frames is None else frames, dx, *shape, S * C, room,
             *pieces(R, S * C), scratch=height * line + BYTES + window * window * (2 * room + 2) * 4),
    ]  # fmt: skip
    return calls if frames is None else [*calls, call(_add_strips, N, frames, strips, line, dx, *shape)]


@kernel
def _turn_filters(a, task, scratch):
    w, turned, size, K, row = a[0], a[1], a[2], a[3], a[4]
    k = task * LANES
    transpose(w + 4 * k, 4 * K, size, min(LANES, K - k), turned + k * row, row)


@cache
def _images(window: int) -> Kernel:
    Z = window

    def images_of_winners(a, task, scratch):  # type: ignore[no-untyped-def]
        filters, filter_bytes, winners, dp, PH, PW, K, strips, each = (
            a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8])  # fmt: skip
        pixel_step, line_step, line, frames, dx, H, values_a_line, top, left, strip_step, height = (
            a[9], a[10], a[11], a[12], a[13], a[14], a[15], a[16], a[17], a[18], a[19])  # fmt: skip
        values, room, vectors, count, inner, last = a[20], a[21], a[22], a[23], a[24], a[25]
        n, strip = task // strips, task % strips
        frame = scratch if strips == 1 else frames + task * height * line
        offsets = scratch + (height * line + BYTES - 1) // BYTES * BYTES
        factors = offsets + Z * Z * room * 4
        counts = factors + Z * Z * room * 4
        clear(frame, height * line // 4)
        for i in range(strip * each, min(PH, (strip + 1) * each)):
            for j in range(PW):
                place = ((n * PH + i) * PW + j) * K
                list_channels(Z, winners + place, dp + 4 * place, K // LANES, K % LANES, filter_bytes, offsets, factors,
                              room * 4, counts)
                corner = frame + (i - strip * each) * Z * line_step + j * Z * pixel_step
                for z in range(Z * Z):
                    many = load_count(counts + 8 * z)
                    if many:
                        sum_all(vectors, count, inner, last, offsets + z * room * 4, factors + z * room * 4, many,
                                filters, values * 4, corner + z // Z * line_step + z % Z * pixel_step, line, values)
        if strips == 1:
            _leave_frame(frame, 1, line, dx, n, H, values_a_line, top, left, strip_step, height)

    return kernel(images_of_winners)


@kernel
def _add_strips(a, task, scratch):
    frames, strips, line, dx, H, values_a_line, top, left, strip_step, height = (
        a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7], a[8], a[9])  # fmt: skip
    _leave_frame(frames + task * strips * height * line, strips, line, dx, task, H, values_a_line, top, left,
                 strip_step, height)


@njit(cache=True, nogil=True)
def _leave_frame(
    frames: int, strips: int, line: int, dx: int, n: int, H: int, values: int, top: int, left: int, strip_step: int,
    height: int,
) -> None:  # fmt: skip
    """dx[n] = the sum of the strips inside the borders; 0 where there are none."""
    for h in range(H):
        to, covered = dx + (n * H + h) * values * 4, False
        for strip in range(strips):
            at = h + top - strip * strip_step
            if 0 <= at < height:
                begin = frames + (strip * height + at) * line + left
                if covered:
                    add(begin, to, values)
                else:
                    copy(begin, to, values)
                covered = True
        if not covered:
            clear(to, values)

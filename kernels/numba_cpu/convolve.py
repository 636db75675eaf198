"""Convolutions over the threads, without im2col: the tile reads the pixels under a filter where they lie.

    c[n, i, j, k] = max(floor, start[k] + sum over r, s, c of a[n, i stride + r, j stride + s, c] b[r, s, c, k])

The images `a` stand in a frame of zeros, so that there are no borders. Some output pixels of a line, side by side, are
the rows of a tile; the S C values under one row of the filter lie side by side as well and are its inner sum, `jump`
leads to the next row of the image. The gradient of the images is a convolution too, of the framed gradient with the
filters turned around; with a stride, pixels whose coordinates leave the same remainders see the same filter elements
and make a convolution of their own. A task is a number of output lines; a sum runs over the elements of the filter in
their order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from .layout import clear, copy, transpose
from .program import Call, as_float, blocks, call, kernel
from .simd import BYTES, LANES, REGISTERS
from .tile import call_tile, tile

SUMS = 28 if REGISTERS == 32 else 12  # accumulators in registers; the rest holds what is multiplied
TASK = 2**21  # multiplications of a task at least, 20 to 40 microseconds
_ZEROS = np.zeros(8 * LANES, np.float32)


def aligned(shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
    """Return an array of zeros that begins at a multiple of 64 bytes, with a vector of room behind it."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.zeros(size + 64 + BYTES, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)


def new_frame(x: Any, padding: int) -> Any:
    """Return memory for the images x [N, H, W, C] with `padding` zeros on every side; without padding x itself."""
    if not padding:
        return x
    N, H, W, C = x.shape
    return aligned((N, H + 2 * padding, W + 2 * padding, C))


def fill_frame(x: Any, frame: Any, top: int, left: int) -> list[Call]:
    """Return the instruction that copies x [N, H, W, C] into the frame, whose borders are zero already."""
    if frame is x:
        return []
    N, H, W, C = x.shape
    inside = frame[:, top : top + H, left : left + W]
    return copy_lines(x, (H * W * C * 4, W * C * 4), inside, inside.strides[:2], (N, H), W * C)


def copy_lines(
    source: Any, source_strides: tuple[int, ...], to: Any, to_strides: tuple[int, ...], lines: tuple[int, int],
    values: int,
) -> list[Call]:  # fmt: skip
    """Return the instruction to[n, h] = source[n, h], lines of so many float32; without a source they become 0."""
    total = lines[0] * lines[1]
    if not total:
        return []
    tasks, each = blocks(total, max(1, 2**17 // values, -(-total // 4096)))
    zero = source is None
    return [call(_copy_lines, tasks, 0 if zero else source, *source_strides, to, *to_strides, total, lines[1], each,
                 values, int(zero))]  # fmt: skip


class Taps(NamedTuple):
    """Which pixels of the frame an output pixel sums over, in bytes from the first pixel of the first image."""

    image: int  # from the frame of an image to that of the next
    line: int  # from an output line to the next
    pixel: int  # from an output pixel to the next
    jump: int  # from the end of the values under one row of the filter to those under the next
    rows: int  # of the filter
    values: int  # under one row of the filter, side by side


def taps_of(frame: Any, rows: int, columns: int, stride: int) -> Taps:
    """Return where a filter of rows x columns pixels finds its values in the frame."""
    image, line, pixel = frame.strides[:3]
    return Taps(image, stride * line, stride * pixel, line - columns * pixel, rows, columns * frame.shape[3])


def shape_of_tile(pixels: int, columns: int) -> tuple[int, int]:
    """Return how many pixels and vectors of channels a tile has for lines of so many pixels and channels.

    Two vectors high tiles read the fewest bytes of the filters; short lines want wider ones to keep the adders busy.
    """
    wide = -(-columns // LANES)
    if REGISTERS == 32:
        vectors = min(wide, 8 if pixels <= 2 else 6 if pixels == 3 else 4 if pixels <= 6 else 3 if wide == 3 else 2)
        return blocks(pixels, {1: 14, 2: 14, 3: 8, 4: 6}.get(vectors, 3))[1], vectors
    vectors = min(wide, 4 if pixels <= 3 else 2)
    return blocks(pixels, {1: 12, 2: 6, 3: 4, 4: 3}[vectors])[1], vectors


def tiles_of(pixels: int, columns: int, rows: int, vectors: int) -> list[int]:
    """Return the addresses of tiles for full panels of columns and for the last, each also for the last rows."""
    rest_rows, rest = pixels - rows * (-(-pixels // rows) - 1), columns % (vectors * LANES)
    last = -(-rest // LANES)
    return [tile(r, v, masked).address if wanted else 0
            for v, masked, wanted in ((vectors, False, columns >= vectors * LANES), (last, True, rest > 0))
            for r in (rows, rest_rows)]  # fmt: skip


def lines_a_task(lines: int, work: int) -> tuple[int, int]:
    """Return the number of tasks and lines a task, for lines of `work` multiplications each."""
    if lines * work <= TASK // 4:
        return 1, lines
    return blocks(lines, max(1, min(-(-TASK // work), -(-lines // 8)), -(-lines // 65535)))


def convolve(
    frame: Any, offset: int, taps: Taps, b: Any, b_row: int, b_panel: int, c: Any, columns: int, *, start: Any = None,
    floor: float = -np.inf,
) -> Call:  # fmt: skip
    """Return the instruction of a convolution into c [N, OH, OW, K], an array or a view of one, none of them 0.

    `offset` is the bytes to the first pixel in the frame; `b_row` those between rows of b, `b_panel` those between
    panels of columns: b is as it lies, or packed panel by panel.
    """
    N, lines, pixels, _ = c.shape
    rows, vectors = shape_of_tile(pixels, columns)
    tasks, each = lines_a_task(N * lines, pixels * taps.rows * taps.values * columns)
    return call(
        _convolve, tasks, frame, offset, *taps, b, b_row, b_panel or vectors * BYTES, c, *c.strides[:3],
        _ZEROS if start is None else start, 0 if start is None else vectors * BYTES, N * lines, lines, each, pixels,
        columns, rows, vectors, float(floor), *tiles_of(pixels, columns, rows, vectors),
    )  # fmt: skip


@kernel
def _convolve(a: Any, task: int, scratch: int) -> None:
    frame, image, line, pixel, jump, taps, values = a[0] + a[1], a[2], a[3], a[4], a[5], a[6], a[7]
    b, b_row, b_panel, c, c_image, c_line, c_pixel, start, start_panel = (
        a[8], a[9], a[10], a[11], a[12], a[13], a[14], a[15], a[16])  # fmt: skip
    total, lines, each, pixels, columns, rows, vectors, floor = (
        a[17], a[18], a[19], a[20], a[21], a[22], a[23], as_float(a[24]))  # fmt: skip
    first, last = task * each, min(total, (task + 1) * each)
    for panel in range((columns + vectors * LANES - 1) // (vectors * LANES)):
        column = panel * vectors * LANES
        here = min(columns - column, vectors * LANES)
        tiles = 25 if here == vectors * LANES else 27
        for at in range(first, last):
            n, i = at // lines, at % lines
            from_line, to_line = frame + n * image + i * line, c + n * c_image + i * c_line + 4 * column
            for j in range(0, pixels, rows):
                call_tile(a[tiles + (1 if j + rows >= pixels else 0)], from_line + j * pixel, pixel, 4, jump,
                          b + panel * b_panel, b_row, to_line + j * c_pixel, c_pixel, start + panel * start_panel, 0,
                          taps, values, here, floor)  # fmt: skip


class Phase(NamedTuple):
    """The rows (or columns) of the images that leave one remainder, and what of the filter and of dy they see."""

    first: int  # row of the image; then every stride-th
    rows: int
    tap: int  # the row of the filter that the last of the `taps` rows of dy meets; those before meet stride more each
    taps: int
    begin: int  # row of dy (negative: in the border) that the first row of the image begins with


def phases(size: int, taps: int, stride: int, padding: int) -> Iterator[Phase]:
    """Yield the phases of one axis of a convolution backwards: those rows that have filter rows at all."""
    for first in range(min(stride, size)):
        quotient, remainder = divmod(first + padding, stride)
        here = -(-(taps - remainder) // stride)
        if here > 0:
            yield Phase(first, -(-(size - first) // stride), remainder, here, quotient - here + 1)


def border(all_phases: list[Phase], outputs: int) -> tuple[int, int]:
    """Return how many rows of zeros the gradient needs before and behind for all phases."""
    before = max((-p.begin for p in all_phases), default=0)
    behind = max((p.begin + p.rows - 1 + p.taps - outputs for p in all_phases), default=0)
    return max(0, before), max(0, behind)


def backward_images(w: Any, dy: Any, dx: Any, stride: int, padding: int) -> list[Call]:
    """Return the instructions for dx, sum over r, s, k of dy at ((h + padding - r) / stride, ...) w[r, s, c, k]."""
    (N, H, W, C), (R, S, _, K), (OH, OW) = dx.shape, w.shape, dy.shape[1:3]
    down, across = list(phases(H, R, stride, padding)), list(phases(W, S, stride, padding))
    (top, bottom), (left, right) = border(down, OH), border(across, OW)
    framed = any((top, bottom, left, right))
    frame = aligned((N, OH + top + bottom, OW + left + right, K)) if framed else dy
    calls = fill_frame(dy, frame, top, left)
    if len(down) < min(stride, H) or len(across) < min(stride, W):
        calls += copy_lines(None, (0, 0), dx, dx.strides[:2], (N, H), W * C)
    packed = aligned((R * S * K, -(-C // LANES) * LANES))
    calls += [call(_turn_filters, R * S, w, packed, R, S, C, K, stride)]
    for p in down:
        for q in across:
            taps = taps_of(frame, p.taps, q.taps, 1)
            begin = (p.begin + top) * frame.strides[1] + (q.begin + left) * frame.strides[2]
            filters = packed[_first_row(p.tap, q.tap, R, S, K, stride) :]
            seen = dx[:, p.first :: stride, q.first :: stride]
            calls.append(convolve(frame, begin, taps, filters, packed.strides[0], 0, seen, C))
    return calls


def _first_row(r: int, s: int, R: int, S: int, K: int, stride: int) -> int:
    """Return the row of the packed filters where the phase of these remainders begins; phases lie in their order."""
    rows_before = sum(len(range(i, R, stride)) for i in range(r))
    columns_before = sum(len(range(j, S, stride)) for j in range(s))
    return (rows_before * S + len(range(r, R, stride)) * columns_before) * K


@kernel
def _turn_filters(a: Any, task: int, scratch: int) -> None:
    """Copy one tap, w[r, s] [C, K], transposed to its place: phase by phase, in each the taps in falling order."""
    w, packed, R, S, C, K, stride = a[0], a[1], a[2], a[3], a[4], a[5], a[6]
    r, s = task // S, task % S
    rows_before, rows, at_row = _place(r, R, stride)
    columns_before, columns, at_column = _place(s, S, stride)
    place = rows_before * S + rows * columns_before + at_row * columns + at_column
    row = (C + LANES - 1) // LANES * BYTES
    transpose(w + task * C * K * 4, K * 4, C, K, packed + place * K * row, row)


@njit(cache=True, nogil=True)
def _place(r: int, R: int, stride: int) -> tuple[int, int, int]:
    """Return how many taps have smaller remainders than tap r, how many the same, and its place among them."""
    remainder, before = r % stride, 0
    for i in range(min(remainder, R)):
        before += (R - 1 - i) // stride + 1
    same = (R - 1 - remainder) // stride + 1
    return before, same, same - 1 - r // stride


@kernel
def _copy_lines(a: Any, task: int, scratch: int) -> None:
    source, source_image, source_line, to, to_image, to_line = a[0], a[1], a[2], a[3], a[4], a[5]
    total, lines, each, values, zero = a[6], a[7], a[8], a[9], a[10]
    for at in range(task * each, min(total, (task + 1) * each)):
        n, i = at // lines, at % lines
        line = to + n * to_image + i * to_line
        if zero:
            clear(line, values)
        else:
            copy(source + n * source_image + i * source_line, line, values)

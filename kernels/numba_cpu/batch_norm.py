"""Batch normalization of float32 on vectors: channel beside channel, blocks of rows over the threads.

A task takes some rows of a ghost batch, or several small ghost batches, a few thousand values that stay in its cache:

    forward     mean and sum of squares around it, per block, in two passes; of the ghost batch; then y
    backward    sums of dy and of dy x_hat, per block; of the ghost batch; then dx, and the sums over ghost batches

The second instruction puts the blocks of a ghost batch together, always in the same order: the mean of the means, and
for the squares those of the blocks plus rows times the squared distance of the block's mean (Chan, Golub and LeVeque
1983, "Algorithms for computing the sample variance"). Sums run in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..contract import Array
from .program import Call, Kernel, as_float, call, kernel
from .simd import BYTES, LANES, Emitter, Real, Value, emit
from .wide import double, doubles, each_vector, load_doubles, real, single

BLOCK = 16384  # values of a task
ROWS = 4  # beside each other


def cut(M: int, C: int) -> tuple[int, int, int]:
    """Return rows of a block, blocks of a ghost batch, and ghost batches of a task (1 where they are cut)."""
    rows = min(M, max(1, BLOCK // C))
    blocks = -(-M // rows)
    rows = -(-M // blocks)
    return rows, -(-M // rows), max(1, BLOCK // (M * C)) if blocks == 1 else 1


def padded(C: int) -> int:
    return -(-C // LANES) * LANES


def forward_calls(
    x: Array, gamma: Array, beta: Array, y: Array, mean: Array, var: Array, epsilon: float, floor: float
) -> list[Call]:
    G, M, C = x.shape
    rows, blocks, groups = cut(M, C)
    moments = np.empty((G, blocks, 2, padded(C)))
    tasks = -(-G // groups) * blocks
    cuts = (G, M, C, rows, blocks, groups)
    return [
        call(_moments, tasks, *cuts, moments, x),
        _per_group(_combine, G, C, blocks, groups, M, rows, moments, mean, var),
        call(_normalize, tasks, *cuts, x, gamma, beta, y, mean, var, float(epsilon), float(floor),
             scratch=4 * padded(C)),
    ] if G else []  # fmt: skip


def inference_calls(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, y: Array, epsilon: float
) -> list[Call]:
    B, C = x.shape
    if not B:
        return []
    rows, blocks, _ = cut(B, C)
    return [call(_infer, blocks, B, C, rows, x, gamma, beta, y, mean, var, float(epsilon),
                 scratch=4 * padded(C))]  # fmt: skip


def backward_calls(
    x: Array, gamma: Array, mean: Array, var: Array, dy: Array, dx: Array, dgamma: Array, dbeta: Array, epsilon: float
) -> list[Call]:
    G, M, C = x.shape
    rows, blocks, groups = cut(M, C)
    sums, totals = np.empty((G, blocks, 2, padded(C))), np.empty((G, 1, 2, padded(C)))
    tasks = -(-G // groups) * blocks
    arguments = (G, M, C, rows, blocks, groups, x, dy, mean, var, float(epsilon))
    through = [
        call(_gradient_sums, tasks, *arguments, sums),
        _per_group(_total, G, C, blocks, groups, sums, totals),
        call(_input_gradient, tasks, *arguments, totals, gamma, dx, scratch=24 * padded(C)),
    ] if G else []  # fmt: skip
    return [*through, parameter_gradients(totals, C, dgamma, dbeta)]


def _per_group(kernel: Kernel, G: int, C: int, blocks: int, groups: int, *arguments: Any) -> Call:
    """Return an instruction whose tasks are some ghost batches, or one vector of channels of one that is cut."""
    parts = padded(C) // LANES if blocks > 1 else 1
    return call(kernel, -(-G // groups) * parts, G, C, blocks, groups, parts, *arguments)


def parameter_gradients(sums: Array, C: int, dgamma: Array, dbeta: Array) -> Call:
    """Return the instruction dbeta, dgamma <- the sums over all blocks of sums[..., 2, padded C], float64."""
    count = sums.size // (2 * sums.shape[-1])
    return call(_add_blocks, -(-C // LANES), sums, count, C, dgamma, dbeta)


# Kernels. Of each: the ghost batches of a task, and of each of them one block of rows.


@kernel
def _moments(a: Any, task: int, scratch: int) -> None:
    G, M, C, rows, blocks, groups, moments = a[0], a[1], a[2], a[3], a[4], a[5], a[6]
    pad = 8 * (-(-C // LANES) * LANES)
    block = task % blocks
    for g in range(task // blocks * groups, min(G, (task // blocks + 1) * groups)):
        x = a[7] + 4 * C * (g * M + block * rows)
        _block_moments(x, min(rows, M - block * rows), C, moments + 2 * pad * (g * blocks + block), pad)


@kernel
def _combine(a: Any, task: int, scratch: int) -> None:
    G, C, blocks, groups, parts, M, rows, moments = a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]
    pad = 8 * (-(-C // LANES) * LANES)
    first = task % parts * LANES
    channels = C if parts == 1 else min(LANES, C - first)
    for g in range(task // parts * groups, min(G, (task // parts + 1) * groups)):
        at = 4 * (C * g + first)
        _statistics(moments + 2 * pad * g * blocks + 8 * first, pad, blocks, rows, M, channels, a[8] + at, a[9] + at)


@kernel
def _total(a: Any, task: int, scratch: int) -> None:
    G, C, blocks, groups, parts, sums, totals = a[0], a[1], a[2], a[3], a[4], a[5], a[6]
    pad = 8 * (-(-C // LANES) * LANES)
    first = task % parts * LANES
    channels = C if parts == 1 else LANES
    for g in range(task // parts * groups, min(G, (task // parts + 1) * groups)):
        _totals(sums + 2 * pad * g * blocks + 8 * first, pad, blocks, channels, totals + 2 * pad * g + 8 * first)


@kernel
def _normalize(a: Any, task: int, scratch: int) -> None:
    G, M, C, rows, blocks, groups = a[0], a[1], a[2], a[3], a[4], a[5]
    block = task % blocks
    for g in range(task // blocks * groups, min(G, (task // blocks + 1) * groups)):
        at = 4 * C * (g * M + block * rows)
        _scale_rows(a[6] + at, a[9] + at, min(rows, M - block * rows), C, a[7], a[8], a[10] + 4 * C * g,
                    a[11] + 4 * C * g, scratch, as_float(a[12]), as_float(a[13]))


@kernel
def _infer(a: Any, task: int, scratch: int) -> None:
    B, C, rows = a[0], a[1], a[2]
    at = 4 * C * rows * task
    _scale_rows(a[3] + at, a[6] + at, min(rows, B - task * rows), C, a[4], a[5], a[7], a[8], scratch,
                as_float(a[9]), -np.inf)


@kernel
def _gradient_sums(a: Any, task: int, scratch: int) -> None:
    G, M, C, rows, blocks, groups, sums = a[0], a[1], a[2], a[3], a[4], a[5], a[11]
    pad = 8 * (-(-C // LANES) * LANES)
    block = task % blocks
    for g in range(task // blocks * groups, min(G, (task // blocks + 1) * groups)):
        at = 4 * C * (g * M + block * rows)
        _block_gradient_sums(a[6] + at, a[7] + at, min(rows, M - block * rows), C, a[8] + 4 * C * g, a[9] + 4 * C * g,
                             sums + 2 * pad * (g * blocks + block), pad, as_float(a[10]))


@kernel
def _input_gradient(a: Any, task: int, scratch: int) -> None:
    G, M, C, rows, blocks, groups, totals = a[0], a[1], a[2], a[3], a[4], a[5], a[11]
    pad = 8 * (-(-C // LANES) * LANES)
    block = task % blocks
    for g in range(task // blocks * groups, min(G, (task // blocks + 1) * groups)):
        at = 4 * C * (g * M + block * rows)
        _gradient_rows(a[6] + at, a[7] + at, a[13] + at, min(rows, M - block * rows), C, a[8] + 4 * C * g,
                       a[9] + 4 * C * g, a[12], totals + 2 * pad * g, pad, M, scratch, as_float(a[10]))


@kernel
def _add_blocks(a: Any, task: int, scratch: int) -> None:
    sums, count, C, dgamma, dbeta = a[0], a[1], a[2], a[3], a[4]
    pad, at = 8 * (-(-C // LANES) * LANES), task * BYTES
    _sum_of_blocks(sums + 2 * at, pad, count, C - task * LANES, dgamma + at, dbeta + at)


# Micro-kernels. Rows are read as they lie, ROWS beside each other, so that what belongs to a channel (a sum, a factor),
# kept in memory, is loaded once for all of them.


def over_rows(
    e: Emitter, rows: Value, C: Value, streams: list[Value],
    body: Callable[[Value, Value | None, list[Value], list[Value]], None], writes: bool = False,
) -> None:  # fmt: skip
    """Emit body(offset in a row, mask, offsets of some rows, their numbers) for all vectors of all rows.

    The same place of the next ROWS rows of `streams` is asked for: several rows in turn, in one page of memory, are
    not the stream that a CPU foresees by itself (twice as fast at C = 256).
    """
    def some(first: Value, count: int) -> None:
        numbers = [first + k for k in range(count)]
        starts = [i * (C * 4) for i in numbers]

        def fetch_and_do(at: Value, inside: Value | None) -> None:
            for start in starts if count > 1 else []:
                for stream in streams:
                    e.prefetch(stream + start + at + C * (4 * ROWS))
            body(at, inside, starts, numbers)

        each_vector(e, C, fetch_and_do)

    # Rows of a page and more fall into the same few places of the cache: where as many are written, one by one.
    groups = e.where(C < 1024, rows // ROWS, e.whole(0)) if writes else rows // ROWS
    e.loop(groups, [], lambda i: some(i * ROWS, ROWS))
    e.loop(rows - groups * ROWS, [], lambda i: some(groups * ROWS + i, 1))


@emit
def _block_moments(e: Emitter, x: Value, rows: Value, C: Value, center: Value, pad: Value) -> None:
    """Write the means of the channels, and the sums of squares around them `pad` bytes further."""
    squares, count = center + pad, e.fill(real(e, rows))
    clear(e, C, center, squares)

    def add(at: Value, inside: Value | None, starts: list[Value], _: list[Value]) -> None:
        total = load_doubles(e, center + at * 2)
        for start in starts:
            total = total + double(e, e.load(x + start + at, inside))
        e.store(total, center + at * 2)

    def add_squares(at: Value, inside: Value | None, starts: list[Value], _: list[Value]) -> None:
        middle, total = load_doubles(e, center + at * 2), load_doubles(e, squares + at * 2)
        for start in starts:
            off = double(e, e.load(x + start + at, inside)) - middle
            total = e.fma(off, off, total)
        e.store(total, squares + at * 2)

    over_rows(e, rows, C, [x], add)
    each_vector(e, C, lambda at, _: e.store(load_doubles(e, center + at * 2) / count, center + at * 2))
    over_rows(e, rows, C, [], add_squares)


def clear(e: Emitter, C: Value, *sums: Value) -> None:
    def zero(at: Value, _: Value | None) -> None:
        for to in sums:
            e.store(doubles(e, 0), to + at * 2)

    each_vector(e, C, zero)


@emit
def _statistics(
    e: Emitter, moments: Value, pad: Value, blocks: Value, rows: Value, M: Value, C: Value, mean: Value, var: Value
) -> None:
    """Put the moments of the blocks of a ghost batch together."""
    only_one, all_rows = e.all_if(blocks.equals(1)), e.fill(real(e, M))

    def body(at: Value, inside: Value | None) -> None:
        def rows_of(i: Value) -> Value:  # of block i: the last has what is left
            left = M - rows * i
            return e.fill(real(e, e.where(left < rows, left, rows)))

        def center_of(i: Value) -> Value:
            return load_doubles(e, moments + i * (pad * 2) + at * 2)

        def add_squares(i: Value, squares: Value) -> list[Value]:
            off = center_of(i) - center
            within = load_doubles(e, moments + i * (pad * 2) + pad + at * 2)
            return [squares + e.fma(rows_of(i) * off, off, within)]

        (total,) = e.loop(blocks, [doubles(e, 0)], lambda i, s: [e.fma(rows_of(i), center_of(i), s)])
        center = e.where(only_one, center_of(e.whole(0)), total / all_rows)
        (squares,) = e.loop(blocks, [doubles(e, 0)], add_squares)
        e.store(single(e, center), mean + at, inside)
        e.store(single(e, squares / all_rows), var + at, inside)

    each_vector(e, C, body)


@emit
def _scale_rows(
    e: Emitter, x: Value, y: Value, rows: Value, C: Value, gamma: Value, beta: Value, mean: Value, var: Value,
    factor: Value, epsilon: Real, floor: Real,
) -> None:  # fmt: skip
    """y = max(floor, (x - mean) factor + beta) with factor = gamma / sigma, which is written too."""
    epsilon, floor = e.fill(epsilon), e.splat(floor)

    def divide(at: Value, inside: Value | None) -> None:
        sigma = e.sqrt(double(e, e.load(var + at, inside)) + epsilon)
        e.store(single(e, double(e, e.load(gamma + at, inside)) / sigma), factor + at, inside)

    def scale(at: Value, inside: Value | None, starts: list[Value], _: list[Value]) -> None:
        center, slope, shift = (e.load(vector + at, inside) for vector in (mean, factor, beta))
        for start in starts:
            value = e.fma(e.load(x + start + at, inside) - center, slope, shift)
            e.store(e.where(value <= floor, floor, value), y + start + at, inside)  # a NaN is not below and stays

    each_vector(e, C, divide)
    over_rows(e, rows, C, [x], scale, writes=True)


@emit
def _block_gradient_sums(
    e: Emitter, x: Value, dy: Value, rows: Value, C: Value, mean: Value, var: Value, to: Value, pad: Value,
    epsilon: Real,
) -> None:  # fmt: skip
    """Write the sums of dy, and those of dy x_hat `pad` bytes further."""
    epsilon = e.fill(epsilon)
    clear(e, C, to, to + pad)

    def add(at: Value, inside: Value | None, starts: list[Value], _: list[Value]) -> None:
        center = e.load(mean + at, inside)
        total, total_off = load_doubles(e, to + at * 2), load_doubles(e, to + pad + at * 2)
        for start in starts:
            slope = double(e, e.load(dy + start + at, inside))
            off = double(e, e.load(x + start + at, inside) - center)
            total, total_off = total + slope, e.fma(slope, off, total_off)
        e.store(total, to + at * 2)
        e.store(total_off, to + pad + at * 2)

    def divide(at: Value, inside: Value | None) -> None:
        sigma = e.sqrt(double(e, e.load(var + at, inside)) + epsilon)
        e.store(load_doubles(e, to + pad + at * 2) / sigma, to + pad + at * 2)

    over_rows(e, rows, C, [x, dy], add)
    each_vector(e, C, divide)


@emit
def _gradient_rows(
    e: Emitter, x: Value, dy: Value, dx: Value, rows: Value, C: Value, mean: Value, var: Value, gamma: Value,
    totals: Value, pad: Value, M: Value, scratch: Value, epsilon: Real,
) -> None:  # fmt: skip
    """dx = factor (dy - shift - (x - mean) slope), from the sums over the ghost batch."""
    epsilon, per_row = e.fill(epsilon), e.fill(1.0 / real(e, M))
    factors, shifts, slopes = scratch, scratch + pad, scratch + pad * 2

    def prepare(at: Value, inside: Value | None) -> None:
        sum_dy, sum_dy_x_hat = load_doubles(e, totals + at * 2), load_doubles(e, totals + pad + at * 2)
        per_sigma = 1.0 / e.sqrt(double(e, e.load(var + at, inside)) + epsilon)
        e.store(single(e, double(e, e.load(gamma + at, inside)) * per_sigma), factors + at)
        e.store(single(e, sum_dy * per_row), shifts + at)
        e.store(single(e, sum_dy_x_hat * per_sigma * per_row), slopes + at)

    def write(at: Value, inside: Value | None, starts: list[Value], _: list[Value]) -> None:
        factor, shift, slope = (e.load(vector + at) for vector in (factors, shifts, slopes))
        center = e.load(mean + at, inside)
        for start in starts:
            off = e.load(x + start + at, inside) - center
            e.store(factor * (e.load(dy + start + at, inside) - shift - off * slope), dx + start + at, inside)

    each_vector(e, C, prepare)
    over_rows(e, rows, C, [x, dy], write, writes=True)


def add_blocks(e: Emitter, sums: Value, pad: Value, count: Value) -> list[Value]:
    """Return the two sums over `count` blocks of a vector of channels."""
    def add(i: Value, first: Value, second: Value) -> list[Value]:
        block = sums + i * (pad * 2)
        return [first + load_doubles(e, block), second + load_doubles(e, block + pad)]

    return e.loop(count, [doubles(e, 0)] * 2, add)


@emit
def _totals(e: Emitter, sums: Value, pad: Value, blocks: Value, C: Value, to: Value) -> None:
    def body(at: Value, _: Value | None) -> None:
        for i, total in enumerate(add_blocks(e, sums + at * 2, pad, blocks)):
            e.store(total, to + pad * i + at * 2)

    each_vector(e, C, body)


@emit
def _sum_of_blocks(e: Emitter, sums: Value, pad: Value, count: Value, C: Value, dgamma: Value, dbeta: Value) -> None:
    of_dy, of_dy_x_hat = add_blocks(e, sums, pad, count)
    e.store(single(e, of_dy_x_hat), dgamma, e.first(C))
    e.store(single(e, of_dy), dbeta, e.first(C))

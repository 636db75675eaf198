"""Batch normalization of float32 on vectors: channel beside channel, blocks of rows over the threads.

A task takes some rows of a ghost batch, or several small ghost batches, a few thousand values that stay in its cache:

    forward     mean and sum of squares around it, per block, in two passes    then y
    backward    sums of dy and of dy x_hat per block                           then dx, and the sums of the sums

The second instruction puts the blocks of a ghost batch together, always in the same order: the mean of the means, and
for the squares those of the blocks plus rows times the squared distance of the block's mean (Chan, Golub and LeVeque
1983, "Algorithms for computing the sample variance"). Sums run in float64.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..contract import Array
from .program import Call, as_float, call, kernel
from .simd import BYTES, LANES, Emitter, Value, emit
from .wide import double, doubles, each_vector, full_of, load_doubles, real, single

BLOCK = 16384  # values of a task
WIDE = 2  # vectors of channels at a time


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
    cuts = (G, M, C, rows, blocks, groups, moments)
    return [
        call(_moments, tasks, *cuts, x),
        call(_normalize, tasks, *cuts, x, gamma, beta, y, mean, var, float(epsilon), float(floor),
             scratch=16 * padded(C)),
    ] if G else []  # fmt: skip


def inference_calls(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, y: Array, epsilon: float
) -> list[Call]:
    B, C = x.shape
    if not B:
        return []
    rows, blocks, _ = cut(B, C)
    return [call(_infer, blocks, B, C, rows, x, gamma, beta, y, mean, var, float(epsilon))]


def backward_calls(
    x: Array, gamma: Array, mean: Array, var: Array, dy: Array, dx: Array, dgamma: Array, dbeta: Array, epsilon: float
) -> list[Call]:
    G, M, C = x.shape
    rows, blocks, groups = cut(M, C)
    sums = np.empty((G, blocks, 2, padded(C)))
    tasks = -(-G // groups) * blocks
    arguments = (G, M, C, rows, blocks, groups, sums, x, dy, mean, var, float(epsilon), gamma, dx)
    over_rows = [call(_gradient_sums, tasks, *arguments), call(_input_gradient, tasks, *arguments)] if G else []
    return [*over_rows, parameter_gradients(sums, C, dgamma, dbeta)]


def parameter_gradients(sums: Array, C: int, dgamma: Array, dbeta: Array) -> Call:
    """Return the instruction dbeta, dgamma <- the sums over all blocks of sums[..., 2, padded C], float64."""
    count = sums.size // (2 * sums.shape[-1])
    return call(_add_blocks, -(-C // LANES), sums, count, C, dgamma, dbeta)


# Kernels. Of each: the ghost batches of a task, and of each of them one block of rows.


@kernel
def _moments(a, task, scratch):
    G, M, C, rows, blocks, groups, moments = a[0], a[1], a[2], a[3], a[4], a[5], a[6]
    pad = 8 * (-(-C // LANES) * LANES)
    block = task % blocks
    for g in range(task // blocks * groups, min(G, (task // blocks + 1) * groups)):
        x = a[7] + 4 * C * (g * M + block * rows)
        _block_moments(x, min(rows, M - block * rows), C, moments + 2 * pad * (g * blocks + block), pad)


@kernel
def _normalize(a, task, scratch):
    G, M, C, rows, blocks, groups, moments = a[0], a[1], a[2], a[3], a[4], a[5], a[6]
    pad = 8 * (-(-C // LANES) * LANES)
    block = task % blocks
    for g in range(task // blocks * groups, min(G, (task // blocks + 1) * groups)):
        at = 4 * C * (g * M + block * rows)
        mean, var = a[11] + 4 * C * g, a[12] + 4 * C * g
        if blocks > 1 and block:  # the first block writes what all compute
            mean, var = scratch, scratch + pad
        _statistics(moments + 2 * pad * g * blocks, pad, blocks, rows, M, C, mean, var)
        _scale_rows(a[7] + at, a[10] + at, min(rows, M - block * rows), C, a[8], a[9], mean, var,
                    as_float(a[13]), as_float(a[14]))


@kernel
def _infer(a, task, scratch):
    B, C, rows = a[0], a[1], a[2]
    at = 4 * C * rows * task
    _scale_rows(a[3] + at, a[6] + at, min(rows, B - task * rows), C, a[4], a[5], a[7], a[8], as_float(a[9]), -np.inf)


@kernel
def _gradient_sums(a, task, scratch):
    G, M, C, rows, blocks, groups, sums = a[0], a[1], a[2], a[3], a[4], a[5], a[6]
    pad = 8 * (-(-C // LANES) * LANES)
    block = task % blocks
    for g in range(task // blocks * groups, min(G, (task // blocks + 1) * groups)):
        at = 4 * C * (g * M + block * rows)
        _block_gradient_sums(a[7] + at, a[8] + at, min(rows, M - block * rows), C, a[9] + 4 * C * g, a[10] + 4 * C * g,
                             sums + 2 * pad * (g * blocks + block), pad, as_float(a[11]))


@kernel
def _input_gradient(a, task, scratch):
    G, M, C, rows, blocks, groups, sums = a[0], a[1], a[2], a[3], a[4], a[5], a[6]
    pad = 8 * (-(-C // LANES) * LANES)
    block = task % blocks
    for g in range(task // blocks * groups, min(G, (task // blocks + 1) * groups)):
        at = 4 * C * (g * M + block * rows)
        _gradient_rows(a[7] + at, a[8] + at, a[13] + at, min(rows, M - block * rows), C, a[9] + 4 * C * g,
                       a[10] + 4 * C * g, a[12], sums + 2 * pad * g * blocks, pad, blocks, M, as_float(a[11]))


@kernel
def _add_blocks(a, task, scratch):
    sums, count, C, dgamma, dbeta = a[0], a[1], a[2], a[3], a[4]
    pad, at = 8 * (-(-C // LANES) * LANES), task * BYTES
    _sum_of_blocks(sums + 2 * at, pad, count, C - task * LANES, dgamma + at, dbeta + at)


# Micro-kernels. Channels run along the vectors, rows along the loops.


def _channels(e: Emitter, C: Value, body: Callable[[list[Value], list[Value | None]], None]) -> None:
    """Emit body(offsets, masks) for WIDE vectors of channels at a time, then for single ones."""
    many = C // (WIDE * LANES)
    steps = [BYTES * j for j in range(WIDE)]
    e.loop(many, [], lambda i: body([i * (WIDE * BYTES) + step for step in steps], [None] * WIDE))
    done = many * (WIDE * LANES)
    each_vector(e, C - done, lambda at, inside: body([done * 4 + at], [inside]))


@emit
def _block_moments(e: Emitter, x: Value, rows: Value, C: Value, to: Value, pad: Value) -> None:
    count = real(e, rows)

    def body(at: list[Value], inside: list[Value | None]) -> None:
        zeros = [doubles(e, 0.0) for _ in at]

        def row(i: Value) -> list[Value]:
            return [double(e, e.load(x + i * (C * 4) + a, m)) for a, m in zip(at, inside, strict=True)]

        sums = e.loop(rows, zeros, lambda i, *sums: [s + v for s, v in zip(sums, row(i), strict=True)])
        centers = [s / count for s in sums]

        def add_squares(i: Value, *squares: Value) -> list[Value]:
            off = [v - c for v, c in zip(row(i), centers, strict=True)]
            return [e.fma(o, o, s) for o, s in zip(off, squares, strict=True)]

        for a, center, squares in zip(at, centers, e.loop(rows, zeros, add_squares), strict=True):
            e.store(center, to + a * 2)
            e.store(squares, to + pad + a * 2)

    _channels(e, C, body)


@emit
def _statistics(
    e: Emitter, moments: Value, pad: Value, blocks: Value, rows: Value, M: Value, C: Value, mean: Value, var: Value
) -> None:
    def body(at: Value, inside: Value | None) -> None:
        def rows_of(i: Value) -> Value:  # of block i: the last has what is left
            left = M - rows * i
            return real(e, e.where(left < rows, left, rows))

        def center_of(i: Value) -> Value:
            return load_doubles(e, moments + i * (pad * 2) + at * 2)

        (total,) = e.loop(blocks, [doubles(e, 0)], lambda i, s: [e.fma(rows_of(i), center_of(i), s)])
        center = e.where(as_one, center_of(e.whole(0)), total / real(e, M))

        def add(i: Value, squares: Value) -> list[Value]:
            off = center_of(i) - center
            within = load_doubles(e, moments + i * (pad * 2) + pad + at * 2)
            return [squares + e.fma(rows_of(i) * off, off, within)]

        (squares,) = e.loop(blocks, [doubles(e, 0)], add)
        e.store(single(e, center), mean + at, inside)
        e.store(single(e, squares / real(e, M)), var + at, inside)

    as_one = e.all_if(blocks.equals(1))
    each_vector(e, C, body)


@emit
def _scale_rows(
    e: Emitter, x: Value, y: Value, rows: Value, C: Value, gamma: Value, beta: Value, mean: Value, var: Value,
    epsilon: float, floor: float,
) -> None:  # fmt: skip
    epsilon, floor = full_of(e, epsilon), e.splat(floor)

    def body(at: list[Value], inside: list[Value | None]) -> None:
        places = list(zip(at, inside, strict=True))
        centers = [e.load(mean + a, m) for a, m in places]
        sigmas = [e.sqrt(double(e, e.load(var + a, m)) + epsilon) for a, m in places]
        factors = [single(e, double(e, e.load(gamma + a, m)) / s) for (a, m), s in zip(places, sigmas, strict=True)]
        shifts = [e.load(beta + a, m) for a, m in places]

        def row(i: Value) -> None:
            for (a, m), center, factor, shift in zip(places, centers, factors, shifts, strict=True):
                value = e.fma(e.load(x + i * (C * 4) + a, m) - center, factor, shift)
                e.store(e.where(value <= floor, floor, value), y + i * (C * 4) + a, m)  # a NaN is not below and stays

        e.loop(rows, [], row)

    _channels(e, C, body)


@emit
def _block_gradient_sums(
    e: Emitter, x: Value, dy: Value, rows: Value, C: Value, mean: Value, var: Value, to: Value, pad: Value,
    epsilon: float,
) -> None:  # fmt: skip
    epsilon = full_of(e, epsilon)

    def body(at: list[Value], inside: list[Value | None]) -> None:
        places = list(zip(at, inside, strict=True))
        centers = [e.load(mean + a, m) for a, m in places]

        def add(i: Value, *sums: Value) -> list[Value]:
            new = []
            for j, (a, m) in enumerate(places):
                slope = double(e, e.load(dy + i * (C * 4) + a, m))
                off = double(e, e.load(x + i * (C * 4) + a, m) - centers[j])
                new += [sums[2 * j] + slope, e.fma(slope, off, sums[2 * j + 1])]
            return new

        sums = e.loop(rows, [doubles(e, 0)] * (2 * len(at)), add)
        for j, (a, m) in enumerate(places):
            sigma = e.sqrt(double(e, e.load(var + a, m)) + epsilon)
            e.store(sums[2 * j], to + a * 2)
            e.store(sums[2 * j + 1] / sigma, to + pad + a * 2)

    _channels(e, C, body)


@emit
def _gradient_rows(
    e: Emitter, x: Value, dy: Value, dx: Value, rows: Value, C: Value, mean: Value, var: Value, gamma: Value,
    sums: Value, pad: Value, blocks: Value, M: Value, epsilon: float,
) -> None:  # fmt: skip
    epsilon = full_of(e, epsilon)
    per_row = 1.0 / real(e, M)

    def body(at: list[Value], inside: list[Value | None]) -> None:
        places = list(zip(at, inside, strict=True))
        centers, factors, shifts, slopes = [], [], [], []
        for a, m in places:
            def add(i: Value, *two: Value, a: Value = a) -> list[Value]:
                block = sums + i * (pad * 2) + a * 2
                return [two[0] + load_doubles(e, block), two[1] + load_doubles(e, block + pad)]

            sum_dy, sum_dy_x_hat = e.loop(blocks, [doubles(e, 0)] * 2, add)
            per_sigma = 1.0 / e.sqrt(double(e, e.load(var + a, m)) + epsilon)
            centers.append(e.load(mean + a, m))
            factors.append(single(e, double(e, e.load(gamma + a, m)) * per_sigma))
            shifts.append(single(e, sum_dy * per_row))
            slopes.append(single(e, sum_dy_x_hat * per_sigma * per_row))

        def row(i: Value) -> None:
            for (a, m), center, factor, shift, slope in zip(places, centers, factors, shifts, slopes, strict=True):
                here = i * (C * 4) + a
                off = e.load(x + here, m) - center
                e.store(factor * (e.load(dy + here, m) - shift - off * slope), dx + here, m)

        e.loop(rows, [], row)

    _channels(e, C, body)


@emit
def _sum_of_blocks(e: Emitter, sums: Value, pad: Value, count: Value, C: Value, dgamma: Value, dbeta: Value) -> None:
    def add(i: Value, first: Value, second: Value) -> list[Value]:
        block = sums + i * (pad * 2)
        return [first + load_doubles(e, block), second + load_doubles(e, block + pad)]

    of_dy, of_dy_x_hat = e.loop(count, [doubles(e, 0)] * 2, add)
    e.store(single(e, of_dy_x_hat), dgamma, e.first(C))
    e.store(single(e, of_dy), dbeta, e.first(C))

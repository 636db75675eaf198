"""Layer normalization of float32 on vectors: each row by itself while it is in the cache, rows over the threads.

The gradients of gamma and beta are sums over rows: of the rows of a task first, column by column, then of the tasks.
Sums run in float64.
"""

from __future__ import annotations

import numpy as np

from ..contract import Array
from .batch_norm import padded, parameter_gradients
from .program import Call, as_float, blocks, call, kernel
from .simd import LANES, Emitter, Value, emit
from .wide import double, doubles, each_vector, fold, full_of, full_of_double, real, single, sum_lanes

BLOCK = 16384  # values of a task


def forward_calls(
    x: Array, gamma: Array, beta: Array, y: Array, mean: Array, var: Array, epsilon: float
) -> list[Call]:
    B, C = x.shape
    tasks, rows = blocks(B, max(1, BLOCK // C))
    return [call(_forward, tasks, B, C, rows, x, gamma, beta, y, mean, var, float(epsilon))] if B else []


def backward_calls(
    x: Array, gamma: Array, mean: Array, var: Array, dy: Array, dx: Array, dgamma: Array, dbeta: Array, epsilon: float
) -> list[Call]:
    B, C = x.shape
    tasks, rows = blocks(B, max(1, BLOCK // C, B // 512))
    tasks = tasks if B else 0
    sums = np.empty((tasks, 2, padded(C)))
    over_rows = [call(_backward, tasks, B, C, rows, x, gamma, dy, dx, mean, var, float(epsilon), sums,
                      scratch=8 * rows)] if B else []  # fmt: skip
    return [*over_rows, parameter_gradients(sums, C, dgamma, dbeta)]


@kernel
def _forward(a, task, scratch):
    B, C, rows = a[0], a[1], a[2]
    for b in range(task * rows, min(B, (task + 1) * rows)):
        at = 4 * C * b
        _normalize_row(a[3] + at, C, a[4], a[5], a[6] + at, a[7] + 4 * b, a[8] + 4 * b, as_float(a[9]))


@kernel
def _backward(a, task, scratch):
    B, C, rows = a[0], a[1], a[2]
    first, end = task * rows, min(B, (task + 1) * rows)
    for b in range(first, end):
        at = 4 * C * b
        _gradient_of_row(a[3] + at, a[5] + at, C, a[4], a[6] + at, a[7] + 4 * b, a[8] + 4 * b,
                         scratch + 8 * (b - first), as_float(a[9]))
    pad = 8 * (-(-C // LANES) * LANES)
    at = 4 * C * first
    _parameter_sums(a[3] + at, a[5] + at, end - first, C, a[7] + 4 * first, scratch, a[10] + 2 * pad * task, pad)


@emit
def _normalize_row(
    e: Emitter, x: Value, C: Value, gamma: Value, beta: Value, y: Value, mean: Value, var: Value, epsilon: float
) -> None:
    def add(at: Value, inside: Value | None, total: Value) -> list[Value]:
        return [total + double(e, e.load(x + at, inside))]

    center = full_of(e, sum_lanes(e, fold(e, C, [doubles(e, 0)], add)[0])) / real(e, C)

    def add_square(at: Value, inside: Value | None, total: Value) -> list[Value]:
        off = double(e, e.load(x + at, inside)) - center
        off = off if inside is None else e.where(inside, off, doubles(e, 0))
        return [e.fma(off, off, total)]

    square = full_of(e, sum_lanes(e, fold(e, C, [doubles(e, 0)], add_square)[0])) / real(e, C)
    one = e.first(e.whole(1))
    e.store(single(e, center), mean, one)
    e.store(single(e, square), var, one)
    rounded = single(e, center)
    factor = single(e, 1.0 / e.sqrt(double(e, single(e, square)) + full_of(e, epsilon)))

    def normalize(at: Value, inside: Value | None) -> None:
        x_hat = (e.load(x + at, inside) - rounded) * factor
        e.store(e.fma(e.load(gamma + at, inside), x_hat, e.load(beta + at, inside)), y + at, inside)

    each_vector(e, C, normalize)


@emit
def _gradient_of_row(
    e: Emitter, x: Value, dy: Value, C: Value, gamma: Value, dx: Value, mean: Value, var: Value, per_sigma: Value,
    epsilon: float,
) -> None:  # fmt: skip
    """dx = (gamma dy - mean(gamma dy) - x_hat mean(gamma dy x_hat)) / sigma; per_sigma[0] <- 1 / sigma."""
    center = e.broadcast(mean)
    wide = 1.0 / e.sqrt(double(e, e.broadcast(var)) + full_of(e, epsilon))

    def add(at: Value, inside: Value | None, total: Value, total_off: Value) -> list[Value]:
        slope = double(e, e.load(gamma + at, inside)) * double(e, e.load(dy + at, inside))  # 0 outside
        off = double(e, e.load(x + at, inside) - center)
        return [total + slope, e.fma(slope, off, total_off)]

    total, total_off = (full_of(e, sum_lanes(e, s)) / real(e, C) for s in fold(e, C, [doubles(e, 0)] * 2, add))
    shift, slope, factor = single(e, total), single(e, total_off * wide * wide), single(e, wide)
    e.store(Value(e, e.b.extract_element(wide.v, e.whole(0).v)), per_sigma)

    def write(at: Value, inside: Value | None) -> None:
        off = e.load(x + at, inside) - center
        value = e.load(gamma + at, inside) * e.load(dy + at, inside) - shift - off * slope
        e.store(value * factor, dx + at, inside)

    each_vector(e, C, write)


@emit
def _parameter_sums(
    e: Emitter, x: Value, dy: Value, rows: Value, C: Value, mean: Value, per_sigma: Value, to: Value, pad: Value
) -> None:
    """Write the sums over rows of dy and of dy x_hat, for every column."""
    def body(at: Value, inside: Value | None) -> None:
        def add(i: Value, total: Value, total_hat: Value) -> list[Value]:
            here = i * (C * 4) + at
            slope = double(e, e.load(dy + here, inside))
            off = double(e, e.load(x + here, inside) - e.broadcast(mean + i * 4))
            x_hat = off * full_of_double(e, per_sigma + i * 8)
            return [total + slope, e.fma(slope, x_hat, total_hat)]

        total, total_hat = e.loop(rows, [doubles(e, 0)] * 2, add)
        e.store(total, to + at * 2)
        e.store(total_hat, to + pad + at * 2)

    each_vector(e, C, body)

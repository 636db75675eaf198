"""Layer normalization of float32 on vectors: each row by itself while it is in the cache, rows over the threads.

The gradients of gamma and beta are sums over rows: of the rows of a task first, column by column, then of the tasks.
Sums run in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..contract import Array
from .batch_norm import clear, over_rows, padded, parameter_gradients
from .program import Call, as_float, blocks, call, kernel
from .simd import LANES, Emitter, Real, Value, emit
from .wide import (
    double,
    doubles,
    each_vector,
    fold,
    load_doubles,
    real,
    rounded,
    square_root,
    sum_lanes,
    widened,
)

BLOCK = 16384  # values of a task
CACHED = 2048  # values whose rows are gone through twice while they are in the fastest cache
ROW = 16  # bytes of the four numbers of a row that its gradient needs


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
                      scratch=ROW * max(4, CACHED // C))] if B else []  # fmt: skip
    return [*over_rows, parameter_gradients(sums, C, dgamma, dbeta)]


@kernel
def _forward(a: Any, task: int, scratch: int) -> None:
    B, C, rows = a[0], a[1], a[2]
    for b in range(task * rows, min(B, (task + 1) * rows)):
        at = 4 * C * b
        _normalize_row(a[3] + at, C, a[4], a[5], a[6] + at, a[7] + 4 * b, a[8] + 4 * b, as_float(a[9]))


@kernel
def _backward(a: Any, task: int, scratch: int) -> None:
    B, C, rows = a[0], a[1], a[2]
    pad = 8 * (-(-C // LANES) * LANES)
    sums, end, few = a[10] + 2 * pad * task, min(B, (task + 1) * rows), max(4, CACHED // C)
    _zero(sums, pad // 4)
    for first in range(task * rows, end, few):
        last = min(end, first + few)
        for b in range(first, last):
            at = 4 * C * b
            _row_numbers(a[3] + at, a[5] + at, C, a[4], a[7] + 4 * b, a[8] + 4 * b, scratch + ROW * (b - first),
                         as_float(a[9]))
        at = 4 * C * first
        _gradient_rows(a[3] + at, a[5] + at, last - first, C, a[4], a[6] + at, scratch, sums, pad)


@emit
def _normalize_row(
    e: Emitter, x: Value, C: Value, gamma: Value, beta: Value, y: Value, mean: Value, var: Value, epsilon: Real
) -> None:
    def add(at: Value, inside: Value | None, total: Value) -> list[Value]:
        return [total + double(e, e.load(x + at, inside))]

    def add_square(at: Value, inside: Value | None, total: Value) -> list[Value]:
        off = double(e, e.load(x + at, inside)) - middle
        off = off if inside is None else e.where(inside, off, doubles(e, 0))
        return [e.fma(off, off, total)]

    count = real(e, C)
    center = sum_lanes(e, fold(e, C, [doubles(e, 0)], add)[0]) / count
    middle = e.fill(center)
    square = rounded(e, sum_lanes(e, fold(e, C, [doubles(e, 0)], add_square)[0]) / count)
    e.store(rounded(e, center), mean)
    e.store(square, var)
    shift, factor = e.splat(center), e.splat(1.0 / square_root(e, widened(e, square) + epsilon))

    def normalize(at: Value, inside: Value | None) -> None:
        x_hat = (e.load(x + at, inside) - shift) * factor
        e.store(e.fma(e.load(gamma + at, inside), x_hat, e.load(beta + at, inside)), y + at, inside)

    each_vector(e, C, normalize)


@emit
def _row_numbers(
    e: Emitter, x: Value, dy: Value, C: Value, gamma: Value, mean: Value, var: Value, to: Value, epsilon: Real
) -> None:
    """Write mean, mean(gamma dy), mean(gamma dy x_hat) / sigma and 1 / sigma of a row."""
    middle = e.load_float(mean)
    per_sigma, per_value = 1.0 / square_root(e, widened(e, e.load_float(var)) + epsilon), 1.0 / real(e, C)
    center = e.splat(middle)

    def add(at: Value, inside: Value | None, total: Value, total_off: Value) -> list[Value]:
        slope = double(e, e.load(gamma + at, inside) * e.load(dy + at, inside))  # 0 outside
        return [total + slope, e.fma(slope, double(e, e.load(x + at, inside) - center), total_off)]

    total, total_off = (sum_lanes(e, s) * per_value for s in fold(e, C, [doubles(e, 0)] * 2, add))
    numbers = middle, rounded(e, total), rounded(e, total_off * per_sigma * per_sigma), rounded(e, per_sigma)
    for i, number in enumerate(numbers):
        e.store(number, to + 4 * i)


@emit
def _zero(e: Emitter, sums: Value, values: Value) -> None:
    clear(e, values, sums)


@emit
def _gradient_rows(
    e: Emitter, x: Value, dy: Value, rows: Value, C: Value, gamma: Value, dx: Value, numbers: Value, sums: Value,
    pad: Value,
) -> None:  # fmt: skip
    """dx = (gamma dy - shift - (x - mean) slope) / sigma; add dy and dy x_hat of the rows to the sums."""
    def body(at: Value, inside: Value | None, starts: list[Value], rows: list[Value]) -> None:
        scale = e.load(gamma + at, inside)
        total, total_hat = load_doubles(e, sums + at * 2), load_doubles(e, sums + pad + at * 2)
        for start, row in zip(starts, rows, strict=True):
            center, shift, slope, factor = (e.broadcast(numbers + row * ROW + 4 * i) for i in range(4))
            grown, off = e.load(dy + start + at, inside), e.load(x + start + at, inside) - center
            e.store((scale * grown - shift - off * slope) * factor, dx + start + at, inside)
            wide = double(e, grown)
            total, total_hat = total + wide, e.fma(wide, double(e, off * factor), total_hat)
        e.store(total, sums + at * 2)
        e.store(total_hat, sums + pad + at * 2)

    over_rows(e, rows, C, [], body, writes=True)

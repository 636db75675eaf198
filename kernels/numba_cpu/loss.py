"""Softmax cross entropy: loss and gradient of a row while it is in the cache, computed in float64.

Of each row of float32 logits the micro-kernels make, on vectors, its largest logit, the exponentials and their sum, and
the gradient; what is one number a row is ordinary code between them. The plain kernel at the end serves float64.
"""

from math import exp, log
from typing import Any

import numpy as np
from numba import njit

from .. import check
from ..contract import Array
from . import functions
from .program import Call, as_float, blocks, call, doubles_at, floats_at, ints_at, kernel, launch
from .simd import LANES, Emitter, Real, Value, emit
from .wide import F64, double, doubles, each_vector, fold, load_doubles, max_lanes, single, sum_lanes

BLOCK = 8192  # logits of a task, or 16 for each of its rows if that is more


def softmax_cross_entropy(
    z: Array, labels: Array, weights: Array, smoothing: float, loss: Array, dz: Array | None
) -> None:
    """loss_b = -w_b sum_c q_bc log softmax(z_b)_c, dz_bc = w_b (softmax(z_b)_c - q_bc), q = (1 - s) one_hot + s / C.

    A row of weight 0 gives exactly 0 whatever its logits hold.

    Parameters
    ----------
    z, labels, weights : [B, C], [B] of int64 or int32, [B]
    smoothing : float, s, 0 <= s <= 1
    loss, dz : [B] written, [B, C] written or None
    """
    check.softmax_cross_entropy(z, labels, weights, smoothing, loss, dz)
    if z.dtype == np.float32:
        launch(*softmax_cross_entropy_calls(z, labels, weights, smoothing, loss, dz))
    else:
        # Without a dz any array of its type does: the same compiled kernel then serves both cases.
        _loss(z, labels, weights, float(smoothing), loss, z if dz is None else dz, dz is not None)


def softmax_cross_entropy_calls(
    z: Array, labels: Array, weights: Array, smoothing: float, loss: Array, dz: Array | None
) -> list[Call]:
    B, C = z.shape
    if not B:
        return []
    tasks, rows = blocks(B, max(1, BLOCK // max(C, 16)))
    hit, miss = 1 - float(smoothing), float(smoothing) / C
    labels = labels.astype(np.int64, copy=False)
    return [call(_rows, tasks, z, labels, weights, hit, miss, loss, 0 if dz is None else dz, B, C, rows,
                 scratch=8 * (C + LANES) + 32)]  # fmt: skip


@kernel
def _rows(a: Any, task: int, scratch: int) -> None:
    z, labels, weights, hit, miss = a[0], ints_at(a[1]), floats_at(a[2]), as_float(a[3]), as_float(a[4])
    loss, dz, B, C, rows = floats_at(a[5]), a[6], a[7], a[8], a[9]
    sums, exponentials = doubles_at(scratch), scratch + 32
    each = doubles_at(exponentials)
    for b in range(task * rows, min(B, (task + 1) * rows)):
        weight, label, row = np.float64(weights[b]), labels[b], z + b * C * 4
        if weight == 0:
            loss[b] = 0
            if dz:
                _fill(dz + b * C * 4, C)
            continue
        _exponentials(row, C, exponentials, scratch)
        top, total, shifted = sums[0], sums[1], sums[2]
        # -sum_c q_c log softmax(z)_c, with log softmax(z)_c = z_c - top - log(total) and q summing to 1
        smoothed = miss * shifted if miss else 0.0  # shifted is -inf where a class is excluded
        loss[b] = weight * (log(total) - hit * (np.float64(floats_at(row)[label]) - top) - smoothed)
        if dz:
            _gradient(exponentials, C, dz + b * C * 4, total, miss, weight)
            floats_at(dz + b * C * 4)[label] = weight * (each[label] / total - (hit + miss))


@emit
def _exponentials(e: Emitter, z: Value, C: Value, to: Value, sums: Value) -> None:
    """Write exp(z_c - top) as float64; sums = top, their sum, the sum of z_c - top."""
    least = e.vector(-float("inf"))

    def larger(at: Value, inside: Value | None, top: Value) -> list[Value]:
        z_c = e.load(z + at, inside)
        return [e.where((top < z_c) if inside is None else (top < z_c) & inside, z_c, top)]

    (largest,) = fold(e, C, [least], larger)
    top = max_lanes(e, largest)
    top = Value(e, e.b.fpext(top.v, F64.element))
    wide_top = e.fill(top)

    def add(at: Value, inside: Value | None, total: Value, off: Value) -> list[Value]:
        shifted = double(e, e.load(z + at, inside)) - wide_top
        power = functions.exp(e, shifted)
        e.store(power, to + at * 2)  # past the end of the row too, where nobody looks
        if inside is not None:
            shifted, power = (e.where(inside, value, doubles(e, 0)) for value in (shifted, power))
        return [total + power, off + shifted]

    total, off = fold(e, C, [doubles(e, 0), doubles(e, 0)], add)
    for i, value in enumerate((top, sum_lanes(e, total), sum_lanes(e, off))):
        e.store(value, sums + 8 * i)


@emit
def _gradient(e: Emitter, powers: Value, C: Value, dz: Value, total: Real, miss: Real, weight: Real) -> None:
    """dz_c = weight (powers_c / total - miss), right but for the label, to which `hit` comes."""
    per_total, miss, weight = (e.fill(scalar) for scalar in (1.0 / total, miss, weight))

    def body(at: Value, inside: Value | None) -> None:
        p = load_doubles(e, powers + at * 2) * per_total
        e.store(single(e, weight * (p - miss)), dz + at, inside)

    each_vector(e, C, body)


@emit
def _fill(e: Emitter, to: Value, n: Value) -> None:
    each_vector(e, n, lambda at, inside: e.store(e.vector(0.0), to + at, inside))


# The plain form.


@njit(cache=True, nogil=True, error_model="numpy")
def _loss(z: Array, labels: Array, weights: Array, smoothing: float, loss: Array, dz: Array, want_dz: bool) -> None:
    B, C = z.shape
    hit, miss = 1 - smoothing, smoothing / C
    for b in range(B):
        label, weight = labels[b], np.float64(weights[b])
        if weight == 0:
            loss[b] = 0
            if want_dz:
                dz[b] = 0
            continue
        top = np.float64(z[b, 0])
        for c in range(C):
            top = max(top, np.float64(z[b, c]))
        total = smoothed = 0.0
        for c in range(C):
            shifted = np.float64(z[b, c]) - top
            if miss:
                smoothed += miss * shifted
            total += exp(shifted)
        # -sum_c q_c log softmax(z)_c, with log softmax(z)_c = z_c - top - log(total) and q summing to 1
        loss[b] = weight * (log(total) - hit * (np.float64(z[b, label]) - top) - smoothed)
        if want_dz:
            for c in range(C):
                q = hit + miss if c == label else miss
                dz[b, c] = weight * (exp(np.float64(z[b, c]) - top) / total - q)

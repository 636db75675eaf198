"""Dropout: the random words are made where they are used; no mask is stored.

Float32 takes them from registers, a Philox block in every lane; the plain kernels at the end make some blocks of words
at a time in the cache, and serve float64.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit

from .. import check
from ..contract import Array
from ..philox import M0, M1, MASK, ROUNDS, W0, W1, threshold
from . import simd
from .program import Call, as_float, blocks, call, kernel, launch
from .simd import BYTES, Emitter, Real, Value, emit
from .wide import I32, I64

CHUNK = 4 * simd.LANES  # values for which the vectors make words at a time
BLOCK = 8192  # values of a task


def dropout_forward(x: Array, y: Array, rate: float, seed: int, step: int, layer: int) -> None:
    """y_i = x_i / (1 - rate) if word_i >= 2^32 rate else 0, of any one shape; y may be x."""
    check.dropout_forward(x, y, rate, seed, step, layer)
    if x.dtype == np.float32:
        launch(*dropout_forward_calls(x, y, rate, seed, step, layer))
    else:
        _mask(x, y, rate, seed, step, layer)


def dropout_forward_calls(x: Array, y: Array, rate: float, seed: int, step: int, layer: int) -> list[Call]:
    if not x.size:
        return []
    chunks = -(-x.size // CHUNK)
    tasks, each = blocks(chunks, BLOCK // CHUNK)
    return [call(_drop, tasks, *dropout_forward_scalars(step), int(layer), int(seed) & MASK, int(seed) >> 32,
                 threshold(float(rate)), 1 / (1 - float(rate)), x, y, x.size, each)]  # fmt: skip


def dropout_forward_scalars(step: int) -> tuple[int, ...]:
    return (int(step),)


def dropout_backward(dy: Array, dx: Array, rate: float, seed: int, step: int, layer: int) -> None:
    """dx_i = dy_i / (1 - rate) if word_i >= 2^32 rate else 0, of any one shape; dx may be dy."""
    check.dropout_backward(dy, dx, rate, seed, step, layer)
    if dy.dtype == np.float32:
        launch(*dropout_backward_calls(dy, dx, rate, seed, step, layer))
    else:
        _mask(dy, dx, rate, seed, step, layer)


dropout_backward_calls, dropout_backward_scalars = dropout_forward_calls, dropout_forward_scalars


@kernel
def _drop(a: Any, task: int, scratch: int) -> None:
    step, layer, key0, key1, least, factor = a[0], a[1], a[2], a[3], a[4], as_float(a[5])
    first = task * a[9] * CHUNK
    at = 4 * first
    _drop_chunks(a[6] + at, a[7] + at, min(a[9] * CHUNK, a[8] - first), first // 4, step, layer, key0, key1, least,
                 factor)


@emit
def _drop_chunks(
    e: Emitter, x: Value, y: Value, n: Value, first: Value, step: Value, layer: Value, key0: Value, key1: Value,
    least: Value, factor: Real,
) -> None:  # fmt: skip
    lane = Value(e, ir.Constant(I64, list(range(simd.LANES))))
    fixed = [e.fill(word) for word in (step, layer)]
    keys = [(e.fill(key0 + r * W0), e.fill(key1 + r * W1)) for r in range(ROUNDS)]
    factor, last_dropped, any_dropped = e.splat(factor), e.splat(least - 1), e.all_if(least > 0)

    def drop(chunk: Value, masks: list[Value | None]) -> None:
        block = e.fill(first + chunk * simd.LANES) + lane
        words = _philox_vectors(e, [block, _shift(e, block), *fixed], keys)
        for j, (word, inside) in enumerate(zip(_in_turn(e, words), masks, strict=True)):
            at = chunk * (4 * BYTES) + j * BYTES
            dropped = any_dropped & Value(e, e.b.icmp_unsigned("<=", word.v, last_dropped.v))
            e.store(e.where(dropped, e.vector(0.0), factor * e.load(x + at, inside)), y + at, inside)

    full = n // CHUNK
    rest = n - full * CHUNK
    e.loop(full, [], lambda i: drop(i, [None] * 4))
    e.loop((rest + (CHUNK - 1)) // CHUNK, [], lambda _: drop(full, [e.first(rest - j * simd.LANES) for j in range(4)]))


def _philox_vectors(e: Emitter, c: list[Value], keys: list[tuple[Value, Value]]) -> list[Value]:
    """Ten rounds of `refplay.kernels.philox`, a block in every lane of int64, of which the low half counts."""
    c0, c1, c2, c3 = c
    for k0, k1 in keys:
        product0, product1 = (c0 & MASK) * M0, (c2 & MASK) * M1
        c0, c1 = _xor(e, _shift(e, product1), c1, k0), product1
        c2, c3 = _xor(e, _shift(e, product0), c3, k1), product0
    return [Value(e, e.b.trunc(word.v, I32)) for word in (c0, c1, c2, c3)]


def _shift(e: Emitter, a: Value) -> Value:
    return Value(e, e.b.lshr(a.v, ir.Constant(I64, [32] * I64.count)))


def _xor(e: Emitter, a: Value, b: Value, c: Value) -> Value:
    return Value(e, e.b.xor(e.b.xor(a.v, b.v), c.v))


def _in_turn(e: Emitter, words: list[Value]) -> list[Value]:
    """Return the words in the order of the elements: the four of the first lane, of the second, and so on."""
    def zipped(a: Value, b: Value) -> list[Value]:
        half, count = simd.LANES // 2, simd.LANES
        orders = [[start + i // 2 + count * (i % 2) for i in range(count)] for start in (0, half)]
        return [Value(e, e.b.shuffle_vector(a.v, b.v, ir.Constant(I32, order))) for order in orders]

    even, odd = zipped(words[0], words[2]), zipped(words[1], words[3])
    return [*zipped(even[0], odd[0]), *zipped(even[1], odd[1])]


# The plain form.

# Typed, because Numba makes a float64 of a mix of int64 and uint64.
_M0, _M1, _W0, _W1, _MASK, _32 = (np.uint64(value) for value in (M0, M1, W0, W1, MASK, 32))
LANES = 64  # Philox blocks at a time, of four words each: 1 kB of words


def _mask(x: Array, y: Array, rate: float, seed: int, step: int, layer: int) -> None:
    key, counter = (int(seed) & MASK, int(seed) >> 32), (int(step), int(layer))  # a seed may not fit into an int64
    _dropout(x.reshape(-1), y.reshape(-1), 1 / (1 - float(rate)), threshold(float(rate)), key, counter)


@njit(cache=True, nogil=True)
def _dropout(x: Array, y: Array, factor: float, least: int, key: tuple[int, int], counter: tuple[int, int]) -> None:
    real = x.dtype.type
    factor, zero, bound = real(factor), real(0), np.uint64(least)
    blocks = np.empty((LANES, 4), np.uint32)
    words = blocks.reshape(-1)
    for start in range(0, x.size, words.size):
        _fill(blocks, start // 4, key, counter)
        part, out = x[start : start + words.size], y[start : start + words.size]
        for i in range(part.size):
            out[i] = part[i] * factor if np.uint64(words[i]) >= bound else zero


@njit(cache=True, nogil=True)
def _fill(blocks: Array, first: int, key: tuple[int, int], counter: tuple[int, int]) -> None:
    k0, k1 = np.uint64(key[0]), np.uint64(key[1])
    c2, c3 = np.uint64(counter[0]), np.uint64(counter[1])
    for j in range(LANES):
        block = np.uint64(first + j)
        blocks[j, 0], blocks[j, 1], blocks[j, 2], blocks[j, 3] = _philox(block & _MASK, block >> _32, c2, c3, k0, k1)


@njit(cache=True, nogil=True)
def _philox(
    c0: np.uint64, c1: np.uint64, c2: np.uint64, c3: np.uint64, k0: np.uint64, k1: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """Ten rounds, see `refplay.kernels.philox`; unrolled and vectorized over the blocks by the compiler.

    Every word is masked although some need not be: knowing that, the compiler multiplies 32 by 32 bits, not 64 by 64.
    """
    for _ in range(ROUNDS):
        product0, product1 = _M0 * c0, _M1 * c2
        c0, c1, c2, c3 = (
            ((product1 >> _32) ^ c1 ^ k0) & _MASK,
            product1 & _MASK,
            ((product0 >> _32) ^ c3 ^ k1) & _MASK,
            product0 & _MASK,
        )
        k0, k1 = (k0 + _W0) & _MASK, (k1 + _W1) & _MASK
    return c0, c1, c2, c3

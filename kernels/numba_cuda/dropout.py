"""Dropout: the random words are made where they are used; no mask is stored.

A Philox block is four words, made by one thread, for four values side by side. If the thread took these values itself,
its neighbour's would lie four places on, and a warp would touch four times the memory in each access. So the threads of
a block first lay their words out in shared memory, and then take values as in `elementwise`: neighbours next to each
other. x is read once, y written once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..contract import Array
from ..philox import M0, M1, MASK, ROUNDS, W0, W1, threshold
from . import check
from .device import BLOCK, blocks_for, cuda, device_function, index, kernel, launch
from .elementwise import flat

WORDS = 4  # of a Philox block
# The words k of all threads lie together. Shared memory has 32 banks, each gives one word at a time; with 8 words
# between one k and the next, the 4 words of 8 threads that a warp reads lie in 32 banks.
PITCH = BLOCK + 8
ALL_WORDS = WORDS * PITCH

# Typed, because Numba makes a float64 of a mix of int64 and uint64.
_M0, _M1, _W0, _W1, _MASK, _32 = (np.uint64(value) for value in (M0, M1, W0, W1, MASK, 32))


def dropout_forward(x: Array, y: Array, rate: float, seed: int, step: int, layer: int) -> None:
    """y_i = x_i / (1 - rate) if word_i >= 2^32 rate else 0, of any one shape; y may be x."""
    check.dropout_forward(x, y, rate, seed, step, layer)
    _launch(x, y, rate, seed, step, layer)


def dropout_backward(dy: Array, dx: Array, rate: float, seed: int, step: int, layer: int) -> None:
    """dx_i = dy_i / (1 - rate) if word_i >= 2^32 rate else 0, of any one shape; dx may be dy."""
    check.dropout_backward(dy, dx, rate, seed, step, layer)
    _launch(dy, dx, rate, seed, step, layer)


def _launch(x: Any, y: Any, rate: float, seed: int, step: int, layer: int) -> None:
    counter, key = (np.uint32(step), np.uint32(layer)), (np.uint32(int(seed) & MASK), np.uint32(int(seed) >> 32))
    launch(_drop, blocks_for(x.size, WORDS * BLOCK), BLOCK, flat(x), flat(y), x.dtype.type(1 / (1 - float(rate))),
           np.uint64(threshold(float(rate))), counter, key)  # fmt: skip


@kernel
def _drop(x, y, factor, least, counter, key):
    """x[n] -> y[n]: block k owns the values from k * 4 * BLOCK on, its thread j those at j, j + BLOCK, ... from there.

    y_i = factor x_i where word i % 4 of Philox block i // 4 is at least `least`, a number up to 2^32, else 0.
    """
    words = cuda.shared.array(ALL_WORDS, np.uint32)
    xs = cuda.local.array(WORDS, x.dtype)
    j = cuda.threadIdx.x
    first = cuda.blockIdx.x * (WORDS * BLOCK) + j
    for k in range(WORDS):
        if first + k * BLOCK < x.size:
            xs[k] = x[index(first + k * BLOCK)]  # on its way while the words are made
    words[j], words[PITCH + j], words[2 * PITCH + j], words[3 * PITCH + j] = philox(
        cuda.blockIdx.x * BLOCK + j, counter, key
    )
    cuda.syncthreads()  # or a word might be read before it is there
    for k in range(WORDS):
        if first + k * BLOCK < x.size:
            i = j + k * BLOCK
            word = words[index((i & 3) * PITCH + (i >> 2))]  # i % 4 of block i // 4
            y[index(first + k * BLOCK)] = factor * xs[k] if np.uint64(word) >= least else x.dtype.type(0)


@device_function
def philox(block, counter, key):
    """Return the four words of a block, a number below 2^64; counter, key: two uint32 each. See `kernels.philox`."""
    number = np.uint64(block)
    c0, c1, c2, c3 = np.uint32(number & _MASK), np.uint32(number >> _32), counter[0], counter[1]
    k0, k1 = key
    for _ in range(ROUNDS):
        product0, product1 = _M0 * np.uint64(c0), _M1 * np.uint64(c2)  # of 32 bits each: one instruction
        c0, c1 = np.uint32(product1 >> _32) ^ c1 ^ k0, np.uint32(product1 & _MASK)
        c2, c3 = np.uint32(product0 >> _32) ^ c3 ^ k1, np.uint32(product0 & _MASK)
        k0, k1 = np.uint32((np.uint64(k0) + _W0) & _MASK), np.uint32((np.uint64(k1) + _W1) & _MASK)
    return c0, c1, c2, c3

"""Dropout: the random words are made and used in blocks that stay in the cache; no mask is stored."""

import numpy as np
from numba import njit

from .. import check
from ..contract import Array
from ..philox import M0, M1, MASK, ROUNDS, W0, W1, threshold

# Typed, because Numba makes a float64 of a mix of int64 and uint64.
_M0, _M1, _W0, _W1, _MASK, _32 = (np.uint64(value) for value in (M0, M1, W0, W1, MASK, 32))
LANES = 64  # Philox blocks at a time, of four words each: 1 kB of words


def dropout_forward(x: Array, y: Array, rate: float, seed: int, step: int, layer: int) -> None:
    """y_i = x_i / (1 - rate) if word_i >= 2^32 rate else 0, of any one shape; y may be x."""
    check.dropout_forward(x, y, rate, seed, step, layer)
    _mask(x, y, rate, seed, step, layer)


def dropout_backward(dy: Array, dx: Array, rate: float, seed: int, step: int, layer: int) -> None:
    """dx_i = dy_i / (1 - rate) if word_i >= 2^32 rate else 0, of any one shape; dx may be dy."""
    check.dropout_backward(dy, dx, rate, seed, step, layer)
    _mask(dy, dx, rate, seed, step, layer)


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

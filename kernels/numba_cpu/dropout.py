"""Dropout: the random words are made and used in blocks that stay in the cache; no mask is stored."""

import numpy as np
from numba import njit

from .. import check
from ..contract import Array
from ..philox import M0, M1, MASK, ROUNDS, W0, W1, threshold

# Typed, because Numba makes a float64 of a mix of int64 and uint64.
_M0, _M1, _W0, _W1, _MASK, _32 = (np.uint64(value) for value in (M0, M1, W0, W1, MASK, 32))
LANES = 64  # Philox blocks at a time, of four words each


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
def _dropout(x, y, factor, least, key, counter):
    real = x.dtype.type
    factor, zero, least = real(factor), real(0), np.uint64(least)
    words = np.empty((4, LANES), np.uint32)
    for start in range(0, x.size, 4 * LANES):
        _philox(words, start // 4, key, counter)
        part, out = x[start : start + 4 * LANES], y[start : start + 4 * LANES]
        for i in range(part.size):
            out[i] = part[i] * factor if np.uint64(words[i & 3, i >> 2]) >= least else zero


@njit(cache=True, nogil=True)
def _philox(c, first, key, counter):
    """Fill c[4, LANES] with the words of the blocks from `first` on; see `refplay.kernels.philox`.

    The loop over the lanes is the inner one, so that it is the one to be vectorized.
    """
    k0, k1 = np.uint64(key[0]), np.uint64(key[1])
    for j in range(LANES):
        block = np.uint64(first + j)
        c[0, j], c[1, j], c[2, j], c[3, j] = block & _MASK, block >> _32, counter[0], counter[1]
    for _ in range(ROUNDS):
        for j in range(LANES):
            product0, product1 = _M0 * np.uint64(c[0, j]), _M1 * np.uint64(c[2, j])
            c0 = (product1 >> _32) ^ np.uint64(c[1, j]) ^ k0
            c2 = (product0 >> _32) ^ np.uint64(c[3, j]) ^ k1
            c[0, j], c[1, j], c[2, j], c[3, j] = c0, product1 & _MASK, c2, product0 & _MASK
        k0, k1 = (k0 + _W0) & _MASK, (k1 + _W1) & _MASK

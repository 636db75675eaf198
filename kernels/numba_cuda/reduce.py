"""Reductions and scalings of a vector.

A sum over a vector takes two launches, since blocks cannot wait for each other: each block sums its share and writes
one number, then one block sums those. All in double, and in an order that depends on n alone: the same vector gives
the same bits at every call.
"""

from __future__ import annotations

from math import inf, sqrt
from typing import Any

import numpy as np

from ..contract import Array
from . import check
from .device import BLOCK, blocks_for, cuda, device_function, index, kernel, launch, scratch
from .elementwise import PER_THREAD, run, update

MOST_BLOCKS = 1024  # enough to fill any GPU, and few enough for one block to sum what they leave


def l2_norm(g: Array) -> float:
    """Return |g| = sqrt(sum_i g_i^2), summed in double; waits for the GPU."""
    check.l2_norm(g)
    log = scratch(MOST_BLOCKS + 1, "float64")
    write_norm(g, log, MOST_BLOCKS)
    norm = _last(log)
    if norm < 2.0**-450 or norm == inf:  # squares of float64 may have left its range; those of float32 never do
        factor = np.float64(2.0**600 if norm < 1 else 2.0**-600)
        blocks = _blocks(g)
        launch(_scaled_square_sums, blocks, BLOCK, g, factor, log)
        launch(_root_of_sum, 1, BLOCK, log, blocks, log, MOST_BLOCKS)
        norm = _last(log) / float(factor)
    return norm


def _last(log: Any) -> float:
    return float(log[MOST_BLOCKS : MOST_BLOCKS + 1].copy_to_host()[0])


def scale(g: Array, s: float) -> None:
    """Multiply g by s in place."""
    check.scale(g, s)
    run(_scale, g, g, (np.float64(s),))  # the second g is not read: `update` wants one


def axpby(a: float, x: Array, b: float, y: Array) -> None:
    """y <- a x + b y; y may be x."""
    check.axpby(a, x, b, y)
    run(_axpby, y, x, (np.float64(a), np.float64(b)))


def write_norm(g: Any, log: Any, i: int) -> None:
    """log[i] <- |g|, a double on the GPU."""
    blocks = _blocks(g)
    partial = scratch(MOST_BLOCKS + 1, "float64")
    launch(_square_sums, blocks, BLOCK, g, partial)
    launch(_root_of_sum, 1, BLOCK, partial, blocks, log, i)


def _blocks(g: Any) -> int:
    return min(blocks_for(g.size, PER_THREAD * BLOCK), MOST_BLOCKS)


def write_sum(x: Any, log: Any, i: int) -> None:
    """log[i] <- sum of x, a double on the GPU; by one block, so x is not to be long."""
    launch(_sum, 1, BLOCK, x, log, i)


@update
def _scale(g, _, scalars):
    (s,) = scalars
    return type(g)(s * g)


@update
def _axpby(y, x, scalars):
    a, b = scalars
    return type(y)(a * x + b * y)


@device_function
def block_sum(value, values):
    """Return the sum of the `value` of all threads of the block, to all of them.

    values[BLOCK] is shared memory. In round r, 256 / 2^r threads add a number each: ((0 + 128) + (64 + 192)) + ...
    """
    j = cuda.threadIdx.x
    cuda.syncthreads()  # or a sum before this one, in the same memory, might still be read
    values[j] = value
    width = BLOCK // 2
    while width > 0:
        cuda.syncthreads()  # or a number might be added before it is there
        if j < width:
            values[j] += values[j + width]
        width //= 2
    cuda.syncthreads()  # or threads might leave with a sum that is not complete
    return values[0]


@kernel
def _square_sums(g, partial):
    """g[n] -> partial[blocks]: block k adds the squares at k * BLOCK + j, and from there on in steps of all threads."""
    values = cuda.shared.array(BLOCK, np.float64)
    total = np.float64(0)
    for i in range(cuda.grid(1), g.size, cuda.gridsize(1)):
        value = np.float64(g[index(i)])
        total += value * value
    total = block_sum(total, values)
    if cuda.threadIdx.x == 0:
        partial[cuda.blockIdx.x] = total


@kernel
def _scaled_square_sums(g, factor, partial):
    """As `_square_sums`, of factor g: a power of two, so that no product is rounded."""
    values = cuda.shared.array(BLOCK, np.float64)
    total = np.float64(0)
    for i in range(cuda.grid(1), g.size, cuda.gridsize(1)):
        value = np.float64(g[index(i)]) * factor
        total += value * value
    total = block_sum(total, values)
    if cuda.threadIdx.x == 0:
        partial[cuda.blockIdx.x] = total


@device_function
def _strided_sum(x, n):
    """Return what thread j of a single block adds up: x[j] + x[j + BLOCK] + ... of the first n values."""
    total = np.float64(0)
    for i in range(cuda.threadIdx.x, n, BLOCK):
        total += np.float64(x[index(i)])
    return total


@kernel
def _sum(x, log, i):
    """x[n] -> log[i], by one block."""
    values = cuda.shared.array(BLOCK, np.float64)
    total = block_sum(_strided_sum(x, x.size), values)
    if cuda.threadIdx.x == 0:
        log[i] = total


@kernel
def _root_of_sum(partial, n, log, i):
    """The square root of partial[0] + ... + partial[n - 1] -> log[i], by one block."""
    values = cuda.shared.array(BLOCK, np.float64)
    total = block_sum(_strided_sum(partial, n), values)
    if cuda.threadIdx.x == 0:
        log[i] = sqrt(total)

"""Sums of columns: the gradients of biases, and means of images.

    x[rows, columns] -> y[slices, columns]     y[s, c] = 1 / divisor  sum over the rows of slice s of x[row, c]

Slice s is `length` rows from s * length on. Block (s, q) owns up to 32 columns, from 32 q on, in slice s. Of its I rows
of threads, thread (i, j) adds rows i, i + I, i + 2 I, ... of column j, neighbours reading neighbouring columns; then
the threads of a column add what they have, always in the same order. In double: a GPU adds faster than it reads, and
the sum over all pixels of a batch is long.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from .columns import block_of, column_sum
from .device import BLOCK, blocks_for, cuda, kernel, launch, scratch
from .indices import natural, nearest

WIDTH = 32  # most columns of a block
AHEAD = 4  # rows that a thread asks for before it adds the first
ENOUGH_BLOCKS = 264  # two for each multiprocessor of an H200; a constant, as the order of the sum depends on it
FEWEST_ROWS = 256  # of a slice


def sum_rows(x: Any, y: Any) -> None:
    """x[rows, columns] -> y[1, columns]: y = sum over rows; 0 where there are none."""
    rows, columns = x.shape
    length, slices = slices_for(rows, columns)
    if slices == 1:
        sum_slices(x, y, length, 1.0)
        return
    partial = _partial(slices, columns)
    sum_slices(x, partial, length, 1.0)
    sum_slices(partial, y, slices, 1.0)


def sum_slices(x: Any, y: Any, length: int, divisor: float) -> None:
    """x[rows, columns] -> y[slices, columns]: the sum of each `length` rows, over `divisor`."""
    block = block_of(y.shape[1], WIDTH)
    blocks = y.shape[0], blocks_for(y.shape[1], block[0])
    launch(_column_sums, blocks, block, x, y, length, np.float64(divisor))


@cache
def slices_for(rows: int, columns: int) -> tuple[int, int]:
    """Return the rows of a slice, and how many slices there are.

    >>> slices_for(64, 256), slices_for(100000, 64)
    ((64, 1), (758, 132))
    """
    slices = max(1, min(ENOUGH_BLOCKS // blocks_for(columns, WIDTH), rows // FEWEST_ROWS))
    length = max(1, blocks_for(rows, slices))
    return length, max(1, blocks_for(rows, length))


def _partial(slices: int, columns: int) -> Any:
    return scratch(slices * columns, "float64")[: slices * columns].reshape(slices, columns)


@kernel
def _column_sums(x, y, length, divisor):
    values = cuda.shared.array(BLOCK, np.float64)
    i, j = natural(cuda.threadIdx.y), natural(cuda.threadIdx.x)
    high, wide = natural(cuda.blockDim.y), natural(cuda.blockDim.x)
    slice_ = natural(cuda.blockIdx.x)
    column = natural(cuda.blockIdx.y) * wide + j
    first = slice_ * length
    last = min(first + length, x.shape[0])
    held = cuda.local.array(AHEAD, x.dtype)
    total = np.float64(0)
    for row in range(first + i, last, AHEAD * high):
        for n in range(AHEAD):
            held[n] = x[nearest(row + n * high, last), nearest(column, x.shape[1])]
        for n in range(AHEAD):
            if row + n * high < last:
                total += np.float64(held[n])
    total = column_sum(total, values)
    if i == 0 and column < x.shape[1]:
        y[slice_, column] = total / divisor

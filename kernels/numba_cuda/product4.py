"""The matrix product, version 4: numbers asked for ahead, of operands of any layout, with the sum cut into slices.

    x[rows, depth] w[depth, columns] b[columns] -> y[slices * rows, columns]     y = x w + b     used by dense and conv

Block (p, q, s) owns SIDE_X x SIDE_W outputs of slice s, and its thread (i, j) EACH_X x EACH_W of them, as in version 3.
It differs in this:

- While a tile is multiplied, the numbers of the next are on their way from memory, into registers; version 3 asks and
  waits. `ask` and `put` are the two halves of what one statement did there.
- `x` and `w` say how they are laid out: `operands` has matrices and their transposes, `patches` images and filters.
- Few outputs with long sums leave most of a GPU idle. Then slice s adds up the terms from s * length on only, and
  another launch (`add_slices`) adds the slices, always in the same order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from .device import SIMULATED, cuda, device_function, kernel
from .indices import natural, split
from .operands import Operand

# Bytes, so that one instruction can read four numbers in line. In the simulator memory has no addresses.
ALIGNMENT = None if SIMULATED else 16


class Tile(NamedTuple):
    each_x: int  # outputs of a thread along the rows of y and along its columns
    each_w: int
    step: int  # terms of the sum for which numbers are brought at a time

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of y that a block of 16 x 16 threads owns."""
        return 16 * self.each_x, 16 * self.each_w


@device_function
def same_row(row, slice_, rows, form):
    return slice_ * rows + row


@cache
def make_product(
    tile: Tile, left: Callable[[int, int], Operand], right: Callable[[int, int], Operand], target: Any = same_row
) -> Any:
    """Return the kernel for these sizes and layouts; target(row, slice, rows, form) is the row of y it writes to."""
    EACH_X, EACH_W, STEP = tile
    SIDE_X, SIDE_W = tile.shape
    NUMBERS_X, PLACES_X, locate_x, ask_x, put_x = left(SIDE_X, STEP)
    NUMBERS_W, PLACES_W, locate_w, ask_w, put_w = right(SIDE_W, STEP)
    LINE_X, LINE_W = min(EACH_X, 4), min(EACH_W, 4)  # numbers that one instruction reads
    PITCH_X, PITCH_W = SIDE_X + LINE_X, SIDE_W + LINE_W

    def product(x, w, b, biased, y, rows, depth, length, form):
        xs = cuda.shared.array((STEP, PITCH_X), y.dtype, alignment=ALIGNMENT)
        ws = cuda.shared.array((STEP, PITCH_W), y.dtype, alignment=ALIGNMENT)
        columns = y.shape[1]
        i, j = natural(cuda.threadIdx.y), natural(cuda.threadIdx.x)
        thread = 16 * i + j
        row0 = natural(cuda.blockIdx.x) * SIDE_X
        column0 = natural(cuda.blockIdx.y) * SIDE_W
        slice_ = natural(cuda.blockIdx.z)
        first = slice_ * length
        last = min(first + length, depth)
        zero = y.dtype.type(0)
        totals = cuda.local.array((EACH_X, EACH_W), y.dtype)
        x_ = cuda.local.array(EACH_X, y.dtype)
        w_ = cuda.local.array(EACH_W, y.dtype)
        for m in range(EACH_X):
            for n in range(EACH_W):
                totals[m, n] = zero
        held_x = cuda.local.array(NUMBERS_X, y.dtype)
        held_w = cuda.local.array(NUMBERS_W, y.dtype)
        places_x = cuda.local.array(PLACES_X, np.int32)
        places_w = cuda.local.array(PLACES_W, np.int32)
        locate_x(places_x, x, row0, rows, thread, form)
        locate_w(places_w, w, column0, columns, thread, form)
        if first < last:
            given_x = ask_x(held_x, places_x, x, first, last, thread, form)
            given_w = ask_w(held_w, places_w, w, first, last, thread, form)
        for k0 in range(first, last, STEP):
            cuda.syncthreads()  # or a thread might put the next numbers where another still multiplies
            put_x(xs, held_x, given_x, thread)
            put_w(ws, held_w, given_w, thread)
            cuda.syncthreads()  # or a thread might multiply what another has not put there yet
            given_x = ask_x(held_x, places_x, x, k0 + STEP, last, thread, form)
            given_w = ask_w(held_w, places_w, w, k0 + STEP, last, thread, form)
            k = 0
            while k < STEP:  # which the compiler unrolls
                for m in range(EACH_X):
                    x_[m] = xs[k, m // LINE_X * (16 * LINE_X) + LINE_X * i + m % LINE_X]
                for n in range(EACH_W):
                    w_[n] = ws[k, n // LINE_W * (16 * LINE_W) + LINE_W * j + n % LINE_W]
                for m in range(EACH_X):
                    for n in range(EACH_W):
                        totals[m, n] += x_[m] * w_[n]
                k += 1
        for m in range(EACH_X):
            row = row0 + m // LINE_X * (16 * LINE_X) + LINE_X * i + m % LINE_X
            if row < rows:
                to = target(row, slice_, rows, form)
                for n in range(EACH_W):
                    column = column0 + n // LINE_W * (16 * LINE_W) + LINE_W * j + n % LINE_W
                    if column < columns:
                        if biased and slice_ == 0:
                            totals[m, n] += b[column]
                        y[to, column] = totals[m, n]

    # the name by which profilers, tables and the cache of compiled kernels know it
    product.__name__ = product.__qualname__ = f"{left.__name__}_{right.__name__}_{SIDE_X}x{SIDE_W}"
    return kernel(product)


@kernel
def add_slices(partial, y, slices):
    """partial[slices * rows, columns] -> y[rows, columns]: thread n owns the n-th output, and adds in order."""
    rows, columns = y.shape[0], y.shape[1]
    n = natural(cuda.grid(1))
    if n < rows * columns:
        row, column = split(n, columns)
        total = partial[row, column]
        for s in range(1, slices):
            total += partial[s * rows + row, column]
        y[row, column] = total

"""The matrix product, version 1: a thread per output.

    x[rows, depth] w[depth, columns] b[columns] -> y[rows, columns]     y = x w + b

Block (p, q) owns 16 x 16 outputs, those from y[16 p, 16 q] on. Its thread (i, j) owns y[16 p + i, 16 q + j], for which
it reads a whole row of x and a whole column of w: 2 numbers from memory for each multiplication. Neighbours in a row
read the same x and neighbouring w, but nobody keeps what was read: x is read columns times, w rows times.
"""

from __future__ import annotations

from .device import cuda, kernel
from .indices import natural

SIDE = 16
THREADS = (SIDE, SIDE)
TILE = (SIDE, SIDE)  # rows and columns of y that a block owns


@kernel
def product(x, w, b, y):
    rows, columns, depth = y.shape[0], y.shape[1], w.shape[0]
    i, j = natural(cuda.threadIdx.y), natural(cuda.threadIdx.x)
    row = natural(cuda.blockIdx.x) * SIDE + i
    column = natural(cuda.blockIdx.y) * SIDE + j
    zero = y.dtype.type(0)
    total = zero
    if row < rows and column < columns:
        k = 0
        while k < depth:  # of a range the compiler would keep count, and not know that k is not negative
            total += x[row, k] * w[k, column]
            k += 1
        y[row, column] = total + b[column]

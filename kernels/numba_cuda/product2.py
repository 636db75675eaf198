"""The matrix product, version 2: tiles in shared memory.

    x[rows, depth] w[depth, columns] b[columns] -> y[rows, columns]     y = x w + b

Block (p, q) owns 16 x 16 outputs, those from y[16 p, 16 q] on; its thread (i, j) owns y[16 p + i, 16 q + j]. The block
walks along the sum in steps of 16. At each it brings 16 x 16 numbers of x and of w into memory that its threads share,
each thread one of both, and multiplies from there: what was read once is used 16 times. What lies outside of the
matrices is 0 in the tiles, so that the multiplying loop asks nothing.
"""

from __future__ import annotations

from .device import cuda, kernel
from .indices import natural

SIDE = 16
THREADS = (SIDE, SIDE)
TILE = (SIDE, SIDE)  # rows and columns of y that a block owns


@kernel
def product(x, w, b, y):
    xs = cuda.shared.array((SIDE, SIDE), y.dtype)
    ws = cuda.shared.array((SIDE, SIDE), y.dtype)
    rows, columns, depth = y.shape[0], y.shape[1], w.shape[0]
    i, j = natural(cuda.threadIdx.y), natural(cuda.threadIdx.x)
    row = natural(cuda.blockIdx.x) * SIDE + i
    column = natural(cuda.blockIdx.y) * SIDE + j
    zero = y.dtype.type(0)
    total = zero
    for k0 in range(0, depth, SIDE):
        xs[i, j] = x[row, k0 + j] if row < rows and k0 + j < depth else zero
        ws[i, j] = w[k0 + i, column] if k0 + i < depth and column < columns else zero
        cuda.syncthreads()  # or a thread might multiply what another has not brought yet
        k = 0
        while k < SIDE:  # which the compiler unrolls
            total += xs[i, k] * ws[k, j]
            k += 1
        cuda.syncthreads()  # or a thread might bring the next numbers where another still multiplies
    if row < rows and column < columns:
        y[row, column] = total + b[column]

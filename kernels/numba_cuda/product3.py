"""The matrix product, version 3: blocks of outputs in registers.

    x[rows, depth] w[depth, columns] b[columns] -> y[rows, columns]     y = x w + b

Block (p, q) owns 128 x 128 outputs, those from y[128 p, 128 q] on; its thread (i, j) owns 8 x 8 of them: 4 rows of y
from 4 i on and 4 more from 64 + 4 i on, and columns likewise. The block walks along the sum in steps of 8. At each it
brings 128 x 8 numbers of x and of w into memory that its threads share, each thread four of both. For one term of its
64 sums a thread then reads 8 + 8 numbers from there: shared memory, of which version 2 wants 2 numbers for each
multiplication, gives a multiprocessor 32 numbers in a cycle, in which it can multiply 128.

The rows and columns of a thread come in fours because one instruction reads four numbers in line. The tile of x stands
on its side, `xs[k, row]`, to have them in line. Four more columns than rows of y are stored: the threads that bring
8 numbers of a row write into different banks of the shared memory, which answers 32 threads at once if none collide.
"""

from __future__ import annotations

from .device import cuda, kernel
from .indices import natural

SIDE = 128
STEP = 8
EACH = 8  # outputs of a thread in each direction: SIDE / 16
THREADS = (16, 16)
TILE = (SIDE, SIDE)  # rows and columns of y that a block owns
LINE = SIDE + 4


@kernel
def product(x, w, b, y):
    xs = cuda.shared.array((STEP, LINE), y.dtype)
    ws = cuda.shared.array((STEP, LINE), y.dtype)
    rows, columns, depth = y.shape[0], y.shape[1], w.shape[0]
    i, j = natural(cuda.threadIdx.y), natural(cuda.threadIdx.x)
    thread = 16 * i + j
    row0 = natural(cuda.blockIdx.x) * SIDE
    column0 = natural(cuda.blockIdx.y) * SIDE
    zero = y.dtype.type(0)
    totals = cuda.local.array((EACH, EACH), y.dtype)
    x_ = cuda.local.array(EACH, y.dtype)
    w_ = cuda.local.array(EACH, y.dtype)
    for m in range(EACH):
        for n in range(EACH):
            totals[m, n] = zero
    for k0 in range(0, depth, STEP):
        for part in range(4):
            k, row = thread % 8, thread // 8 + 32 * part
            xs[k, row] = x[row0 + row, k0 + k] if row0 + row < rows and k0 + k < depth else zero
            k, column = thread // 128 + 2 * part, thread % 128
            ws[k, column] = w[k0 + k, column0 + column] if k0 + k < depth and column0 + column < columns else zero
        cuda.syncthreads()  # or a thread might multiply what another has not brought yet
        k = 0
        while k < STEP:  # which the compiler unrolls
            for m in range(EACH):
                x_[m] = xs[k, m // 4 * 64 + 4 * i + m % 4]
            for n in range(EACH):
                w_[n] = ws[k, n // 4 * 64 + 4 * j + n % 4]
            for m in range(EACH):
                for n in range(EACH):
                    totals[m, n] += x_[m] * w_[n]
            k += 1
        cuda.syncthreads()  # or a thread might bring the next numbers where another still multiplies
    for m in range(EACH):
        for n in range(EACH):
            row = row0 + m // 4 * 64 + 4 * i + m % 4
            column = column0 + n // 4 * 64 + 4 * j + n % 4
            if row < rows and column < columns:
                y[row, column] = totals[m, n] + b[column]

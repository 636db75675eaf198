"""Blocks whose threads stand in rows and columns, and the sums along either.

    threadIdx.x: the column, threadIdx.y: the row. All threads of a block stand in one line too, x fastest, and 32
    neighbours in it are a warp, which asks for memory together.

The columns are neighbours in memory (channels, classes), so that a warp's 32 values lie side by side. Their number is a
power of two: a sum halves it in each round.
"""

from __future__ import annotations

from .device import BLOCK, cuda, device_function


def block_of(columns: int, most: int, least: int = 1) -> tuple[int, int]:
    """Return (columns, rows) of a block: a power of two from `least` to `most` that holds `columns`, if one does.

    >>> block_of(20, most=32), block_of(500, most=32), block_of(1, most=256, least=8)
    ((32, 8), (32, 8), (8, 32))
    """
    width = least
    while width < min(columns, most):
        width *= 2
    return width, BLOCK // width


@device_function
def column_sum(value, values):
    """Return to each thread the sum of the `value` of all threads in its column.

    values[BLOCK] is shared memory, a place for each thread. In each round the upper half of the rows adds to the
    lower half, a number each.
    """
    line = cuda.threadIdx.y * cuda.blockDim.x + cuda.threadIdx.x
    cuda.syncthreads()  # or a sum before this one, in the same memory, might still be read
    values[line] = value
    rows = cuda.blockDim.y // 2
    while rows > 0:
        cuda.syncthreads()  # or a number might be added before it is there
        if cuda.threadIdx.y < rows:
            values[line] += values[line + rows * cuda.blockDim.x]
        rows //= 2
    cuda.syncthreads()  # or threads might leave with a sum that is not complete
    return values[cuda.threadIdx.x]


@device_function
def row_sum(value, values):
    """Return to each thread the sum of the `value` of all threads in its row; as `column_sum`, but sideways."""
    line = cuda.threadIdx.y * cuda.blockDim.x + cuda.threadIdx.x
    cuda.syncthreads()  # or a sum before this one, in the same memory, might still be read
    values[line] = value
    columns = cuda.blockDim.x // 2
    while columns > 0:
        cuda.syncthreads()  # or a number might be added before it is there
        if cuda.threadIdx.x < columns:
            values[line] += values[line + columns]
        columns //= 2
    cuda.syncthreads()  # or threads might leave with a sum that is not complete
    return values[line - cuda.threadIdx.x]


@device_function
def row_max(value, values):
    """Return to each thread the largest `value` of its row; a NaN is larger than nothing."""
    line = cuda.threadIdx.y * cuda.blockDim.x + cuda.threadIdx.x
    cuda.syncthreads()  # or what was there before might still be read
    values[line] = value
    columns = cuda.blockDim.x // 2
    while columns > 0:
        cuda.syncthreads()  # or a number might be compared before it is there
        if cuda.threadIdx.x < columns and values[line] < values[line + columns]:
            values[line] = values[line + columns]
        columns //= 2
    cuda.syncthreads()  # or threads might leave before the last comparison
    return values[line - cuda.threadIdx.x]

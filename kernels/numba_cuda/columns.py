"""Blocks whose threads stand in rows and columns, and the sums along either.

    threadIdx.x: the column, threadIdx.y: the row. All threads of a block stand in one line too, x fastest, and 32
    neighbours in it are a warp, which asks for memory together.

The columns are neighbours in memory (channels, classes), so that a warp's 32 values lie side by side. Their number is a
power of two: a sum halves it in each round.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .device import BLOCK, blocks_for, cuda, device_function, kernel, launch

# Threads of a row, and up to how many values of the row: 8 float32 are the 32 bytes that memory hands out at least, 32
# threads are a warp, and only a long row is worth the barriers that more of them need.
WIDTHS = {8: 64, 32: 2048, BLOCK: float("inf")}


def block_of(columns: int, most: int) -> tuple[int, int]:
    """Return (columns, rows) of a block: the power of two up to `most` that holds `columns`, if one does.

    >>> block_of(20, most=32), block_of(500, most=32), block_of(1, most=32)
    ((32, 8), (32, 8), (1, 256))
    """
    width = 1
    while width < min(columns, most):
        width *= 2
    return width, BLOCK // width


def in_each_width(make: Callable[[int], Callable[..., Any]]) -> dict[int, Any]:
    """Return a kernel for each of WIDTHS: its loops have a constant step, which the compiler makes use of."""
    kernels = {}
    for columns in WIDTHS:
        function = make(columns)
        function.__name__ = function.__qualname__ = f"{make.__name__}_{columns}"
        kernels[columns] = kernel(function)
    return kernels


def launch_rows(kernels: dict[int, Any], x: Any, *arguments: Any) -> None:
    """Launch the kernel for x[B,C] and the arguments after it, with a row of threads for each example."""
    B, C = x.shape
    columns = next(columns for columns, most in WIDTHS.items() if most >= C)
    rows = BLOCK // columns
    launch(kernels[columns], blocks_for(B, rows), (columns, rows), x, *arguments)


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
def row_sum(value, values, columns):
    """Return to each thread the sum of the `value` of all threads in its row; as `column_sum`, but sideways."""
    line = cuda.threadIdx.y * columns + cuda.threadIdx.x
    cuda.syncthreads()  # or a sum before this one, in the same memory, might still be read
    values[line] = value
    half = columns // 2
    while half > 0:
        cuda.syncthreads()  # or a number might be added before it is there
        if cuda.threadIdx.x < half:
            values[line] += values[line + half]
        half //= 2
    cuda.syncthreads()  # or threads might leave with a sum that is not complete
    return values[cuda.threadIdx.y * columns]


@device_function
def row_max(value, values, columns):
    """Return to each thread the largest `value` of its row; a NaN is larger than nothing."""
    line = cuda.threadIdx.y * columns + cuda.threadIdx.x
    cuda.syncthreads()  # or what was there before might still be read
    values[line] = value
    half = columns // 2
    while half > 0:
        cuda.syncthreads()  # or a number might be compared before it is there
        if cuda.threadIdx.x < half and values[line] < values[line + half]:
            values[line] = values[line + half]
        half //= 2
    cuda.syncthreads()  # or threads might leave before the last comparison
    return values[cuda.threadIdx.y * columns]

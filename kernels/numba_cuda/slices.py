"""Sums over the long axis of x[G,M,C], of whose columns a GPU has too few to give each one to a thread.

So M is cut into slices. A block has a strip of up to 32 channels and one slice, and leaves partial sums for it:

    blockIdx.x  a strip of ghost batch g, strips of one g side by side       threadIdx.x  a channel of the strip
    blockIdx.y  the slice                                                    threadIdx.y  every rows-th m of the slice

Partial sums lie in flat scratch memory, row after row: that of slice s of ghost batch g begins at (g * slices + s) * C.
How many slices there are follows from the sizes alone, and so does every sum's order.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .columns import block_of, column_sum
from .device import BLOCK, blocks_for, cuda, device_function, index, kernel, launch

STRIP = 32  # channels of a block: 32 float32 are a line of the cache
HELD = 8  # values that a thread asks for before it uses the first; memory answers late
FEW = 256  # values of a channel that one block goes over without slices
MOST_GHOSTS = 1024  # blocks over the ghost batches then; each has several
ENOUGH = 512  # blocks: 131,072 threads with HELD values each on their way keep the memory of any GPU busy


class Cut(NamedTuple):
    grid: tuple[int, int]
    block: tuple[int, int]
    length: int  # of a slice; the last may be shorter


def cut(G: int, M: int, C: int) -> Cut:
    """Return how x[G,M,C] is shared among blocks.

    >>> cut(1, 2**20, 64)  # two strips of 32 channels, 256 slices
    Cut(grid=(2, 256), block=(32, 8), length=4096)
    >>> cut(3, 100, 20)
    Cut(grid=(3, 2), block=(32, 8), length=64)
    """
    block = block_of(C, STRIP)
    strips = G * blocks_for(C, block[0])
    least = block[1] * HELD
    length = least * max(1, blocks_for(M, least * max(1, ENOUGH // max(1, strips))))
    return Cut((strips, blocks_for(M, length)), block, length)


def whole_strips(G: int, C: int) -> Cut:
    """Return how x[G,M,C] is shared where M is at most FEW: block (i, j) has strip i of ghost batches j, j + J, ....

    >>> whole_strips(3, 40)
    Cut(grid=(2, 3), block=(32, 8), length=256)
    """
    block = block_of(C, STRIP)
    return Cut((blocks_for(C, block[0]), min(G, MOST_GHOSTS)), block, FEW)


@device_function
def ghost_and_channel(C):
    """Return the ghost batch and the channel of this thread; in the last strip the channel may be C and beyond."""
    strips = (C + cuda.blockDim.x - 1) // cuda.blockDim.x
    return cuda.blockIdx.x // strips, cuda.blockIdx.x % strips * cuda.blockDim.x + cuda.threadIdx.x


def sum_rows(a: Any, b: Any, rows: int, sum_a: Any, sum_b: Any) -> None:
    """Write sum_a[C] and sum_b[C], the sums of a[rows,C] and b[rows,C], which are flat."""
    block = block_of(sum_a.size, STRIP)
    launch(_sum_rows, blocks_for(sum_a.size, block[0]), block, a, b, rows, sum_a, sum_b)


@kernel
def _sum_rows(a, b, rows, sum_a, sum_b):
    """a[rows * C] b[rows * C] -> sum_a[C] sum_b[C]: each block a strip, its rows of threads share the rows."""
    values = cuda.shared.array(BLOCK, a.dtype)
    C = sum_a.size
    c = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    total_a, total_b = a.dtype.type(0), a.dtype.type(0)
    for row in range(cuda.threadIdx.y, rows if c < C else 0, cuda.blockDim.y):
        total_a += a[index(row * C + c)]
        total_b += b[index(row * C + c)]
    total_a = column_sum(total_a, values)
    total_b = column_sum(total_b, values)
    if c < C and cuda.threadIdx.y == 0:
        sum_a[c] = total_a
        sum_b[c] = total_b

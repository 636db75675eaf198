"""Matrix products of any layout: which tiles, how many slices, and the launches. The kernels are in `product4`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from . import product1, product2, product3
from .device import BLOCK, blocks_for, cuda, launch, scratch
from .operands import Operand, matrix_across, matrix_along
from .product4 import Tile, add_slices, make_product, same_row

THREADS = (16, 16)
# Large tiles read each number seldom, small ones give blocks to all multiprocessors when there is little to do. To each
# the share of multiplications among the instructions of its loop, on sm_90.
TILES = {Tile(8, 8, 8): 0.71, Tile(8, 4, 8): 0.69, Tile(2, 2, 32): 0.42}
SMALLEST = Tile(2, 2, 32)
MULTIPROCESSORS = 132  # of an H200. A constant, so that the bits of a result do not depend on the device.
SHORTEST_SLICE = 256  # terms; below that the second launch costs more than it gains
ADDING_UP = 1.1  # what it costs to write slices and to add them

VERSIONS = ("1", "2", "3", "4")  # of product1 to product4; the last as `dense` uses it


def product_version(name: str, x: Any, w: Any, y: Any, b: Any = None) -> None:
    """y[rows, columns] = x[rows, depth] w[depth, columns] (+ b[columns]), by a version of the product."""
    if name == VERSIONS[-1]:
        product(matrix_along, matrix_across, x, w, b, y, depth=w.shape[0])
        return
    version = (product1, product2, product3)[VERSIONS.index(name)]
    blocks = blocks_for(y.shape[0], version.TILE[0]), blocks_for(y.shape[1], version.TILE[1])
    b = cuda.to_device(np.zeros(y.shape[1], y.dtype)) if b is None else b
    launch(version.product, blocks, version.THREADS, x, w, b, y)


def product(
    left: Callable[[int, int], Operand],
    right: Callable[[int, int], Operand],
    x: Any,
    w: Any,
    b: Any,
    y: Any,
    depth: int,
    *,
    rows: int | None = None,
    form: tuple[int, ...] = (0,),
    target: Any = same_row,
) -> None:
    """y[rows, columns] = x w (+ b), a sum of `depth` terms, of operands laid out as `left` and `right` say.

    b is None for none. Rows that are not those of y need a `target`, and are not cut into slices.
    """
    rows = y.shape[0] if rows is None else rows
    if rows == 0:
        return
    sliced = target is same_row
    tile = tile_for(rows, y.shape[1], depth if sliced else 0, y.dtype.itemsize)
    blocks = blocks_for(rows, tile.shape[0]), blocks_for(y.shape[1], tile.shape[1])
    length, slices = slices_for(blocks[0] * blocks[1], depth, tile) if sliced else (depth, 1)
    biased = int(b is not None)
    kernel = make_product(tile, left, right, target)
    to = y if slices == 1 else _partial(slices * rows, y.shape[1], y.dtype.name)
    b = b if biased else scratch(1, y.dtype)  # not read
    launch(kernel, (*blocks, slices), THREADS, x, w, b, biased, to, rows, depth, length, form)
    if slices > 1:
        launch(add_slices, blocks_for(rows * y.shape[1]), BLOCK, to, y, slices)


@cache
def tile_for(rows: int, columns: int, depth: int, itemsize: int) -> Tile:
    """Return the tile by which the product takes the least time, counted in instructions of a multiprocessor.

    Blocks are worked through in waves, one block for each multiprocessor. For doubles always the smallest tile: for
    8 x 8 of them a thread has no registers, and they are slow on most GPUs anyway. `depth` is 0 where the sum may not
    be cut into slices.

    >>> tile_for(4096, 4096, 4096, 4).shape, tile_for(65536, 64, 576, 4).shape, tile_for(64, 256, 784, 4).shape
    ((128, 128), (128, 64), (32, 32))
    """

    def time(tile: Tile) -> float:
        high, wide = tile.shape
        blocks = blocks_for(rows, high) * blocks_for(columns, wide)
        slices = slices_for(blocks, depth, tile)[1]
        waves = blocks_for(blocks * slices, MULTIPROCESSORS)
        return waves * high * wide / TILES[tile] / slices * (ADDING_UP if slices > 1 else 1)

    return min(TILES if itemsize == 4 else [SMALLEST], key=time)


@cache
def slices_for(blocks: int, depth: int, tile: Tile) -> tuple[int, int]:
    """Return the length of the slices of a sum of `depth` terms, and how many there are: one if most of a GPU is busy.

    >>> slices_for(16, 784, SMALLEST), slices_for(67, 65536, SMALLEST)
    ((288, 3), (65536, 1))
    """
    slices = min(2 * MULTIPROCESSORS // blocks, depth // SHORTEST_SLICE)
    if slices < 2 or 2 * blocks > MULTIPROCESSORS:
        return depth, 1
    length = tile.step * blocks_for(blocks_for(depth, slices), tile.step)
    return length, blocks_for(depth, length)


def partial_results(rows: int, columns: int, depth: int, itemsize: int) -> int:
    """Return how many values a product leaves for a second launch to add, 0 if its sums are not cut into slices.

    >>> partial_results(64, 256, 784, 4) == 3 * 64 * 256
    True
    """
    tile = tile_for(rows, columns, depth, itemsize)
    _, slices = slices_for(blocks_for(rows, tile.shape[0]) * blocks_for(columns, tile.shape[1]), depth, tile)
    return slices * rows * columns if slices > 1 else 0


def matrix(x: Any) -> Any:
    """Return the contiguous device array x[..., columns] as a matrix, a vector as one row, without a copy.

    It is made once and kept with the array: to make it takes as long as a launch.
    """
    if x.ndim == 2:
        return x
    if "_matrix" not in x.__dict__:
        columns = x.shape[x.ndim - 1]
        x.__dict__["_matrix"] = x.reshape(x.size // columns, columns)
    return x.__dict__["_matrix"]


_views: dict[tuple[int, int, str], Any] = {}


def _partial(rows: int, columns: int, dtype: str) -> Any:
    """Return scratch memory as a matrix; kept, since making it takes as long as a launch."""
    memory = scratch(rows * columns, dtype)
    view, of = _views.get((rows, columns, dtype), (None, None))
    if of is not memory:
        view = memory[: rows * columns].reshape(rows, columns)
        _views[rows, columns, dtype] = view, memory
    return view

"""Matrix products of any layout: which tiles, how many slices, and the launches. The kernels are in `product4`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from .device import BLOCK, blocks_for, launch, scratch
from .operands import Operand
from .product4 import Tile, add_slices, make_product, same_row

THREADS = (16, 16)
# Large tiles read each number seldom, small ones give blocks to all multiprocessors when there is little to do. To each
# the share of multiplications among the instructions of its loop, on sm_90.
TILES = {Tile(8, 8, 8): 0.71, Tile(8, 4, 8): 0.69, Tile(2, 2, 32): 0.42}
SMALLEST = Tile(2, 2, 32)
# Near the 132 multiprocessors of an H200. A constant, so that the bits of a result do not depend on the device.
ENOUGH_BLOCKS = 128
SHORTEST_SLICE = 256  # terms; below that the second launch costs more than it gains


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
    """Return the tile with the fewest instructions, of those that give enough blocks, or the smallest.

    Always the smallest for doubles: of 8 x 8 a thread has no registers for, and they are slow on most GPUs anyway.

    >>> tile_for(4096, 4096, 4096, 4).shape, tile_for(65536, 64, 576, 4).shape, tile_for(64, 256, 784, 4).shape
    ((128, 128), (128, 64), (32, 32))
    """

    def blocks(tile: Tile) -> int:
        return blocks_for(rows, tile.shape[0]) * blocks_for(columns, tile.shape[1])

    def instructions(tile: Tile) -> float:
        return blocks(tile) * tile.shape[0] * tile.shape[1] / TILES[tile]

    slices = max(1, depth // SHORTEST_SLICE)
    enough = [tile for tile in TILES if itemsize == 4 and blocks(tile) * slices >= ENOUGH_BLOCKS]
    return min([*enough, SMALLEST], key=instructions)


@cache
def slices_for(blocks: int, depth: int, tile: Tile) -> tuple[int, int]:
    """Return the length of the slices of a sum of `depth` terms, and how many there are.

    >>> slices_for(16, 784, SMALLEST), slices_for(200, 65536, SMALLEST)
    ((288, 3), (65536, 1))
    """
    slices = min(2 * ENOUGH_BLOCKS // blocks, depth // SHORTEST_SLICE)
    if slices < 2:
        return depth, 1
    length = tile.step * blocks_for(blocks_for(depth, slices), tile.step)
    return length, blocks_for(depth, length)


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

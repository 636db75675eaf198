"""Launches the products of `product_bf16.cu`: operands rounded into memory of their own, then multiplied."""

from __future__ import annotations

from typing import Any

from ..contract import Array
from .activation import relu_backward
from .device import blocks_for, launch, multiprocessors, scratch
from .parts import column_sums, sum_parts
from .plan import Tile, plan

TILES = (  # as product_bf16.cu has them
    Tile("128x256", 128, 256, 32, 256, 10.0, 4, alone=True), Tile("128x64", 128, 64, 32, 128, 5.5, 4),
    Tile("64x64", 64, 64, 32, 128, 4.0, 4),
)  # fmt: skip
STAGES = 4
ROWS = max(max(tile.m, tile.n) for tile in TILES)  # of an operand: a multiple, so that tiles may read past its end
DEPTH = 64  # k is padded to a multiple


def nn(a: Array, b: Array, bias: Array | None, c: Array, activation: int, z: Array | None) -> None:
    """As product.nn."""
    _multiply(_along_rows(a, "a"), _along_columns(b, "b"), bias, c, activation, z, a.shape[1])


def nt(a: Array, b: Array, c: Array, y: Array | None) -> None:
    """As product.nt."""
    _multiply(_along_rows(a, "a"), _along_rows(b, "b"), None, c, 0, None, a.shape[1])
    if y is not None:
        relu_backward(y, y, c, c)


def tn(a: Array, b: Array, c: Array, sums: Array) -> None:
    """As product.tn."""
    _multiply(_along_columns(a, "a"), _along_columns(b, "b"), None, c, 0, None, a.shape[0])
    column_sums(b, sums)


def _multiply(a: Array, b: Array, bias: Array | None, c: Array, activation: int, z: Array | None, k: int) -> None:
    """c = activation(a b^T + bias) of rounded operands."""
    (m, n), depth = c.shape, _padded(k, DEPTH)
    how = plan(m, n, depth, TILES, multiprocessors())
    kernel = f"product_bf16.product_{how.tile.name}_float32"
    shared = STAGES * (how.tile.m + how.tile.n) * how.tile.k * 2  # bytes
    grid, block = (how.tiles, how.parts), how.tile.threads
    if how.parts == 1:
        launch(kernel, grid, block, a, b, bias, z, c, m, n, depth, how.chunk, 0, activation, shared=shared)
    else:
        parts = scratch(how.parts * m * n, "float32", "product")
        launch(kernel, grid, block, a, b, None, None, parts, m, n, depth, how.chunk, m * n, 0, shared=shared)
        sum_parts(parts, how.parts, c, bias=bias, activation=activation, z=z)


def _along_rows(x: Array, name: str) -> Any:
    """Return x[outer, k] rounded, as the kernels want it: [outer, k]."""
    (outer, k), depth = x.shape, _padded(x.shape[1], DEPTH)
    out: Array = scratch(_padded(outer, ROWS) * depth, "uint16", f"bf16 {name}")
    launch("product_bf16.round_rows_float32", blocks_for(outer * depth, 1024), 256, x, out, outer, k, depth)
    return out


def _along_columns(x: Array, name: str) -> Any:
    """Return x[k, outer] rounded, as the kernels want it: [outer, k]."""
    (k, outer), depth = x.shape, _padded(x.shape[0], DEPTH)
    out: Array = scratch(_padded(outer, ROWS) * depth, "uint16", f"bf16 {name}")
    blocks = depth // 64 * blocks_for(outer, 32)  # in one dimension: a second has 65,535 at most
    launch("product_bf16.round_columns_float32", blocks, 256, x, out, k, outer, depth)
    return out


def _padded(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple

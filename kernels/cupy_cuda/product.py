"""Launches the matrix products of `product.cu`: c = a b, a b^T, a^T b."""

from __future__ import annotations

from ..contract import Array
from .device import blocks_for, launch, multiprocessors, scratch
from .plan import Plan, Tile, plan

TILES = {
    "float32": (Tile("128x128", 128, 128, 16, 256, 0.85), Tile("128x64", 128, 64, 16, 128, 0.8),
                Tile("64x64", 64, 64, 16, 128, 0.7), Tile("32x32", 32, 32, 16, 64, 0.5)),
    "float64": (Tile("64x64", 64, 64, 16, 256, 0.7),),
}  # fmt: skip
ACTIVATIONS = ("none", "relu", "tanh", "gelu")  # as product.cu numbers them


def nn(a: Array, b: Array, bias: Array | None, c: Array, activation: str = "none", z: Array | None = None) -> None:
    """Write activation(a b + bias) into `c`, and a b + bias into `z` where it is wanted (gelu_backward needs it)."""
    (m, k), n = a.shape, b.shape[1]
    how = plan(m, n, k, TILES[a.dtype.name], multiprocessors())
    act = ACTIVATIONS.index(activation)
    if how.parts == 1:
        _launch("nn", how, a, b, bias, z, c, m, n, k, how.chunk, 0, act)
    else:
        parts = scratch(how.parts * m * n, a.dtype.name, "product")
        _launch("nn", how, a, b, None, None, parts, m, n, k, how.chunk, m * n, 0)
        sum_parts(parts, how.parts, c, bias=bias, activation=act, z=z)


def nt(a: Array, b: Array, c: Array) -> None:
    """Write a b^T into `c`."""
    (m, k), n = a.shape, b.shape[0]
    how = plan(m, n, k, TILES[a.dtype.name], multiprocessors())
    if how.parts == 1:
        _launch("nt", how, a, b, c, None, m, n, k, how.chunk, 0)
    else:
        parts = scratch(how.parts * m * n, a.dtype.name, "product")
        _launch("nt", how, a, b, parts, None, m, n, k, how.chunk, m * n)
        sum_parts(parts, how.parts, c)


def tn(a: Array, b: Array, c: Array, sums: Array) -> None:
    """Write a^T b into `c` and the sums of b's columns into `sums`."""
    (k, m), n = a.shape, b.shape[1]
    how = plan(m, n, k, TILES[a.dtype.name], multiprocessors())
    if how.parts == 1:
        _launch("tn", how, a, b, c, sums, m, n, k, how.chunk, 0)
    else:
        size = m * n + n  # of a part: c's, then those of the columns
        parts = scratch(how.parts * size, a.dtype.name, "product")
        _launch("tn", how, a, b, parts, parts[m * n :], m, n, k, how.chunk, size)
        sum_parts(parts, how.parts, c, tail=sums)


def _launch(form: str, how: Plan, a: Array, *arguments: object) -> None:
    launch(f"product.product_{form}_{how.tile.name}_{a.dtype.name}", (how.tiles, how.parts), how.tile.threads, a, *arguments)


def sum_parts(parts: Array, count: int, out: Array, *, bias: Array | None = None, activation: int = 0,
              z: Array | None = None, tail: Array | None = None) -> None:
    """Add up `count` parts, which lie one after another; each has the values of `out` and then those of `tail`."""
    behind = 0 if tail is None else tail.size
    launch(f"product.sum_parts_{out.dtype.name}", blocks_for(out.size + behind, 32), 256, parts, count, bias, z, out, tail,
           out.size, behind, out.shape[-1], activation)

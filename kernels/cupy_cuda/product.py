"""Launches the matrix products: c = a b, a b^T, a^T b, in the precision that the caller has chosen."""

from __future__ import annotations

from ..contract import Array
from . import product_bf16
from .device import launch, multiprocessors, scratch
from .parts import sum_parts
from .plan import Plan, Tile, plan
from .precision import chosen

TILES = {  # as product.cu and product_tf32.cu have them
    "float32": (Tile("128x128", 128, 128, 16, 256, 0.85), Tile("128x64", 128, 64, 16, 128, 0.8),
                Tile("64x64", 64, 64, 16, 128, 0.7), Tile("32x32", 32, 32, 16, 64, 0.5)),
    "tf32": (Tile("128x128", 128, 128, 16, 128, 4.0), Tile("64x64", 64, 64, 16, 128, 2.5)),
    "float64": (Tile("64x64", 64, 64, 16, 256, 0.7),),
}  # fmt: skip
FILES = {"float32": "product", "tf32": "product_tf32", "float64": "product"}
ACTIVATIONS = ("none", "relu", "tanh", "gelu")  # as product_forms.cuh numbers them


def nn(a: Array, b: Array, bias: Array | None, c: Array, activation: str = "none", z: Array | None = None) -> None:
    """Write activation(a b + bias) into `c`, and a b + bias into `z` where it is wanted (gelu_backward needs it)."""
    precision, act = chosen(a.dtype.name), ACTIVATIONS.index(activation)
    if precision == "bf16":
        product_bf16.nn(a, b, bias, c, act, z)
        return
    (m, k), n = a.shape, b.shape[1]
    how = plan(m, n, k, TILES[precision], multiprocessors())
    if how.parts == 1:
        _launch("nn", precision, how, a, b, bias, z, c, m, n, k, how.chunk, 0, act)
    else:
        parts = scratch(how.parts * m * n, a.dtype.name, "product")
        _launch("nn", precision, how, a, b, None, None, parts, m, n, k, how.chunk, m * n, 0)
        sum_parts(parts, how.parts, c, bias=bias, activation=act, z=z)


def nt(a: Array, b: Array, c: Array, y: Array | None = None) -> None:
    """Write a b^T into `c`; where `y` is given, only where that is above 0, and 0 elsewhere."""
    precision = chosen(a.dtype.name)
    if precision == "bf16":
        product_bf16.nt(a, b, c, y)
        return
    (m, k), n = a.shape, b.shape[0]
    how = plan(m, n, k, TILES[precision], multiprocessors())
    if how.parts == 1:
        _launch("nt", precision, how, a, b, y, c, m, n, k, how.chunk, 0)
    else:
        parts = scratch(how.parts * m * n, a.dtype.name, "product")
        _launch("nt", precision, how, a, b, None, parts, m, n, k, how.chunk, m * n)
        sum_parts(parts, how.parts, c, y=y)


def tn(a: Array, b: Array, c: Array, sums: Array) -> None:
    """Write a^T b into `c` and the sums of b's columns into `sums`."""
    precision = chosen(a.dtype.name)
    if precision == "bf16":
        product_bf16.tn(a, b, c, sums)
        return
    (k, m), n = a.shape, b.shape[1]
    how = plan(m, n, k, TILES[precision], multiprocessors())
    if how.parts == 1:
        _launch("tn", precision, how, a, b, c, sums, m, n, k, how.chunk, 0)
    else:
        size = m * n + n  # of a part: c's values, then the sums of columns
        parts = scratch(how.parts * size, a.dtype.name, "product")
        _launch("tn", precision, how, a, b, parts, parts[m * n :], m, n, k, how.chunk, size)
        sum_parts(parts, how.parts, c, tail=sums)


def _launch(form: str, precision: str, how: Plan, a: Array, *arguments: object) -> None:
    kernel = f"{FILES[precision]}.product_{form}_{how.tile.name}_{a.dtype.name}"
    launch(kernel, (how.tiles, how.parts), how.tile.threads, a, *arguments)

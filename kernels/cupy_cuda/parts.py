"""Sums that were cut into parts, added up by a second kernel, in the same order every time."""

from __future__ import annotations

from ..contract import Array
from .device import BLOCK, blocks_for, launch, multiprocessors, scratch

FEW = 8  # parts that a thread adds up by itself


def sum_parts(parts: Array, count: int, out: Array, *, bias: Array | None = None, activation: int = 0,
              y: Array | None = None, z: Array | None = None, tail: Array | None = None) -> None:  # fmt: skip
    """Add up `count` parts, which lie one after another; each has the values of `out` and then those of `tail`.

    To `out` the bias of each column is added, and the activation applied; `z` takes the values before it. Where `y`, of
    the same shape, is given and not above 0, they are 0.
    """
    behind = 0 if tail is None else tail.size
    kernel, sums = ("sum_few_parts", BLOCK) if count <= FEW else ("sum_parts", 32)  # and how many a block has of them
    launch(f"parts.{kernel}_{out.dtype.name}", blocks_for(out.size + behind, sums), BLOCK, parts, count, bias, y, z,
           out, tail, out.size, behind, out.shape[-1], activation)  # fmt: skip


def column_sums(x: Array, sums: Array) -> None:
    """Write the sums of the columns of x[m,n], a float32 array, into `sums`."""
    m, n = x.shape
    blocks = blocks_for(n, 32)
    count = max(1, min(4 * multiprocessors() // blocks, blocks_for(m, 64)))
    chunk = max(1, blocks_for(m, count))
    parts = sums if count == 1 else scratch(count * n, "float32", "columns")
    launch("parts.column_sums_float32", (blocks, count), 256, x, parts, m, n, chunk, n)
    if count > 1:
        sum_parts(parts, count, sums)

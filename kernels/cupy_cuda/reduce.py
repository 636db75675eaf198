"""The norm of a vector, and scalings of vectors."""

from __future__ import annotations

from math import inf
from typing import Any

from ..contract import Array
from . import check
from .device import BLOCK, blocks_for, launch, multiprocessors, scratch, to_host, zeros
from .elementwise import values_of_block


def l2_norm(g: Array) -> float:
    """Return |g|, summed in double; waits for the GPU."""
    check.l2_norm(g)
    result = scratch(2, "float64", "l2_norm")
    norm_and_factor(g, inf, result)
    norm = float(to_host(result[:1])[0])
    if norm < 2.0**-450 or norm == inf:  # squares of float64 may have left its range; those of float32 never do
        norm_and_factor(g, inf, result, 2.0**600 if norm < 1 else 2.0**-600)
        norm = float(to_host(result[:1])[0])
    return norm


def scale(g: Array, s: float) -> None:
    """Multiply g by s in place."""
    check.scale(g, s)
    launch_scale(g, s)


def axpby(a: float, x: Array, b: float, y: Array) -> None:
    """y <- a x + b y; y may be x."""
    check.axpby(a, x, b, y)
    launch_axpby(a, x, b, y)


def norm_and_factor(
    g: Any, threshold: float, result: Any, unit: float = 1.0, log: Any = None, row: Any = None
) -> None:
    """result[0] <- |g|; result[1] <- what clipping to `threshold` multiplies g with, 1 where it leaves g as it is.

    `unit`, a power of two, is what a float64 g is multiplied with before it is squared. The counter of the blocks that
    are done is 0 between launches. The norm goes to log[row[0]] too, if there is a log.
    """
    blocks = max(1, min(blocks_for(g.size, 2 * values_of_block(g)), 4 * multiprocessors()))
    launch(f"reduce.norm_and_clip_{g.dtype}", blocks, BLOCK, g, g.size, float(unit), float(threshold),
           scratch(blocks, "float64", "norm"), scratch(1, "uint32", "arrived", zeros), result, log,
           row)  # fmt: skip


def launch_scale(g: Any, s: float, factors: Any = None, row: Any = None) -> None:
    """g <- s g; for a captured step s is factors[row[0]], float64 in device memory."""
    launch(f"reduce.scale_{g.dtype}", blocks_for(g.size, values_of_block(g)), BLOCK, g, float(s), g.size, factors, row)


def launch_axpby(a: float, x: Any, b: float, y: Any, parts: Any = (None, None), row: Any = None) -> None:
    """y <- a x + b y; for a captured step a and b are parts[0][row[0]] and parts[1][row[0]]."""
    launch(f"reduce.axpby_{y.dtype}", blocks_for(y.size, values_of_block(y)), BLOCK, float(a), x, float(b), y, y.size,
           *parts, row)  # fmt: skip

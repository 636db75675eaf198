"""Shapes of grids: how the kernels of this backend divide their work, for the launchers of several topics."""

from __future__ import annotations

from typing import Any, NamedTuple

from .device import BLOCK, multiprocessors


def packs(dtype: Any) -> int:
    """Return how many values 16 bytes hold (kPack in pack.cuh)."""
    return 16 // int(dtype.itemsize)


def power_of_two(n: int) -> int:
    """Return the smallest power of two that is at least n."""
    return 1 << (n - 1).bit_length()


def row_lanes(columns: int, values: int) -> int:
    """Return how many threads share a row (rows.cuh) when each holds up to `values` of it.

    A few more where rows are short, so that neighbouring threads read neighbouring bytes.
    """
    return max(power_of_two(-(-columns // values)), min(8, power_of_two(-(-columns // 4))))


class Columns(NamedTuple):
    """How blocks lie over x[G, M, C], see columns.cuh."""

    lanes: int  # threads beside each other
    tiles: int  # blocks beside each other
    rows: int  # of a share
    shares: int  # of each of G

    @property
    def row_lanes(self) -> int:
        return BLOCK // self.lanes


def columns(G: int, M: int, C: int, pack: int, at_once: int, waves: int, resident: int = 3) -> Columns:
    """Return a cut of x[G, M, C] that gives all multiprocessors work.

    Parameters
    ----------
    pack : int
        Channels of a thread.
    at_once : int
        Rows that a thread takes in one round: no share is smaller than two rounds.
    waves : int
        Rounds of blocks wanted. One where the number of shares matters, as each leaves numbers behind; but many where
        G and tiles alone make more blocks than run at a time, or the last ones would have the GPU to themselves.
    resident : int
        Blocks that a multiprocessor has room for; see resources.tsv for the registers of a kernel.
    """
    lanes = min(32, power_of_two(-(-C // pack)))
    tiles = -(-C // (lanes * pack))
    at_a_time, blocks = resident * multiprocessors(), max(1, G) * tiles
    wanted = waves * at_a_time // blocks if 2 * blocks <= at_a_time else -(-max(4, waves) * at_a_time // blocks)
    smallest = 2 * at_once * (BLOCK // lanes)
    shares = max(1, min(wanted, M // smallest))
    rows = -(-M // shares)
    return Columns(lanes, tiles, rows, -(-M // rows))


def held(M: int, C: int, pack: int, rows: int) -> Columns | None:
    """Return the cut with all M rows in the registers of a block, up to `rows` in each thread; None if too many."""
    lanes = min(32, power_of_two(-(-C // pack)))
    while lanes > 8 and rows * (BLOCK // lanes) < M:
        lanes //= 2
    if rows * (BLOCK // lanes) < M:
        return None
    return Columns(lanes, -(-C // (lanes * pack)), M, 1)

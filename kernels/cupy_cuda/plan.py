"""How a matrix product is cut into blocks: which tile, and into how many parts the sum over k.

A product of few tiles would leave most of a GPU idle: 64 examples x 256 features are 4 tiles of 64 x 64, and an H200
has 132 multiprocessors. Smaller tiles and parts of k make more blocks, at a price: a smaller tile reads more values for
each multiply-add, and parts have to be added up by a second kernel. `plan` takes the cheapest by the estimate below.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple


class Tile(NamedTuple):
    """A tile as a `.cu` file has it: BM x BN of the result for a block, BK of the sum at a step."""

    name: str
    m: int
    n: int
    k: int
    threads: int
    speed: float  # of its inner loop: multiply-adds in each instruction that it issues
    warps: int = 8  # so many hide the latency of arithmetic and shared memory, fewer do in proportion
    alone: bool = False  # a multiprocessor has room for one block: nothing hides how it starts and ends


class Plan(NamedTuple):
    """`tile` for each block; `parts` of the sum over k, each `chunk` long but the last."""

    tile: Tile
    tiles: int
    parts: int
    chunk: int


# Estimates, in cycles of a multiprocessor; none was measured yet. `speed` of float32 is the share of multiply-adds in
# the inner loop, which tests/cuda_on_cpu/inner_loops.py counts, a little less where loads have few threads to hide in;
# those of tensor cores and float64 are guesses.
LANES = 128  # multiply-adds in a cycle
START = 1500  # of a block: the first panels on their way from memory, the last sums on theirs to it
SECOND_PASS = 3500  # launching the kernel that adds up parts
PART = 16  # a part in that kernel: it asks for 64 of them at a time and waits some 1000
BYTES = 16  # to or from memory, for each multiprocessor
SHORTEST = 4  # steps along k that are worth a part of their own
MOST_PARTS = 1024
WORTH = 1.03  # parts have to promise this much: an estimate is no better
LONGEST_CHUNK = 1 << 30  # kernels count within a part in 32 bits


@lru_cache(maxsize=4096)
def plan(m: int, n: int, k: int, tiles: tuple[Tile, ...], multiprocessors: int) -> Plan:
    """Return the cheapest plan for a product of [m, k] and [k, n]."""

    def price(a: Plan) -> float:
        return cycles(a, m, n, k, multiprocessors) * (WORTH if a.parts > 1 else 1)

    return min(_plans(m, n, k, tiles), key=price)


def _plans(m: int, n: int, k: int, tiles: tuple[Tile, ...]) -> Iterator[Plan]:
    fewest = max(1, -(-k // LONGEST_CHUNK))
    for tile in tiles:
        count = -(-m // tile.m) * -(-n // tile.n)
        steps = -(-k // tile.k)
        for parts in range(fewest, max(fewest, min(MOST_PARTS, steps // SHORTEST)) + 1):
            chunk = -(-steps // parts) * tile.k
            if parts == fewest or chunk * (parts - 1) < k:  # no part is empty
                yield Plan(tile, count, parts, max(chunk, tile.k))


def cycles(plan: Plan, m: int, n: int, k: int, multiprocessors: int) -> float:
    """Return how long a plan takes, about: the multiprocessor with most blocks, and memory after it."""
    tile = plan.tile
    blocks = max(1, -(-plan.tiles * plan.parts // multiprocessors))
    speed = LANES * tile.speed * min(1.0, blocks * tile.threads / 32 / tile.warps)
    starts = blocks if tile.alone else 1
    product = blocks * tile.m * tile.n * min(plan.chunk, k) / speed + starts * START
    memory = 4 / (BYTES * multiprocessors)  # of a value
    if plan.parts == 1:
        return product + m * n * memory
    return product + SECOND_PASS + PART * plan.parts + m * n * (plan.parts * 2 + 1) * memory  # written, read, summed

"""How evenly do a few points fill the cube? The figures of refplay.search.halton's documentation.

Run: python bench/halton_quality.py [SEEDS]      (500 seeds: about four minutes on one core)

Each row is a way to draw points, each cell its mean discrepancy over the seeds divided by that of
scipy.stats.qmc.Halton(scramble=True), plus or minus the standard error: of the points, and below that the mean
centred discrepancy over every pair of dimensions.
"""

import sys
from collections.abc import Callable
from itertools import combinations

import numpy as np
from scipy.stats import qmc

from refplay.search import halton, random_search
from refplay.search.halton import candidate_shifts, digit_weights, fill_plain, primes

SIZES = [(10, 2), (30, 4), (100, 4), (100, 8), (300, 6)]
METHODS = ["CD", "MD", "WD", "L2-star"]


def first_shift(n: int, d: int, seed: int) -> np.ndarray:
    """Return Halton points without the choice among shifts: every coordinate is exactly uniform."""
    columns = np.empty((d, n))
    for column, base in zip(columns, primes()[:d], strict=True):
        fill_plain(column, 0, *digit_weights(base, candidate_shifts(base, seed)[0]))
    return columns.T


DESIGNS: dict[str, Callable[[int, int, int], np.ndarray]] = {
    "refplay": halton,
    "refplay, first shift drawn": first_shift,
    "refplay, then a whole shift": lambda n, d, seed: (halton(n, d, seed) + random_search(1, d, seed)) % 1.0,
    "random": random_search,
}


def scores(points: np.ndarray) -> list[float]:
    """Return the discrepancy of `points` by each method, and the mean CD of its projections on two dimensions."""
    pairs = [qmc.discrepancy(points[:, pair]) for pair in combinations(range(points.shape[1]), 2)]
    return [qmc.discrepancy(points, method=m) for m in METHODS] + [float(np.mean(pairs))]


def main(seeds: int) -> None:
    """Print the table."""
    for n, d in SIZES:
        peer = np.array([scores(qmc.Halton(d, scramble=True, rng=seed).random(n)) for seed in range(seeds)])
        print(f"\nn = {n}, d = {d}".ljust(32), *(f"{m:>14}" for m in [*METHODS, "CD of pairs"]))
        for name, draw in DESIGNS.items():
            own = np.array([scores(draw(n, d, seed)) for seed in range(seeds)])
            ratio = own.mean(0) / peer.mean(0)
            error = ratio * np.hypot(own.std(0) / own.mean(0), peer.std(0) / peer.mean(0)) / seeds**0.5
            print(f"{name:31}", *(f"{r:7.3f}±{e:.3f} " for r, e in zip(ratio, error, strict=True)), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)

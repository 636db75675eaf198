"""How evenly do a few points fill the cube? The figures of refplay.search.halton's documentation.

Run: python bench/halton_quality.py [SEEDS]      (500 seeds: about twenty minutes on one core)

Each row is a way to draw points, each cell its mean discrepancy over the seeds divided by that of
scipy.stats.qmc.Halton(scramble=True), plus or minus the standard error. The last two columns are about the centred
discrepancy of the projections on two dimensions: its mean over all pairs, and the pair where the ratio is largest.
"""

import sys
from collections.abc import Callable
from itertools import combinations

import numpy as np
from scipy.stats import qmc

from refplay.search import halton, random_search
from refplay.search.halton import candidate_permutations, digit_weights, fill_plain, primes

SIZES = [(10, 2), (30, 4), (100, 4), (100, 8), (300, 6)]
METHODS = ["CD", "MD", "WD", "L2-star"]


def first_draw(n: int, d: int, seed: int) -> np.ndarray:
    """Return Halton points without the choice among draws, which is what SciPy does."""
    return _columns(n, [candidate_permutations(base, seed)[0] for base in primes()[:d]])


def whole_shift(n: int, d: int, seed: int) -> np.ndarray:
    """Return refplay's points after a Cranley-Patterson shift."""
    shift: np.ndarray = random_search(1, d, seed)
    return np.asarray((halton(n, d, seed) + shift) % 1.0)


def faure_shifted(n: int, d: int, seed: int) -> np.ndarray:
    """Return Halton points of Faure's permutation and a random shift of each digit, modulo the base."""
    permutations = []
    for base in primes()[:d]:
        shifts = candidate_permutations(base, seed)[0, :, :1]
        permutations.append((np.array(faure(base)) + shifts) % base)
    return _columns(n, permutations)


def faure(base: int) -> list[int]:
    """Return Faure's permutation of the digits of `base` (1992, "Good permutations for extreme discrepancy")."""
    half = base // 2
    if base == 1:
        return [0]
    if base % 2 == 0:
        return [2 * v for v in faure(half)] + [2 * v + 1 for v in faure(half)]
    outer = [v + (v >= half) for v in faure(base - 1)]
    return [*outer[:half], half, *outer[half:]]


def _columns(n: int, permutations: list[np.ndarray]) -> np.ndarray:
    columns = np.empty((len(permutations), n))
    for column, permutation in zip(columns, permutations, strict=True):
        fill_plain(column, 0, *digit_weights(permutation))
    return columns.T


DESIGNS: dict[str, Callable[[int, int, int], np.ndarray]] = {
    "refplay": halton,
    "first draw": first_draw,
    "refplay, then a whole shift": whole_shift,
    "Faure, digits shifted": faure_shifted,
    "random": random_search,
}


def scores(points: np.ndarray) -> list[float]:
    """Return the discrepancy of `points` by each method, then the CD of its projections on two dimensions."""
    pairs = [qmc.discrepancy(points[:, pair]) for pair in combinations(range(points.shape[1]), 2)]
    return [qmc.discrepancy(points, method=m) for m in METHODS] + [float(np.mean(pairs)), *pairs]


def main(seeds: int) -> None:
    """Print the table."""
    for n, d in SIZES:
        peer = np.array([scores(qmc.Halton(d, scramble=True, rng=seed).random(n)) for seed in range(seeds)])
        print(f"\nn = {n}, d = {d}".ljust(29), *(f"{m:>13}" for m in [*METHODS, "CD, pairs", "worst pair"]))
        for name, draw in DESIGNS.items():
            own = np.array([scores(draw(n, d, seed)) for seed in range(seeds)])
            ratio = own.mean(0) / peer.mean(0)
            error = ratio * np.hypot(own.std(0) / own.mean(0), peer.std(0) / peer.mean(0)) / seeds**0.5
            worst = 5 + int(np.argmax(ratio[5:]))
            cells = [f"{ratio[i]:7.3f}±{error[i]:.3f}" for i in [0, 1, 2, 3, 4, worst]]
            print(f"{name:28}", *cells, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)

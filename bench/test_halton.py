"""How fast is Halton in bulk? A million points in ten dimensions against SciPy, in alternating runs.

Run: python -m pytest bench/test_halton.py            (the comparison, and times by pytest-benchmark)
"""

import statistics
import time

import pytest
from scipy.stats import qmc

from refplay.search import halton

N, D = 1_000_000, 10


def scipy_halton():
    return qmc.Halton(D, scramble=True, rng=0).random(N)


def own_halton():
    return halton(N, D, seed=0)


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def test_no_slower_than_scipy():
    own_halton()  # compiles
    ratios = [seconds(own_halton) / seconds(scipy_halton) for _ in range(7)]
    print(f"refplay / scipy: median {statistics.median(ratios):.3f}, from {min(ratios):.3f} to {max(ratios):.3f}")
    assert statistics.median(ratios) <= 1.0, ratios


@pytest.mark.parametrize("work", [own_halton, scipy_halton])
def test_time(benchmark, work):
    own_halton()
    benchmark.pedantic(work, rounds=3)

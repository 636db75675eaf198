"""How evenly few points fill the cube, against SciPy's scrambled Halton and plain random points, over fixed seeds.

The mean discrepancy of seeds 0 to 19 is compared by four measures: centred, mixture, wrap-around and L2-star. Over the
seeds a discrepancy spreads by up to a third (centred, 10 points) and a ninth (L2-star, 100 points in 8 dimensions), so
that there the ratio of two means of 20 has a standard error of 7 % and 3.5 %: these two are compared over 200 seeds as
well. bench/halton_quality.py does so for all, over 500.
"""

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import qmc

from refplay.search import halton, random_search
from refplay.search.halton import candidate_permutations, digit_weights, fill_plain

SIZES = [(10, 2), (30, 4), (100, 4), (100, 8), (300, 6)]
METHODS = ["CD", "MD", "WD", "L2-star"]


def scipy_halton(n, d, seed):
    return qmc.Halton(d, scramble=True, rng=seed).random(n)


def mean_discrepancy(draw, n, d, method, seeds):
    return float(np.mean([qmc.discrepancy(draw(n, d, seed), method=method) for seed in range(seeds)]))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("n", "d"), SIZES)
def test_no_worse_than_scipy_and_better_than_random(n, d, method):
    own = mean_discrepancy(halton, n, d, method, 20)
    assert own <= 1.05 * mean_discrepancy(scipy_halton, n, d, method, 20)
    if (n, d) != (100, 8):
        assert own <= 0.75 * mean_discrepancy(random_search, n, d, method, 20)


@pytest.mark.parametrize(("n", "d", "method"), [(10, 2, "CD"), (100, 8, "L2-star")])
def test_over_many_seeds_where_the_spread_is_wide(n, d, method):
    assert mean_discrepancy(halton, n, d, method, 200) <= 1.05 * mean_discrepancy(scipy_halton, n, d, method, 200)


@pytest.mark.parametrize(("n", "d"), SIZES)
def test_projections_on_two_dimensions(n, d):
    pairs = list(combinations(range(d), 2))

    def over_pairs(draw):
        samples = [draw(n, d, seed) for seed in range(20)]
        return np.array([np.mean([qmc.discrepancy(points[:, pair]) for points in samples]) for pair in pairs])

    own, peer, random = over_pairs(halton), over_pairs(scipy_halton), over_pairs(random_search)
    assert own.mean() <= 1.05 * peer.mean()
    assert own.max() <= 1.05 * peer.max()
    assert (own <= 0.75 * random).all(), dict(zip(pairs, own / random, strict=True))


@pytest.mark.parametrize("method", ["CD", "L2-star"])
def test_the_largest_primes_below_1000_are_no_better_than_random(method):
    # The implementation that the playbook links takes these bases. 100 points differ in their first digit only, so that
    # its permutation alone places them: a random sample. The same draws in the first primes are far better.
    def first_draw(bases, n, seed):
        columns = np.empty((len(bases), n))
        for column, base in zip(columns, bases, strict=True):
            fill_plain(column, 0, *digit_weights(candidate_permutations(base, seed)[0]))
        return columns.T

    large = mean_discrepancy(lambda n, d, seed: first_draw([997, 991, 983, 977], n, seed), 100, 4, method, 200)
    small = mean_discrepancy(lambda n, d, seed: first_draw([2, 3, 5, 7], n, seed), 100, 4, method, 200)
    # To draw 100 of some 987 places without repetition lowers a variance by 100 / 987; four percent are for the noise.
    assert large >= (1 - 100 / 987 - 0.04) * mean_discrepancy(random_search, 100, 4, method, 200)
    assert large >= 1.8 * small

"""Which hyperparameters the trials of a study get: Halton points, random points or a grid, mapped through the space.

All three are non-adaptive: the trials are known before the first one runs, whatever the number of workers.

Source: playbook, "Why use quasi-random search instead of more sophisticated black box optimization algorithms during
the exploration phase of tuning?" and "Where can I find an implementation of quasi-random search?".
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from refplay.errors import InputError
from refplay.search.halton import halton
from refplay.search.space import Choice, Domain, Integer, Space
from refplay.seeds import generator

SEARCHES = ("halton", "random", "grid")


def suggest(space: Space, n: int, search: str, seed: int) -> list[dict[str, Any]]:
    """Return the hyperparameters of the first `n` trials of a search.

    Parameters
    ----------
    space : Space
        What varies.
    n : int
        Number of trials, at least 1. A larger `n` gives the same trials and more (except "grid", which has its own
        number of points, at most `n`).
    search : {"halton", "random", "grid"}
        Quasi-random, plain random, or a regular grid in one or two dimensions.
    seed : int, 0 or more
        Chooses the points; a grid has nothing to choose.

    Returns
    -------
    list of dict: qualified name -> value of every hyperparameter that is active in this trial.

    Raises
    ------
    InputError
        An unknown search, n below 1, or a space that the search cannot cover (see `grid` and `halton`).

    >>> from refplay.search.space import LogUniform, OneMinusLogUniform
    >>> space = Space(learning_rate=LogUniform(1e-3, 1e0), momentum=OneMinusLogUniform(1e-3, 1e0))
    >>> for trial in suggest(space, 2, "halton", seed=0):
    ...     print({name: round(value, 4) for name, value in trial.items()})
    {'learning_rate': 0.0886, 'momentum': 0.3683}
    {'learning_rate': 0.0028, 'momentum': 0.9937}
    """
    if search not in SEARCHES:
        raise InputError(f"unknown search {search!r}; there are {', '.join(SEARCHES)}")
    if n < 1:
        raise InputError(f"{n} trials; a search needs at least 1")
    if search == "grid":
        return grid(space, n)
    points = (halton if search == "halton" else random_search)(n, len(space.dimensions), seed)
    return [space.from_unit(point) for point in points.tolist()]


def random_search(n: int, d: int, seed: int) -> np.ndarray:
    """Return `n` independent uniform points in `d` dimensions, float64[n, d] in [0, 1).

    The first points do not depend on `n`. The top 53 bits of a raw Philox word make a number, so the points stay the
    same for ever.
    """
    words = generator(seed, "random").bit_generator.random_raw(n * d)
    return ((words >> np.uint64(11)) * 2.0**-53).reshape(n, d)


def grid(space: Space, n: int) -> list[dict[str, Any]]:
    """Return a regular grid of at most `n` points over one or two hyperparameters.

    A real axis is cut into cells of equal size on its own scale and the middle of each cell is tried: every point then
    stands for an equal part of the range, and none is spent on the limits, which are there to be excluded. An integer
    axis is cut likewise, or gives all its values where there are few; a choice gives all its options. Of the shapes
    that `n` pays for, the most square one is taken, then the larger: 24 is 4 by 6, 10 is 3 by 3. Points that differ in
    an inactive hyperparameter only are one point.

    Raises
    ------
    InputError
        More than two hyperparameters, or more combinations of options than trials.

    Source: playbook, "Where can I find an implementation of quasi-random search?" (grids in one or two dimensions
    only); Bergstra and Bengio 2012, "Random search for hyper-parameter optimization".

    >>> from refplay.search.space import Integer, Uniform
    >>> grid(Space(layers=Integer(1, 2), dropout=Uniform(0, 0.5)), 5)
    [{'layers': 1, 'dropout': 0.125}, {'layers': 1, 'dropout': 0.375}, \
{'layers': 2, 'dropout': 0.125}, {'layers': 2, 'dropout': 0.375}]
    """
    names = [dimension.name for dimension in space.dimensions]
    if len(names) > 2:
        raise InputError(f"grid search over {len(names)} hyperparameters ({', '.join(names)}): with more than two, a "
                         "grid tries few values of each and repeats them; use search = \"halton\"")
    domains = [dimension.domain for dimension in space.dimensions]
    axes = [_levels(domain, count) for domain, count in zip(domains, _shape(domains, n), strict=False)]
    points = [space.from_unit(point) for point in product(*axes)]
    return [point for i, point in enumerate(points) if point not in points[:i]]


def _shape(domains: list[Domain], n: int) -> tuple[int, int]:
    """Return the number of levels of two axes (1 for an axis that is not there)."""
    limits = [_level_limits(domain, n) for domain in domains] + [(1, 1)] * (2 - len(domains))
    (low_a, high_a), (low_b, high_b) = limits
    shapes = [(a, min(high_b, n // a)) for a in range(low_a, min(high_a, n) + 1) if n // a >= low_b]
    if not shapes:
        raise InputError(f"a grid over all options needs {low_a * low_b} trials or more, got {n}")
    return max(shapes, key=lambda shape: (min(shape), shape[0] * shape[1]))


def _level_limits(domain: Domain, n: int) -> tuple[int, int]:
    if isinstance(domain, Choice):
        return len(domain.options), len(domain.options)  # all: none stands for another
    if isinstance(domain, Integer):
        return 1, min(n, domain.high - domain.low + 1)
    return 1, n


def _levels(domain: Domain, count: int) -> list[float]:
    """Return the unit coordinates of `count` levels, fewer where cells of an integer axis fall on one value."""
    if isinstance(domain, Integer) and count == domain.high - domain.low + 1:
        return [domain.to_unit(value) for value in range(domain.low, domain.high + 1)]
    middles = [(i + 0.5) / count for i in range(count)]
    return list({domain.from_unit(u): u for u in middles}.values())

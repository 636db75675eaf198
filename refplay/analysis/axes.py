"""Where trials lie on the unit axis of a hyperparameter.

Search draws uniformly on this axis, so "near an edge", "the outer fifth" and "a bucket" are measured here and mean the
same on every scale.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from numbers import Real

import numpy as np

from refplay.search.space import Choice, Dimension, Integer, Space
from refplay.study.record import State, Study, TrialRecord

FINISHED = (State.COMPLETE, State.INFEASIBLE)  # the trials that tell something about their hyperparameters


def finished(study: Study) -> list[TrialRecord]:
    """Return the trials that ran to a result: complete or infeasible. Failed ones are bugs and say nothing."""
    return [trial for trial in study.trials if trial.state in FINISHED]


def ordered(dimension: Dimension) -> bool:
    """Whether the axis has a direction: every domain of numbers, and a choice whose options are numbers in order."""
    domain = dimension.domain
    if not isinstance(domain, Choice):
        return True
    options = domain.options
    if len(options) < 2 or not all(isinstance(option, Real) and not isinstance(option, bool) for option in options):
        return False
    return all(a < b for a, b in itertools.pairwise(options))


def ordered_dimensions(space: Space) -> list[Dimension]:
    """Return the dimensions of a space that have edges."""
    return [dimension for dimension in space.dimensions if ordered(dimension)]


def position(trial: TrialRecord, dimension: Dimension) -> float | None:
    """Return a trial's place on the unit axis; None where the hyperparameter is not active or has no place on it.

    Imported trials may carry values outside the range (a place below 0 or above 1) or of another kind (no place).
    """
    if dimension.name not in trial.params:
        return None
    try:
        unit = float(dimension.domain.to_unit(trial.params[dimension.name]))
    except (TypeError, ValueError, OverflowError, ZeroDivisionError):
        return None
    return unit if math.isfinite(unit) else None


def positions(trials: Iterable[TrialRecord], dimension: Dimension) -> np.ndarray:
    """Return the places (float64[n]) of those trials that have one, in their order."""
    places = (position(trial, dimension) for trial in trials)
    return np.array([unit for unit in places if unit is not None], dtype=np.float64)


def active(trials: Iterable[TrialRecord], dimension: Dimension) -> list[TrialRecord]:
    """Return the trials that have a place on the axis of a dimension."""
    return [trial for trial in trials if position(trial, dimension) is not None]


def end_cell(dimension: Dimension) -> float:
    """Return how far from the edge the outermost value of a discrete domain lies on the unit axis; 0 if continuous.

    >>> from refplay.search.space import Integer
    >>> end_cell(Dimension("depth", Integer(1, 4), ()))
    0.125
    """
    domain = dimension.domain
    if isinstance(domain, Integer):
        return max(domain.to_unit(domain.low), 1 - domain.to_unit(domain.high))
    if isinstance(domain, Choice):
        return 0.5 / len(domain.options)
    return 0.0


def shift_probability(some: Sequence[float] | np.ndarray, others: Sequence[float] | np.ndarray) -> float:
    """Return how likely `some` would lie at least this far above `others` if they were drawn from them at random.

    The one-sided Mann-Whitney rank test: exact without ties for up to 8 values on one side, with ties or beyond by the
    normal approximation with tie correction. 1.0 when either is empty.

    >>> round(shift_probability([0.9, 0.8, 0.7], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.05]) * 120, 6)  # 1 of C(10, 3)
    1.0
    """
    from scipy.stats import mannwhitneyu  # scipy.stats takes half a second to import

    if len(some) == 0 or len(others) == 0 or len(set(some) | set(others)) == 1:
        return 1.0
    return float(mannwhitneyu(some, others, alternative="greater", method="auto").pvalue)

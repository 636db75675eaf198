"""Were enough points sampled? The trials near the best, and what the best would be with fewer of them.

Asked by the playbook's sections "Not sampling enough points in the search space" and "How many trials are needed to
get good results with quasi-random search?": there is no general answer, but one sees how many trials lie in the good
region, and simulates smaller studies by resampling the trials of this one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from refplay.analysis.axes import finished
from refplay.seeds import generator
from refplay.study.record import Study


def objectives(study: Study, metric: str) -> np.ndarray:
    """Return the objective of every finished trial (float64[n], sorted); infeasible ones cost as much: inf."""
    best = [trial.best(metric) if trial.feasible else None for trial in finished(study)]
    return np.sort([np.inf if b is None else b.value for b in best])


def bootstrap_best(study: Study, metric: str, budgets: Sequence[int], resamples: int = 1000,
                   seed: int = 0) -> dict[int, np.ndarray]:
    """Simulate studies of other sizes: the best objective among `budget` trials drawn with replacement.

    Parameters
    ----------
    study : Study
        Its finished trials are drawn from; an infeasible one counts as a trial with objective inf.
    metric : str
        The curve whose lowest value is a trial's objective.
    budgets : sequence of int, each 1 or more
        The sizes to simulate.
    resamples : int
        How many studies of each size.
    seed : int
        Of the resampling.

    Returns
    -------
    dict from budget to float64[resamples]
        inf where a simulated study has no complete trial. Empty arrays if the study has no finished trial.

    Source: playbook, "How many trials are needed to get good results with quasi-random search?" (Figure 3).
    """
    if any(budget < 1 for budget in budgets):
        raise ValueError(f"every budget must be 1 or more, got {list(budgets)}")
    values = objectives(study, metric)
    if not len(values):
        return {budget: np.empty(0) for budget in budgets}
    return {budget: generator(seed, "bootstrap", budget).choice(values, (resamples, budget)).min(axis=1)
            for budget in budgets}

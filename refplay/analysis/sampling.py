"""Were enough points sampled? The trials near the best, and what the best would be with fewer of them.

Asked by the playbook's sections "Not sampling enough points in the search space" and "How many trials are needed to
get good results with quasi-random search?": there is no general answer, but one sees how many trials lie in the good
region, and simulates smaller studies by resampling the trials of this one.

The rule: a trial is good if it is worse than the best by no more than 2 sqrt(2) s, s the standard deviation of the
reruns (two runs of one configuration differ by more once in 20), and by no more than half the distance from the best to
the median trial, however unstable the reruns are; without reruns, or where they do not vary, by no more than a tenth of
that distance. The space was sampled enough if there are at least 3
good trials: the good region then takes about 3 / n of the space, and another study of n trials would miss it with
probability (1 - 3 / n)^n < exp(-3) = 5%.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from refplay.analysis.finding import Finding
from refplay.analysis.variance import objectives, trial_variance, way_to_median
from refplay.analysis.wording import count, known, percent, study_quantity
from refplay.seeds import generator
from refplay.study.record import Study

SECTION = "Not sampling enough points in the search space"
ENOUGH = 3  # good trials: exp(-3) = 0.0498
CAP = 0.5  # of the way from the best to the median trial: what lies beyond is no good region, whatever the noise


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


def good_margin(study: Study, metric: str) -> tuple[float, str]:
    """Return how far above the best a trial still counts as good, and why (rule: see the module)."""
    sd, way = trial_variance(study, metric).sd, way_to_median(study, metric)
    margin = 2 * math.sqrt(2) * sd
    if margin > CAP * way and sd > 0:  # a good trial must be one that the study tells from a middling one
        return CAP * way, "half the way to the median trial, since two runs of one configuration differ by more"
    if sd > 0:  # false for nan as well
        return margin, "what two runs of one configuration differ by at most, 19 times of 20"
    return 0.1 * way, "a tenth of the way to the median trial"


def sampling(study: Study, metric: str) -> list[Finding]:
    """Return the finding on the density of sampling; none without a complete trial."""
    values = objectives(study, metric)
    if not len(values) or not np.isfinite(values[0]):
        return []
    n, (margin, why) = len(values), good_margin(study, metric)
    good = int((values <= values[0] + margin).sum())  # inf, the infeasible, never
    missed = (1 - good / n) ** n
    half = best_quantiles(values, max(1, n // 2), (0.25, 0.5, 0.75))
    sd = trial_variance(study, metric).sd
    numbers = {"trials": n, "good": good, "best": float(values[0]), "margin": margin, "missed": missed,
               "half": max(1, n // 2), "half_quartiles": half, "trial_sd": known(sd)}
    shown = study_quantity(metric, study)
    where = f"within {shown.gap(margin)} of the best {shown.write(float(values[0]))}: {why}"
    fewer = [shown.write(value) for value in half]
    seen = (f"{good} of {count(n, 'finished trial')} {'lies' if good == 1 else 'lie'} in the good region ({where}); "
            f"another study of this size would miss a region of this share with probability {percent(missed)}. With "
            f"half the trials the best would have a median of {fewer[1]} and quartiles {fewer[0]} and {fewer[2]}"
            + (f", against a trial standard deviation of {shown.gap(sd)}." if sd >= 0 else "."))
    if n < ENOUGH:
        return [Finding("sampling", study.name, "attention",
                        f"{count(n, 'finished trial')} cannot show how large the good region is.", numbers,
                        "Run more trials before trusting the best one.", SECTION)]
    if good < ENOUGH:
        # A region of share good / n is hit ENOUGH times on average by a study of ENOUGH n / good trials.
        return [Finding("sampling", study.name, "attention", seen, numbers,
                        f"Not sampled enough: run about {math.ceil(n * ENOUGH / good)} trials in this space, or "
                        "narrow it around the good region, or tune fewer hyperparameters at once.", SECTION)]
    return [Finding("sampling", study.name, "good", seen, numbers, "", SECTION)]


def best_quantiles(values: np.ndarray, budget: int, levels: Sequence[float]) -> list[float]:
    """Return quantiles of the best of `budget` draws with replacement from sorted values, without simulating.

    P(best > values[i]) = ((n - 1 - i) / n)^budget for n distinct values, so the quantile at level q is the first
    values[i] with 1 - ((n - 1 - i) / n)^budget >= q.

    >>> best_quantiles(np.array([1.0, 2.0, 3.0, 4.0]), 1, (0.25, 0.5, 1.0))
    [1.0, 2.0, 4.0]
    """
    n = len(values)
    reached = 1 - ((n - 1 - np.arange(n)) / n) ** budget
    return [float(values[min(int(np.searchsorted(reached, q - 1e-12)), n - 1)]) for q in levels]

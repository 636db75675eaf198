"""Would the result come again? Three sources of variation, and what measures each.

Named by the playbook's section "Determining whether to adopt a training pipeline change or hyperparameter
configuration":

* trial variance: the same hyperparameters with other random seeds; measured from reruns of the best trial;
* study variance: the same search with another search seed picks other hyperparameters; measured from the best results
  of several studies, and until there are several, simulated by resampling the trials of one (`bootstrap_best`);
* data variance: another split or another collection of the data; measured by repeating the round on other splits.

Reruns that scatter as far as the trials of the search differ, by more than half the way from the best to the median
one, say that the search ranked luck. The best trial of a search is not among the reruns: it was selected for its luck,
and its result is too good on average.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from refplay.analysis.axes import finished
from refplay.analysis.finding import Finding
from refplay.analysis.wording import count, known, study_quantity
from refplay.study.record import Round, State, Study, TrialRecord

SECTION = "Determining whether to adopt a training pipeline change or hyperparameter configuration"

UNSTABLE = 0.5  # standard deviations of the reruns, in parts of the way from the best to the median trial
RANKED = 3  # complete trials: fewer do not tell how trials differ


class Spread(NamedTuple):
    """How far repeated results scatter."""

    values: tuple[float, ...]  # the results, in the order of the repetitions
    n: int
    mean: float  # nan if n = 0
    sd: float  # sample standard deviation (n - 1); nan if n < 2
    range: float  # largest minus smallest; nan if n = 0


def spread(values: Iterable[float]) -> Spread:
    """Return the mean, sample standard deviation and range of values.

    >>> spread([0.1, 0.3])
    Spread(values=(0.1, 0.3), n=2, mean=0.2, sd=0.1414213562373095, range=0.19999999999999998)
    """
    x = np.array(list(values), dtype=np.float64)
    if not len(x):
        return Spread((), 0, float("nan"), float("nan"), float("nan"))
    # Equal values have a mean and a deviation without rounding: a result that never varies has sd = 0 exactly.
    equal = x.min() == x.max()
    with np.errstate(over="ignore", invalid="ignore"):  # sums of values near the end of float64 are inf
        mean = float(x[0] if equal else x.mean())
        sd = float("nan") if len(x) < 2 else 0.0 if equal else float(x.std(ddof=1))
        return Spread(tuple(x.tolist()), len(x), mean, sd, float(x.max() - x.min()))


def finished_reruns(study: Study, metric: str) -> list[TrialRecord]:
    """Return the reruns that tell the trial variance: complete or infeasible ones of one trial of the search.

    The best trial by `metric` if it was rerun; else, as after a change of the metric, the trial with the most reruns.
    """
    reruns = [t for t in study.reruns if t.state in (State.COMPLETE, State.INFEASIBLE)]
    if not reruns:
        return []
    numbers = Counter(t.number for t in reruns)
    ranked = study.ranked(metric)
    number = ranked[0].number if ranked and ranked[0].number in numbers else numbers.most_common(1)[0][0]
    return [t for t in reruns if t.number == number]


def trial_variance(study: Study, metric: str) -> Spread:
    """Return the spread of `metric` (its best over training) over the complete reruns of the study's best trial.

    Source: playbook, "Determining whether to adopt a training pipeline change or hyperparameter configuration".
    """
    return spread(b.value for t in finished_reruns(study, metric) if t.feasible and (b := t.best(metric)))


def study_variance(studies: Sequence[Study], metric: str) -> Spread:
    """Return the spread of the best results of several studies of one design with different search seeds.

    Parameters
    ----------
    studies : sequence of Study
        The same space and number of trials, other seeds (rounds of the same plan with another `seed`). Studies without
        a complete trial have no best result and are left out.
    metric : str
    """
    return spread(best.value for s in studies if (ranked := s.ranked(metric)) and (best := ranked[0].best(metric)))


def objectives(study: Study, metric: str) -> np.ndarray:
    """Return the objective of every finished trial (float64[n], sorted); infeasible ones cost as much: inf."""
    best = [trial.best(metric) if trial.feasible else None for trial in finished(study)]
    return np.sort([np.inf if b is None else b.value for b in best])


def way_to_median(study: Study, metric: str) -> float:
    """Return how far the median complete trial is above the best one: the scale of differences between trials."""
    values = objectives(study, metric)
    values = values[np.isfinite(values)]
    with np.errstate(over="ignore"):
        return float(np.median(values) - values[0]) if len(values) else 0.0


def variance(round: Round, metric: str) -> list[Finding]:
    """Return the trial variance of all that the round compares, and that it covers one source of variation of three."""
    findings = [replace(_trial_variance(part, metric), study=study.name) for study in round.studies
                for part in study.split(round.plan.scientific) if part.ranked(metric)]
    if not findings:
        return []
    return [*findings, Finding(
        "variance", round.plan.name, "note",
        "Study variance (another search seed finds other hyperparameters) and data variance (another split of the "
        "data) are not part of the spread of the reruns.",
        {"seed": round.plan.seed, "studies": len(round.studies)},
        f"To measure the first, run the plan with other seeds (now seed={round.plan.seed}) and compare the best "
        "results; to measure the second, repeat it on other splits of the data.", SECTION)]


def _trial_variance(study: Study, metric: str) -> Finding:
    reruns = finished_reruns(study, metric)
    s = trial_variance(study, metric)
    bad = sum(not t.feasible for t in reruns)
    best = study.ranked(metric)[0]
    number = reruns[0].number if reruns else best.number
    rerun = next((t for t in study.trials if t.number == number), best)
    found = rerun.best(metric)
    searched = found.value if found else float("nan")
    optimism = s.mean - searched
    numbers = {"n": s.n, "mean": known(s.mean), "sd": known(s.sd), "range": known(s.range), "infeasible": bad,
               "trial": number, "searched": known(searched), "optimism": known(optimism)}
    if bad:
        return Finding("variance", study.name, "attention",
                       f"{bad} of {count(len(reruns), 'rerun')} of trial {number} diverged with another seed: the "
                       "configuration is not reliable.", numbers,
                       "Do not adopt it as it is: stabilize it (learning rate warmup, gradient clipping, a smaller "
                       "learning rate) and rerun it.", SECTION)
    if s.n < 2:
        return Finding("variance", study.name, "note",
                       f"The trial variance of {study.name} is unknown: {count(s.n, 'complete rerun')} of its best "
                       "trial.", numbers, "Rerun the best trial with 5 other seeds before judging any difference.",
                       SECTION)
    shown = study_quantity(metric, study)
    luck = (f" In the search this trial had {shown.write(searched)}, luckier than its reruns by {shown.gap(optimism)}."
            if optimism > 0 else "")
    moved = "" if number == best.number else (f" Trial {best.number} is the best by {metric}, but trial {number} was "
                                              "the one rerun.")
    seen = (f"Over {s.n} reruns of trial {number} with other seeds {metric} is {shown.write(s.mean)} with standard "
            f"deviation {shown.gap(s.sd)} and range {shown.gap(s.range)}.{luck}{moved}")
    action = f"Rerun trial {best.number} before concluding anything from {metric}. " if moved else ""
    way = way_to_median(study, metric)
    numbers["way_to_median"] = way
    if s.sd > UNSTABLE * way and len(study.ranked(metric)) >= RANKED:
        return Finding("variance", study.name, "attention",
                       f"{seen} That is as large as the differences between trials (from the best to the median one "
                       f"{shown.gap(way)}), so the order of the trials is mostly luck.", numbers,
                       f"{action}Stabilize training (a learning rate that decays to the end, a smaller one, warmup, "
                       "gradient clipping), measure more precisely (more validation examples), and judge by more "
                       "reruns, not by the best trial.", SECTION)
    return Finding("variance", study.name, "note" if moved else "good", seen, numbers, action.strip(), SECTION)

"""Did the experiment get what it paid for? Three things that a budget is divided between.

Named by the playbook's section "Striking a balance between informative and affordable experiments": enough values of
the scientific hyperparameters, a nuisance space that is wide enough, and dense enough sampling of it. They are read
off the finished study: at least two values with a result (three for a number, whose optimum may lie between two, unless
one of them is 0: with or without), no best trials at an edge that could be moved (`boundary`), and at least three
trials in the good region (`sampling`; a hand-written list of trials is as dense as its author made it).

Where the scientific hyperparameters lie inside the space, the section "Creating a set of studies" wants them sampled
uniformly. That is verified on the trials that were run: Pearson's chi-square statistic of the counts of the options
against equal counts, its null distribution simulated by 9,999 multinomial draws since counts are small, at level 0.01.
"""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np

from refplay.analysis.boundary import boundary
from refplay.analysis.finding import Finding
from refplay.analysis.sampling import sampling
from refplay.analysis.wording import count, listed, percent, show
from refplay.search.space import Choice
from refplay.seeds import generator
from refplay.study.record import Round, State, Study

SECTION = "Striking a balance between informative and affordable experiments"
UNIFORM_SECTION = "Creating a set of studies"
LEVEL = 0.01
DRAWS = 9999


def desiderata(round: Round, metric: str) -> list[Finding]:
    """Return one finding per study that has complete trials: which of the three desiderata it met."""
    return [_reported(round, study, metric) for study in round.studies if study.ranked(metric)]


def _reported(round: Round, study: Study, metric: str) -> Finding:
    compared = {name: compared_values(round, name, metric) for name in round.plan.scientific}
    few = [name for name, values in compared.items() if len(values) < _needed(values)]
    # At a natural limit (a note that names its hyperparameter) a wider space does not exist.
    wide = all(f.verdict == "good" or (f.verdict == "note" and f.hyperparameter) for f in boundary(study, metric))
    listed_by_hand = bool(round.plan.configurations)
    dense = listed_by_hand or all(f.verdict == "good" for f in sampling(study, metric))
    sampled = "a hand-written list" if listed_by_hand else "dense enough" if dense else "not dense enough"
    numbers = {"values": compared, "enough_values": not few, "wide_enough": wide, "dense_enough": dense}
    values = listed([f"{count(len(v), 'value')} of {name}" for name, v in compared.items()]) or "none asked"
    seen = (f"Scientific values: {'too few' if few else 'enough'} ({values}). Nuisance space: "
            f"{'wide enough' if wide else 'not shown to be wide enough'}. Sampling: {sampled}.")
    wanted = listed([_wanted(name, compared[name]) for name in few])
    steps = [step for step, needed in ((f"compare more values: {wanted}", few),
                                       ("settle the ranges", not wide), ("run more trials", not dense)) if needed]
    action = f"For the next round: {', then '.join(steps)}." if steps else ""
    return Finding("desiderata", study.name, "attention" if steps else "good", seen, numbers, action, SECTION)


def _needed(values: list[Any]) -> int:
    numeric = all(isinstance(v, Real) and not isinstance(v, bool) for v in values)
    return 3 if values and numeric and 0 not in values else 2


def _wanted(name: str, values: list[Any]) -> str:
    needed = _needed(values)
    why = ", since the optimum of a number may lie between two" if needed > 2 else ""
    return f"at least {needed} of {name} with a result{why}"


def compared_values(round: Round, name: str, metric: str) -> list[Any]:
    """Return the values of a scientific hyperparameter for which there is a complete trial, in order of appearance."""
    values = {repr(t.params[name]): t.params[name] for study in round.studies for t in study.ranked(metric)
              if name in t.params}
    return list(values.values())


def uniformity_probability(counts: list[int]) -> float:
    """Return the probability of counts at least this uneven, by chi-square, if all options are equally likely.

    A Monte Carlo test: (1 + draws at least as uneven) / (1 + draws) never understates the probability.

    >>> uniformity_probability([8, 8, 8]), uniformity_probability([22, 1, 1]) < 0.001
    (1.0, True)
    """
    trials, options = sum(counts), len(counts)
    if not trials or options < 2:
        return 1.0
    drawn = generator(0, "uniformity").multinomial(trials, np.full(options, 1 / options), DRAWS)
    # Sums of squares of whole numbers: chi-square up to constants, and exact to compare.
    uneven = (drawn.astype(np.int64) ** 2).sum(axis=1) >= sum(c * c for c in counts)
    return float((1 + uneven.sum()) / (1 + DRAWS))


def uniformity(round: Round) -> list[Finding]:
    """Return, for each scientific hyperparameter inside the space of a study, whether it was sampled uniformly."""
    return [_sampled(study, dimension.name, dimension.domain) for study in round.studies
            for dimension in study.space.dimensions
            if dimension.name in round.plan.scientific and isinstance(dimension.domain, Choice)
            and len(dimension.domain.options) > 1 and any(t.state is not State.PENDING for t in study.trials)]


def _sampled(study: Study, name: str, domain: Choice) -> Finding:
    run = [t.params.get(name) for t in study.trials if t.state is not State.PENDING]
    counts = [sum(value == option for value in run) for option in domain.options]
    probability = uniformity_probability(counts)
    seen = (f"Trials at each value of {name}: "
            f"{listed([f'{show(o)} {c}' for o, c in zip(domain.options, counts, strict=True)], 12)}.")
    numbers = {"counts": counts, "probability": probability}
    if probability > LEVEL:
        return Finding("uniformity", study.name, "good", f"{seen} This is as even as uniform sampling makes it.",
                       numbers, "", UNIFORM_SECTION, name)
    return Finding("uniformity", study.name, "attention",
                   f"{seen} Uniform sampling would be so uneven in {percent(probability)} of studies.", numbers,
                   f"The values were not given equal chances, so do not compare their best trials: search {name} by "
                   "quasi-random search, or give each value a study of its own.", UNIFORM_SECTION, name)

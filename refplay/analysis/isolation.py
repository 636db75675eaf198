"""Does the change help? The best trial at each value of a hyperparameter, with all others optimized away.

Asked by the playbook's section "Detecting whether a change is useful with isolation plots": compare like with like by
keeping, for every value of the scientific hyperparameter, only the best trial over the nuisance ones. A continuous
hyperparameter is cut into buckets of equal width on its unit axis and the best trial of each bucket kept.

The comparison is fair only where every value was tuned equally well, the baseline without the change included: as many
finished trials (a tenth more or less is let pass), as many training steps, the same ranges for the hyperparameters
that they share. Conditional hyperparameters are each value's own, whatever they are called, and may differ; that one
value has more of them to tune with the same number of trials is said, since it then was tuned less densely.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from refplay.analysis.axes import finished, position
from refplay.analysis.finding import Finding
from refplay.analysis.wording import count, listed, quantity, show
from refplay.search.space import Choice, Dimension
from refplay.study.record import Round, Study, TrialRecord

SECTION = "Detecting whether a change is useful with isolation plots"
UNEQUAL = 0.1  # of the trials: fewer are lost to a crash here and there without harm


class Isolated(NamedTuple):
    """One value (or bucket of values) of a hyperparameter, and the best trial in it."""

    value: Any  # the value itself; of a bucket, the value in its middle
    low: Any  # of a bucket, where it begins; the value itself otherwise
    high: Any  # of a bucket, where it ends
    trial: TrialRecord | None  # the best complete trial; None where there is none
    best: float  # its objective; nan where there is none
    trials: int  # finished trials (complete or infeasible) with this value


def isolate(source: Round | Study, hyperparameter: str, *, metric: str | None = None,
            buckets: int = 8) -> list[Isolated]:
    """Return the best trial at each value of a hyperparameter, over everything else that varied.

    Parameters
    ----------
    source : Round or Study
        Of a round all studies are pooled: the form that compares one study per scientific value. Studies in which
        the name has another range than in the first are left out: it is another hyperparameter there.
    hyperparameter : str
        Qualified name: scientific, nuisance or fixed. Unknown ones give an empty list.
    metric : str, optional
        The curve that ranks the trials; the metric of the round's plan, or "valid_error" for a study alone.
    buckets : int, 1 or more
        How many equal parts of the unit axis a continuous hyperparameter is cut into; empty ones are left out.

    Returns
    -------
    list of Isolated
        In the order of the values on their axis; in the order of first appearance for those without a domain.
    """
    if buckets < 1:
        raise ValueError(f"buckets must be 1 or more, got {buckets}")
    studies = source.studies if isinstance(source, Round) else (source,)
    metric = metric or (source.plan.metric if isinstance(source, Round) else "valid_error")
    dimensions = [_dimension(study, hyperparameter) for study in studies]
    found = next((d for d in dimensions if d is not None), None)
    if found is not None and not isinstance(found.domain, Choice):
        same = [s for s, d in zip(studies, dimensions, strict=True) if d is None or d.domain == found.domain]
        return _bucketed([t for study in same for t in finished(study)], found, metric, buckets)
    groups: dict[str, list[TrialRecord]] = {}
    if found is not None and isinstance(found.domain, Choice):
        groups = {repr(option): [] for option in found.domain.options}
    for trial in (t for study in studies for t in finished(study) if hyperparameter in t.params):
        groups.setdefault(repr(trial.params[hyperparameter]), []).append(trial)
    return [_best(members[0].params[hyperparameter], None, members, metric) for members in groups.values() if members]


def _dimension(study: Study, name: str) -> Dimension | None:
    return next((d for d in study.space.dimensions if d.name == name), None)


def _bucketed(trials: list[TrialRecord], dimension: Dimension, metric: str, buckets: int) -> list[Isolated]:
    groups: dict[int, list[TrialRecord]] = {}
    for trial in trials:
        unit = position(trial, dimension)
        if unit is not None:
            groups.setdefault(int(np.clip(unit * buckets, 0, buckets - 1)), []).append(trial)
    value = dimension.domain.from_unit
    return [_best(value((i + 0.5) / buckets), (value(i / buckets), value((i + 1) / buckets)), groups[i], metric)
            for i in sorted(groups)]


def _best(value: Any, limits: tuple[Any, Any] | None, trials: Iterable[TrialRecord], metric: str) -> Isolated:
    members = list(trials)
    scored = [(best.value, i) for i, t in enumerate(members) if t.feasible and (best := t.best(metric))]
    low, high = limits or (value, value)
    if not scored:
        return Isolated(value, low, high, None, float("nan"), len(members))
    best_value, i = min(scored)
    return Isolated(value, low, high, members[i], best_value, len(members))


def isolation(round: Round, metric: str) -> list[Finding]:
    """Return, for each scientific hyperparameter, what its best trials say and whether the comparison is fair."""
    findings = []
    for name in round.plan.scientific:
        table = [row for row in isolate(round, name, metric=metric) if row.trial is not None]
        if table:
            findings.append(_comparison(round.plan.name, name, table, metric))
    return findings + (_fairness(round) if round.plan.scientific and len(round.studies) > 1 else [])


def _comparison(plan: str, name: str, table: list[Isolated], metric: str) -> Finding:
    ordered = sorted(table, key=lambda row: row.best)
    numbers = {"values": [row.value for row in ordered], "best": [row.best for row in ordered],
               "trials": [row.trials for row in ordered],
               "numbers": [row.trial.number for row in ordered if row.trial is not None]}
    shown = quantity(metric, [row.best for row in ordered])
    seen = (f"Best {metric} at each value of {name}, nuisance hyperparameters optimized away: "
            + listed([f"{shown.write(row.best)} at {show(row.value)} (of {count(row.trials, 'trial')})"
                      for row in ordered], 8) + ".")
    action = ("Take the order as provisional: each is the luckiest of its trials. The reruns of the best trials decide."
              if len(table) > 1 else "There is nothing to compare with yet: run the other values.")
    return Finding("isolation", plan, "note", seen, numbers, action, SECTION, name)


def _fairness(round: Round) -> list[Finding]:
    done = {study.name: len(finished(study)) for study in round.studies}
    lengths = {study.name: _length(study) for study in round.studies}
    tuned = {study.name: len(study.space.dimensions) for study in round.studies}
    numbers = {"trials": done, "steps": lengths, "dimensions": tuned}
    if not any(done.values()):
        return []
    unfair = []
    if max(done.values()) - min(done.values()) > UNEQUAL * max(done.values()):
        unfair.append(f"the numbers of finished trials differ ({_each(done)})")
    if len({length for length in lengths.values() if length}) > 1:
        unfair.append(f"the trials were not equally long ({_each(lengths)} steps)")
    shared = [name for name, given in round.plan.nuisance.items() if not isinstance(given, Mapping)]
    unfair += [f"{name} was searched over different ranges" for name in shared if _differs(round, name)]
    if unfair:
        return [Finding("fairness", round.plan.name, "attention",
                        f"The scientific values were not tuned equally well: {listed(unfair)}.", numbers,
                        "Bring the studies to the same trials, steps and ranges before comparing their best.", SECTION)]
    seen = (f"Every scientific value had the same chance: {_range(done)} finished trials each"
            + (f" of {_range(lengths)} steps." if any(lengths.values()) else "."))
    if len(set(tuned.values())) > 1:
        return [Finding("fairness", round.plan.name, "note",
                        f"{seen} They tuned different numbers of hyperparameters ({_each(tuned)}), so the larger "
                        "spaces were sampled less densely.", numbers,
                        "If the value with more hyperparameters loses narrowly, give it more trials before believing "
                        "it.", SECTION)]
    return [Finding("fairness", round.plan.name, "good", seen, numbers, "", SECTION)]


def _length(study: Study) -> int:
    # The last step that a complete trial reported; 0 where nothing was reported.
    curves = [curve for t in study.trials if t.feasible for curve in t.curves.values()]
    return max((int(curve.steps[-1]) for curve in curves if len(curve.steps)), default=0)


def _differs(round: Round, name: str) -> bool:
    found = [_dimension(study, name) for study in round.studies]
    return any(d is None or found[0] is None or d.domain != found[0].domain for d in found)


def _each(numbers: dict[str, int]) -> str:
    return listed([f"{name}: {number}" for name, number in numbers.items()], 8)


def _range(numbers: dict[str, int]) -> str:
    low, high = min(numbers.values()), max(numbers.values())
    return str(low) if low == high else f"{low} to {high}"

"""Does the change help? The best trial at each value of a hyperparameter, with all others optimized away.

Asked by the playbook's section "Detecting whether a change is useful with isolation plots": compare like with like by
keeping, for every value of the scientific hyperparameter, only the best trial over the nuisance ones. A continuous
hyperparameter is cut into buckets of equal width on its unit axis and the best trial of each bucket kept. The
comparison is fair only where every value was tuned equally well: as many trials, as many steps, the same ranges for
the hyperparameters that they share.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from refplay.analysis.axes import finished, position
from refplay.search.space import Choice, Dimension
from refplay.study.record import Round, Study, TrialRecord


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
        Of a round all studies are pooled: the form that compares one study per scientific value.
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
    trials = [t for study in studies for t in finished(study) if hyperparameter in t.params]
    found = [d for study in studies for d in study.space.dimensions if d.name == hyperparameter]
    if found and not isinstance(found[0].domain, Choice):
        return _bucketed(trials, found[0], metric, buckets)
    groups: dict[str, list[TrialRecord]] = {}
    for option in found[0].domain.options if found else ():  # type: ignore[union-attr]
        groups[repr(option)] = []
    for trial in trials:
        groups.setdefault(repr(trial.params[hyperparameter]), []).append(trial)
    return [_best(members[0].params[hyperparameter], None, members, metric) for members in groups.values() if members]


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

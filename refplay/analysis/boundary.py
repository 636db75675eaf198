"""Is the search space large enough? Best trials at an edge of a hyperparameter's range say that it is not.

Asked by the playbook's section "Identifying bad search space boundaries": where the best points gather at an edge, a
better one may lie outside, so the range grows in that direction; where everything beyond a threshold diverges and the
best points sit right at the threshold, training may be too unstable to use values that would otherwise be better.

The rule, per dimension and edge, on the unit axis of the domain, over the trials where the hyperparameter is active:

* the k best of n complete trials (k = sqrt(n), at least 3 and at most 8, and more where further ones tie with them)
  lie nearer to the edge than the other n - k by a one-sided Mann-Whitney rank test at level 0.05 / (2 d), d the number
  of dimensions with edges: a study whose objective is pure noise is flagged anywhere with probability at most 0.05;
* and more than half of the k lie in the outer fifth (of the axis or of the trials, whichever is wider), so that an
  optimum which is merely off-centre is not flagged.

The edge is a suspected stability limit instead when, at the same level, the outermost trials are infeasible without
exception (probability that as many would be so if the infeasible ones were spread at random) and the best complete
trials sit at the end of what remains: by the rank test, and more than half of the k in the outer fifth of the complete
trials.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np

from refplay.analysis.axes import end_cell, finished, ordered_dimensions, position, positions, shift_probability
from refplay.analysis.expand import expand
from refplay.analysis.finding import Finding
from refplay.analysis.wording import count, listed, percent, show
from refplay.search.space import Dimension, Domain
from refplay.study.record import State, Study, TrialRecord

SECTION = "Identifying bad search space boundaries"
LEVEL = 0.05  # probability that a study of pure noise is flagged anywhere
OUTER = 0.2  # the part of the axis that counts as its edge

Edge = Literal["low", "high"]
EDGES: tuple[Edge, ...] = ("low", "high")


class BoundaryFlag(NamedTuple):
    """The best trials gather at one edge of one hyperparameter."""

    hyperparameter: str  # qualified name
    edge: Edge  # of the values, not of the unit axis: "high" means that larger values might be better
    stability: bool  # everything beyond is infeasible: a stability limit is suspected
    at_edge: int  # of the best trials, those in the outer part
    best: int  # k, how many trials count as the best
    trials: int  # n, complete trials in which the hyperparameter was active
    probability: float  # of best trials this near to the edge, were the hyperparameter without effect
    threshold: float | None  # value of the outermost complete trial, for a stability limit
    beyond: int  # infeasible trials beyond the threshold
    proposed: Domain | None  # the expanded range for the next study; None at a natural limit or a stability limit


def best_count(trials: int) -> int:
    """Return k, how many of n complete trials count as the best: the square root of n within [3, 8].

    >>> [best_count(n) for n in (6, 10, 24, 100)]
    [3, 3, 5, 8]
    """
    return min(max(3, round(math.sqrt(trials))), 8)


def boundary_flags(study: Study, metric: str) -> list[BoundaryFlag]:
    """Return the edges at which the best trials gather, in the order of the dimensions (rule: see the module).

    Parameters
    ----------
    study : Study
    metric : str
        The curve whose lowest value ranks the trials.

    Source: playbook, "Identifying bad search space boundaries".
    """
    dimensions = ordered_dimensions(study.space)
    level = LEVEL / (2 * max(len(dimensions), 1))
    done = finished(study)
    scored = [(trial, best.value) for trial in study.ranked(metric) if (best := trial.best(metric))]
    flags = [_flag(scored, done, dimension, edge, level) for dimension in dimensions for edge in EDGES]
    return [flag for flag in flags if flag is not None]


def _flag(scored: list[tuple[TrialRecord, float]], done: list[TrialRecord], dimension: Dimension, edge: Edge,
          level: float) -> BoundaryFlag | None:
    scored = [(trial, value) for trial, value in scored if position(trial, dimension) is not None]
    ranked = [trial for trial, _ in scored]
    least = best_count(len(ranked))
    if len(ranked) <= least:
        return None
    k = sum(value <= scored[least - 1][1] for _, value in scored)  # those that tie with the last of them included
    # Mirror the axis for the low edge, so that below the edge in question always lies at 1.
    complete = _towards(edge, positions(ranked, dimension))
    sampled = _towards(edge, positions(done, dimension))
    infeasible = _towards(edge, positions([t for t in done if t.state is State.INFEASIBLE], dimension))
    probability = shift_probability(complete[:k], complete[k:])
    if not _at_most(probability, level):
        return None
    limit = float(complete.max())
    beyond = int((infeasible > limit).sum())
    chance = math.comb(len(infeasible), beyond) / math.comb(len(infeasible) + len(complete), beyond)
    stability = beyond > 0 and _at_most(chance, level)
    start = float(np.quantile(complete if stability else sampled, 1 - OUTER))
    if not stability:
        start = min(start, 1 - max(OUTER, end_cell(dimension)))
    at_edge = int((complete[:k] >= start - 1e-12).sum())  # rounding of from_unit and back: a few 1e-16
    if 2 * at_edge <= k:
        return None
    outermost = ranked[int(complete.argmax())].params[dimension.name]
    return BoundaryFlag(dimension.name, edge, stability, at_edge, k, len(ranked), probability,
                        outermost if stability else None, beyond if stability else 0,
                        None if stability else expand(dimension.name, dimension.domain, edge))


def _towards(edge: Edge, places: np.ndarray) -> np.ndarray:
    return places if edge == "high" else 1 - places


def _at_most(probability: float, level: float) -> bool:
    return probability <= level * (1 + 1e-9)  # 1/120 against 0.05/6: equal but for rounding


def boundary(study: Study, metric: str) -> list[Finding]:
    """Return one finding for each flagged edge, or one that says that there is none (or too few trials to tell)."""
    flags = boundary_flags(study, metric)
    if flags:
        return [_flagged(study, metric, flag) for flag in flags]
    dimensions = ordered_dimensions(study.space)
    if not dimensions:
        return []
    complete = len(study.ranked(metric))
    numbers = {"complete": complete, "dimensions": len(dimensions), "level": LEVEL}
    if complete < 4 or 1 / math.comb(complete, best_count(complete)) > LEVEL / (2 * len(dimensions)) * (1 + 1e-9):
        return [Finding("boundary", study.name, "note",
                        f"{count(complete, 'complete trial')} over {count(len(dimensions), 'hyperparameter')} cannot "
                        "show whether the best ones gather at an edge of the search space.", numbers,
                        "Run more trials before trusting the ranges; until then look at the axis plots.", SECTION)]
    return [Finding("boundary", study.name, "good",
                    f"The best {best_count(complete)} of {complete} complete trials gather at no edge of "
                    f"{listed([d.name for d in dimensions])}.", numbers, "", SECTION)]


def _flagged(study: Study, metric: str, flag: BoundaryFlag) -> Finding:
    name, side = flag.hyperparameter, "upper" if flag.edge == "high" else "lower"
    dimension = next(d for d in study.space.dimensions if d.name == name)
    top = [t for t in study.ranked(metric) if position(t, dimension) is not None][:flag.best]
    numbers = {"edge": flag.edge, "at_edge": flag.at_edge, "best": flag.best, "trials": flag.trials,
               "probability": flag.probability, "values": [t.params[name] for t in top]}
    chance = (f"A hyperparameter without effect would put its best trials so near to this end in "
              f"{percent(flag.probability)} of studies.")
    if flag.stability:
        more, beyond = ("above", "higher") if flag.edge == "high" else ("below", "lower")
        return Finding(
            "stability", study.name, "attention",
            f"All {flag.beyond} trials with {name} {more} {show(flag.threshold)} are infeasible, and {flag.at_edge} of "
            f"the best {flag.best} trials sit just {'below' if flag.edge == 'high' else 'above'} that threshold. "
            f"{chance}", numbers | {"threshold": flag.threshold, "beyond": flag.beyond},
            f"Suspect a stability limit that bars better, {beyond} values of {name}: look at the gradient norm of the "
            "best trials early in training, then repeat the study with learning rate warmup, or with gradient "
            "clipping (section \"How can optimization failures be debugged and mitigated?\").", SECTION, name)
    seen = (f"{flag.at_edge} of the best {flag.best} of {flag.trials} complete trials lie at the {side} end of {name} "
            f"(values of the best: {listed([show(t.params[name]) for t in top], 8)}). {chance}")
    if flag.proposed is None:
        return Finding("boundary", study.name, "note", seen, numbers,
                       f"This end is a natural limit of {name}, so the range cannot grow there: ask whether the "
                       "hyperparameter is needed at all, or whether another scale resolves the values near the limit "
                       "better.", SECTION, name)
    return Finding("boundary", study.name, "attention", seen, numbers | {"proposed": repr(flag.proposed)},
                   f"Run the next study with {name}={flag.proposed!r} (now {dimension.domain!r}), and expand again "
                   "until the best trial is no longer near the edge.", SECTION, name)

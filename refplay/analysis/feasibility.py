"""How many trials were infeasible, and which hyperparameter makes them so?

Asked by the checklist of the playbook's section "Extracting insight from experimental results": a very large fraction
of trials that diverge means that the space should be narrowed, sometimes reparameterized, or that the code has a bug.

The rule: a third of the finished trials or more is a large fraction (that much of the budget bought nothing). The
hyperparameter that separates them is the one whose infeasible trials lie furthest to one side by a one-sided
Mann-Whitney rank test (for options without order: by Fisher's exact test of each option against the rest), at level
0.05 over all hyperparameters and sides together (Bonferroni); its separation is the area under the ROC curve. The
split proposed maximizes Youden's index (the share of infeasible trials beyond it less the share of complete ones), and
narrowing there is proposed only if none of the best trials is lost by it. Failed trials are bugs and are counted apart.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal, NamedTuple

import numpy as np

from refplay.analysis.axes import finished, ordered, position, shift_probability
from refplay.analysis.boundary import best_count, boundary_flags
from refplay.analysis.finding import Finding
from refplay.analysis.wording import count, last_place, last_words, percent, show
from refplay.search.space import Choice, Dimension
from refplay.study.record import State, Study, TrialRecord

SECTION = "Extracting insight from experimental results"
LARGE = 1 / 3
LEVEL = 0.05


class Separator(NamedTuple):
    """A hyperparameter that tells infeasible from complete trials."""

    hyperparameter: str
    side: Literal["low", "high", "option"]  # where the infeasible trials lie
    auc: float  # probability that an infeasible trial lies further to that side than a complete one
    probability: float  # of so clear a separation by chance, all hyperparameters tried taken into account
    split: Any  # the value beyond which trials tend to be infeasible; for "option" the option
    excluded: int  # infeasible trials beyond the split
    lost: int  # complete trials beyond the split
    best_lost: bool  # whether one of the best trials lies beyond it


def infeasible_fraction(study: Study) -> float:
    """Return infeasible / (complete + infeasible) trials; nan if none finished."""
    trials = finished(study)
    return sum(t.state is State.INFEASIBLE for t in trials) / len(trials) if trials else float("nan")


def separator(study: Study, metric: str) -> Separator | None:
    """Return the hyperparameter that best separates infeasible from complete trials; None where none does.

    Parameters
    ----------
    study : Study
    metric : str
        The curve that ranks the complete trials, so that the split spares the best of them.

    Source: playbook, "Extracting insight from experimental results" (checklist: infeasible trials).
    """
    tests = 0
    found: list[Separator] = []
    ranked = study.ranked(metric)
    best = ranked[:best_count(len(ranked))] if ranked else []
    for dimension in study.space.dimensions:
        bad = [t for t in finished(study) if t.state is State.INFEASIBLE and position(t, dimension) is not None]
        good = [t for t in finished(study) if t.feasible and position(t, dimension) is not None]
        candidates = (_sides if ordered(dimension) else _options)(dimension, bad, good, best)
        tests += len(candidates)
        found += candidates
    corrected = [s._replace(probability=min(1.0, s.probability * tests)) for s in found]
    significant = [s for s in corrected if s.probability <= LEVEL]
    return min(significant, key=lambda s: (s.probability, -s.auc), default=None)


def _sides(dimension: Dimension, bad: list[TrialRecord], good: list[TrialRecord],
           best: list[TrialRecord]) -> list[Separator]:
    result = []
    sides: tuple[tuple[Literal["low", "high"], float], ...] = (("low", -1.0), ("high", 1.0))
    for side, sign in sides:
        x = sign * np.array([position(t, dimension) for t in bad], dtype=np.float64)
        y = sign * np.array([position(t, dimension) for t in good], dtype=np.float64)
        probability = shift_probability(x, y)
        auc, split, excluded, lost = 0.5, None, 0, 0
        if len(x) and len(y):
            auc = float(np.mean((x[:, None] > y) + 0.5 * (x[:, None] == y)))
            kept, excluded, lost = _youden(x, y)
            # The last value to keep: a trial that was run, so that the new edge is not invented.
            last = next(t for t in good if sign * float(position(t, dimension) or 0.0) == kept)
            split = last.params[dimension.name]
            best_lost = any(sign * p > kept for t in best if (p := position(t, dimension)) is not None)
            result.append(Separator(dimension.name, side, auc, probability, split, excluded, lost, best_lost))
    return result


def _youden(bad: np.ndarray, good: np.ndarray) -> tuple[float, int, int]:
    # Cut above a complete trial: what lies beyond is given up.
    cuts = np.unique(good)
    excluded = (bad > cuts[:, None]).sum(axis=1)
    lost = (good > cuts[:, None]).sum(axis=1)
    i = int(np.argmax(excluded / len(bad) - lost / len(good)))
    return float(cuts[i]), int(excluded[i]), int(lost[i])


def _options(dimension: Dimension, bad: list[TrialRecord], good: list[TrialRecord],
             best: list[TrialRecord]) -> list[Separator]:
    from scipy.stats import fisher_exact

    assert isinstance(dimension.domain, Choice)
    result = []
    for option in dimension.domain.options if bad and good and len(dimension.domain.options) > 1 else ():
        inside = [sum(t.params[dimension.name] == option for t in trials) for trials in (bad, good)]
        table = [inside, [len(bad) - inside[0], len(good) - inside[1]]]
        probability = float(fisher_exact(table, alternative="greater").pvalue)
        auc = 0.5 + 0.5 * (inside[0] / len(bad) - inside[1] / len(good))
        best_lost = any(t.params.get(dimension.name) == option for t in best)
        result.append(Separator(dimension.name, "option", auc, probability, option, inside[0], inside[1], best_lost))
    return result


def effective_rate_auc(study: Study) -> float | None:
    """Return the separation of infeasible trials by learning_rate / (1 - momentum); None where these do not both vary.

    With momentum a gradient moves the parameters by learning_rate / (1 - momentum) over all later steps, so divergence
    often follows this product rather than either hyperparameter.
    """
    names = [d.name for d in study.space.dimensions]
    for rate in (n for n in names if n.rsplit(".", 1)[-1] == "learning_rate"):
        for momentum in (n for n in names if n == rate.removesuffix("learning_rate") + "momentum"):
            groups: dict[bool, list[float]] = {True: [], False: []}
            for t in finished(study):
                placed = all(position(t, d) is not None for d in study.space.dimensions if d.name in (rate, momentum))
                if placed and t.params[momentum] < 1:
                    groups[t.feasible].append(t.params[rate] / (1 - t.params[momentum]))
            if groups[True] and groups[False]:
                x, y = np.array(groups[False])[:, None], np.array(groups[True])
                return float(np.mean((x > y) + 0.5 * (x == y)))
    return None


def feasibility(study: Study, metric: str) -> list[Finding]:
    """Return the finding on infeasible trials, and one on failed trials where there are any."""
    return _infeasible(study, metric) + _failed(study)


def _infeasible(study: Study, metric: str) -> list[Finding]:
    trials = finished(study)
    if not trials:
        return []
    bad = sum(t.state is State.INFEASIBLE for t in trials)
    fraction = bad / len(trials)
    numbers: dict[str, Any] = {"infeasible": bad, "finished": len(trials), "fraction": fraction}
    verb = "is" if bad == 1 else "are"
    seen = f"{bad} of {count(len(trials), 'finished trial')} ({percent(fraction)}) {verb} infeasible"
    if not bad:
        return [Finding("feasibility", study.name, "good", f"All {count(len(trials), 'finished trial')} are feasible."
                        if len(trials) > 1 else "The one finished trial is feasible.", numbers, "", SECTION)]
    if bad == len(trials):
        return [Finding("feasibility", study.name, "attention", seen + ".", numbers,
                        "Nothing can be learned from this study: run one hand-picked cautious configuration (small "
                        "learning rate) first. If it diverges too, look for a bug in the training code; if not, move "
                        "the search space towards it.", SECTION)]
    split = separator(study, metric)
    if split is not None:
        numbers |= {"separator": split.hyperparameter, "auc": split.auc, "probability": split.probability,
                    "split": split.split, "side": split.side, "excluded": split.excluded, "lost": split.lost}
        seen += f", and {_described(split)}"
    large = fraction >= LARGE
    action = _remedy(study, metric, split, numbers) if large else ""
    return [Finding("feasibility", study.name, "attention" if large else "note", seen + ".", numbers, action, SECTION,
                    split.hyperparameter if split else "")]


def _described(split: Separator) -> str:
    if split.side == "option":
        where = f"have {split.hyperparameter}={show(split.split)}"
    else:
        where = f"lie {'above' if split.side == 'high' else 'below'} {show(split.split)}"
    return (f"{split.hyperparameter} separates them: {split.excluded} {where}, where "
            f"{count(split.lost, 'trial') if split.lost else 'no trial'} trained to the end (area under the ROC curve "
            f"{split.auc:.2f})")


def _remedy(study: Study, metric: str, split: Separator | None, numbers: dict[str, Any]) -> str:
    effective = effective_rate_auc(study)
    if effective is not None and effective >= max(split.auc if split else 0.5, 0.75) + 0.05:
        numbers["effective_rate_auc"] = effective
        return ("Reparameterize: learning_rate / (1 - momentum) separates the infeasible trials better (area "
                f"{effective:.2f}) than any one hyperparameter, so search over it in place of the learning rate.")
    if split is None:
        return ("No single hyperparameter separates the infeasible trials: read their reasons. Look for a bug in the "
                "training code, or for an implicit constraint between hyperparameters that calls for another "
                "parameterization of the space.")
    name = split.hyperparameter
    if split.best_lost:
        return (f"One of the best trials lies on the infeasible side of {name} as well, so do not narrow it: stabilize "
                "training (learning rate warmup, gradient clipping) or reparameterize the space.")
    if any(flag.stability and flag.hyperparameter == name for flag in boundary_flags(study, metric)):
        return (f"Do not narrow {name} yet: the best trials sit at this very limit, so first try to move it by "
                "stabilizing training (finding on stability), and narrow the range only if that does not help.")
    if split.side == "option":
        return f"Leave {name}={show(split.split)} out of the next study, or give it a space of its own."
    limit = "upper" if split.side == "high" else "lower"
    return f"Narrow the next study: set the {limit} limit of {name} to {show(split.split)}."


def _failed(study: Study) -> list[Finding]:
    failed = [t for t in study.trials if t.state is State.FAILED]
    if not failed:
        return []
    errors = Counter(last_words(t.reason) for t in failed)
    error, times = errors.most_common(1)[0]
    place = last_place(next(t.reason for t in failed if last_words(t.reason) == error))
    return [Finding("failed", study.name, "attention",
                    f"{len(failed)} of {count(len(study.trials), 'trial')} failed: a bug, not a result. The most "
                    f"frequent error ({times} of {len(failed)}): {error}" + (f" (at {place})" if place else ""),
                    {"failed": len(failed), "trials": len(study.trials), "error": error, "place": place,
                     "numbers": [t.number for t in failed]},
                    "Read the traceback (in the HTML report, under the results), mend the objective, and begin the "
                    "failed trials again (`--retry-failed`, in Python `retry_failed=True`), or all under another "
                    "name if the bug touched results too; only then judge how well the space was sampled.", SECTION)]

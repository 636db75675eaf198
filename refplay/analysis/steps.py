"""Was training long enough, or too long? The step of the best checkpoint over all trials.

Asked by the playbook's section "Deciding how long to train when training is *not* compute-bound": all trials train
equally long, and the steps at which their best checkpoints stood tell whether that length was right. All in the first
10% of training: the number of steps is far too high. Consistently in the last 25%: longer training may help.

The rule looks at the better half of the complete trials (at least 4): trials whose learning rate is too small improve
to the very end whatever the length. "Consistently" means at least three quarters of them, and more than chance would
put there (binomial test with probability 1/4, level 0.05).

The section "Examining the training curves" adds two questions, asked of the best few trials by their smoothed curves:
does the last fifth of training still improve on the fifth before it, beyond noise; and was the curve within noise of
its lowest long before the end (before half of training, and most best checkpoints not in the last 25%)?
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from refplay.analysis.boundary import best_count
from refplay.analysis.curves import LEVEL, MATTERS
from refplay.analysis.finding import Finding
from refplay.analysis.noise import SMALLEST, finite, noise, smooth, threshold
from refplay.analysis.wording import count, listed, percent
from refplay.study.record import Study, TrialRecord

SECTION = "Deciding how long to train when training is *not* compute-bound"
BOUND_SECTION = "Deciding how long to train when training is compute-bound"
EARLY, LATE = 0.10, 0.75
FEWEST = 4  # best steps below which no pattern is read from them


def best_steps(study: Study, metric: str) -> np.ndarray:
    """Return, for the complete trials from best to worst, when their best checkpoint stood: float64[n] in [0, 1].

    A fraction of the training: the step of the (first) lowest value of `metric` over the last step reported.
    """
    return np.array([_fraction(trial, metric) for trial in study.ranked(metric)], dtype=np.float64)


def _fraction(trial: TrialRecord, metric: str) -> float:
    best, last = trial.best(metric), int(trial.curves[metric].steps[-1])
    return best.step / last if best is not None and last > 0 else 1.0


def still_improving(trial: TrialRecord, metric: str, level: float = LEVEL) -> bool | None:
    """Whether the last fifth of the curve lies below the fifth before it, beyond noise and by 2%; None: too short."""
    values = finite(trial.curves.get(metric)).values
    if len(values) < SMALLEST:
        return None
    window = max(2, len(values) // 5)
    before, end = values[-2 * window:-window].mean(), values[-window:].mean()
    return bool(before - end > max(threshold(noise(values), window, level), MATTERS * abs(before)))


def settled_at(trial: TrialRecord, metric: str) -> float | None:
    """Return the fraction of training from which the smoothed curve was within noise of its lowest; None: too short."""
    curve = finite(trial.curves.get(metric))
    if len(curve.values) < SMALLEST:
        return None
    window = max(2, len(curve.values) // 8)
    means = smooth(curve.values, window)
    allowed = max(threshold(noise(curve.values), window, LEVEL), MATTERS * abs(means.min()))
    i = int(np.argmax(means <= means.min() + allowed))
    return float(curve.steps[i + window // 2] / max(int(curve.steps[-1]), 1))


def steps(study: Study, metric: str) -> list[Finding]:
    """Return the finding on the length of training (rule: see the module); none without complete trials."""
    fractions = best_steps(study, metric)
    if not len(fractions):
        return []
    better = fractions[:max(FEWEST, math.ceil(len(fractions) / 2))]
    top = study.ranked(metric)[:best_count(len(fractions))]
    improving = [x for t in top if (x := still_improving(t, metric, LEVEL / len(top))) is not None]
    settled = [at for t in top if (at := settled_at(t, metric)) is not None]
    late = int((better >= LATE).sum())
    numbers: dict[str, Any] = {"trials": len(better), "early": int((better <= EARLY).sum()), "late": late,
                               "median": float(np.median(better)), "improving": sum(improving),
                               "judged": len(improving), "settled": float(np.median(settled)) if settled else None}
    if len(better) < FEWEST:
        stood = listed([percent(float(fraction)) for fraction in better])
        return [Finding("steps", study.name, "note",
                        f"{count(len(better), 'complete trial')}, with the best checkpoint at {stood} of training: too "
                        "few to judge the length of training by.", numbers,
                        "Look at the training curves, and run more trials before changing the number of steps.",
                        SECTION)]
    seen = _seen(len(better), numbers)
    if (better <= EARLY).all():
        return [Finding("steps", study.name, "attention", seen, numbers,
                        "Training is far too long: give the next study about a fifth of the steps, with the learning "
                        "rate schedule re-tuned for them.", SECTION)]
    if late >= 0.75 * len(better) and _binomial_tail(late, len(better), 1 - LATE) <= LEVEL:
        if improving and not any(improving):
            return [Finding("steps", study.name, "attention", seen, numbers,
                            "Training longer may help, though little: the best checkpoints stand late, but the best "
                            "trials improve no more than their noise by then. Train the best configuration for twice "
                            "as many steps before paying for a whole study of that length.", SECTION)]
        return [Finding("steps", study.name, "attention", seen, numbers,
                        "Training longer may help: repeat the study with more steps (twice as many, say) and re-tune "
                        f"the learning rate decay. Where that costs too much, see \"{BOUND_SECTION}\".", SECTION)]
    if settled and numbers["settled"] <= 0.5 and not any(improving) and 2 * late <= len(better):
        return [Finding("steps", study.name, "note", seen, numbers,
                        "Training is not compute-bound here: fewer steps would show the same and buy more trials.",
                        SECTION)]
    return [Finding("steps", study.name, "good", seen, numbers, "", SECTION)]


def _seen(trials: int, numbers: dict[str, Any]) -> str:
    seen = (f"Of the {count(trials, 'better complete trial')}, {numbers['early']} had their best checkpoint in the "
            f"first 10% of training and {numbers['late']} in the last 25%.")
    if numbers["judged"]:
        seen += f" {numbers['improving']} of the best {numbers['judged']} were still improving at the end"
        if 2 * numbers["improving"] < numbers["judged"]:
            seen += f", and half of them had settled by {percent(numbers['settled'])} of training"
        seen += "."
    return seen


def _binomial_tail(successes: int, trials: int, probability: float) -> float:
    # P(X >= successes), X ~ Binomial(trials, probability)
    return sum(math.comb(trials, i) * probability**i * (1 - probability) ** (trials - i)
               for i in range(successes, trials + 1))

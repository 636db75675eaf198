"""What do the training curves show? Overfitting, and training losses that rise.

Asked by the playbook's section "Examining the training curves": does the validation error of any trial begin to rise,
above all in the best trial of each scientific value? Selecting the best trial hides overfitting and favours whatever
regularizes by accident, such as a learning rate that is too small, so trials other than the best are looked at too.

The rule: the moving average over w evaluations (a fifth of the curve, at least 2) ends above its minimum by more than
noise and by at least 2% of the minimum. "More than noise" is Student's t threshold for the difference of the means of
two windows, at level 0.05 divided by the number of trials looked at and by twice the number of disjoint windows that
the minimum was chosen from (twice, because it was chosen from overlapping ones). The noise is estimated from the curve
(`refplay.analysis.noise`) as independent from one evaluation to the next; where evaluations are so frequent that it is
not, a slow wander of the curve is called a rise more often.

A trial whose training loss got worse as well does not overfit: its optimization broke down, which is another trouble
with other remedies. The training loss got worse if it ends above a level that it had reached before, by more than noise
and by at least 2% of what it had fallen until then. Levels are medians of a fortieth of the curve (at least 3 values),
so that neither a spike that heals nor one in the middle of a good stretch decides.

A best trial whose smoothed curve ends by half above its minimum while its noise could explain even that is not said to
be free of overfitting: such a curve cannot show it.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from refplay.analysis.finding import Finding
from refplay.analysis.noise import SMALLEST, finite, noise, smooth, steady_noise, threshold
from refplay.analysis.wording import count, listed, show, study_quantity
from refplay.study.record import Study, TrialRecord

SECTION = "Examining the training curves"
FAILURE_SECTION = "How can optimization failures be debugged and mitigated?"
LEVEL = 0.05
MATTERS = 0.02  # a smaller relative change of the error is not worth another study
HIDDEN = 0.5  # of the minimum: a rise so large is told although noise could explain it
REGULARIZERS = ("dropout", "label_smoothing", "weight_decay")


class Rise(NamedTuple):
    """A validation curve that ended above its minimum."""

    trial: TrialRecord
    step: int  # where the smoothed curve was lowest
    lowest: float  # its value there
    final: float  # its value at the end
    beyond: float  # the rise that noise alone could have made
    training: tuple[float, float] | None  # lowest and last level of the training loss, if that got worse too


def rises(trial: TrialRecord, metric: str, level: float = LEVEL) -> Rise | None:
    """Return the evidence if the curve of `metric` ends above its minimum (rule: see the module), else None.

    Parameters
    ----------
    trial : TrialRecord
    metric : str
        The validation curve; 8 or more finite evaluations are needed to judge it.
    level : float
        Probability of calling a curve of pure independent noise around a flat end a rise.
    """
    found = _above_minimum(trial, metric, level)
    if found is None or found.final - found.lowest <= max(found.beyond, MATTERS * abs(found.lowest)):
        return None
    return found._replace(training=_worsened(trial))


def _above_minimum(trial: TrialRecord, metric: str, level: float) -> Rise | None:
    """Return how far the curve ends above its minimum, whether beyond noise or not; None for a short curve."""
    curve = finite(trial.curves.get(metric))
    if len(curve.values) < SMALLEST:
        return None
    window = max(2, len(curve.values) // 5)
    means = smooth(curve.values, window)
    before = means[:len(means) - window]  # windows that do not overlap the last one
    i = int(before.argmin())
    noisy = threshold(noise(curve.values), window, level * window / (2 * len(before)))
    return Rise(trial, int(curve.steps[i + window // 2]), float(before[i]), float(means[-1]), noisy, None)


def overfits(trial: TrialRecord, metric: str, level: float = LEVEL) -> Rise | None:
    """Return the evidence if the trial overfits: `metric` rises while the training loss did not get worse."""
    found = rises(trial, metric, level)
    return found if found is not None and found.training is None else None


def _worsened(trial: TrialRecord) -> tuple[float, float] | None:
    """Return the lowest and the last level of the training loss if it got worse (rule: see the module)."""
    values = finite(trial.curves.get("train_loss")).values
    if len(values) < SMALLEST:
        return None
    window = max(3, len(values) // 40)
    levels = np.median(np.lib.stride_tricks.sliding_window_view(values, window), axis=1)
    lowest, last = float(levels.min()), float(levels[-1])
    # The median of a window scatters sqrt(pi / 2) times as far as its mean.
    noisy = math.sqrt(math.pi / 2) * threshold(steady_noise(values), window, LEVEL * window / len(levels))
    worse = last - lowest > max(noisy, MATTERS * (float(values[0]) - lowest))
    return (lowest, last) if worse else None


def overfitting(study: Study, metric: str, scientific: tuple[str, ...] = ()) -> list[Finding]:
    """Return the finding on overfitting (in the best trial, in any other, or in none), and one on broken training.

    Parameters
    ----------
    study : Study
    metric : str
        A validation metric; a training metric (its name begins with "train") cannot overfit and gives no finding.
    scientific : tuple of str
        Scientific hyperparameters inside the space: the best trial of each combination of their values is looked at.
    """
    ranked = study.ranked(metric)
    judged = [t for t in ranked if len(finite(t.curves.get(metric)).values) >= SMALLEST]
    if metric.startswith("train") or not ranked:
        return []
    if not judged:
        return [Finding("overfitting", study.name, "note",
                        f"The curves of {metric} have fewer than {SMALLEST} evaluations: too few to see overfitting.",
                        {"judged": 0, "trials": len(ranked)}, "Evaluate more often.", SECTION)]
    risen = [rise for t in judged if (rise := rises(t, metric, LEVEL / len(judged)))]
    bests = [best[0] for part in study.split(scientific) if (best := part.ranked(metric))]
    numbers = {"judged": len(judged), "best": [t.number for t in bests]}
    broken = [rise for rise in risen if rise.training]
    return [_overfitting(study, metric, [rise for rise in risen if not rise.training], bests, numbers),
            *([_breakdown(study, metric, broken, bests, numbers)] if broken else [])]


def _overfitting(study: Study, metric: str, evidence: list[Rise], bests: list[TrialRecord],
                 numbers: dict[str, Any]) -> Finding:
    judged = count(numbers["judged"], "complete trial")
    numbers = {**numbers, "overfitting": [rise.trial.number for rise in evidence]}
    if not evidence:
        if hidden := _hidden(metric, bests, LEVEL / numbers["judged"]):
            return _unclear(study, metric, hidden, judged, numbers)
        return Finding("overfitting", study.name, "good", f"In none of {judged} does {metric} rise beyond its noise "
                       "after its minimum while the training loss does not.", numbers, "", SECTION)
    shown, in_best = _shown(evidence, bests)
    numbers |= _numbers(shown)
    which = "the best one included" if in_best else "not in the best trial, but in others"
    return Finding("overfitting", study.name, "attention",
                   f"{metric} rises during training in {len(evidence)} of {judged}, {which}: "
                   f"{_written(study, metric, shown)}.", numbers, _remedies(study, in_best), SECTION)


def _hidden(metric: str, bests: list[TrialRecord], level: float) -> Rise | None:
    """Return the largest rise of a best trial that its noise hides: by half of its minimum or more."""
    found = [rise for t in bests if (rise := _above_minimum(t, metric, level))]
    hidden = [rise for rise in found if HIDDEN * abs(rise.lowest) < rise.final - rise.lowest <= rise.beyond]
    return max(hidden, key=lambda rise: rise.final - rise.lowest, default=None)


def _unclear(study: Study, metric: str, hidden: Rise, judged: str, numbers: dict[str, Any]) -> Finding:
    return Finding("overfitting", study.name, "note",
                   f"In none of {judged} does {metric} rise beyond its noise from one evaluation to the next, but that "
                   f"noise is large: it hides whether {metric} rises {_written(study, metric, hidden)}.",
                   {**numbers, **_numbers(hidden)},
                   "Make training steadier (a learning rate that decays to the end, or a smaller one) and evaluate on "
                   "more examples or more often, then look again.", SECTION)


def _breakdown(study: Study, metric: str, broken: list[Rise], bests: list[TrialRecord],
               numbers: dict[str, Any]) -> Finding:
    shown, in_best = _shown(broken, bests)
    lowest, last = shown.training or (math.nan, math.nan)
    others = [rise.trial.number for rise in broken if rise is not shown]
    too = f" So do trials {listed([str(number) for number in others])}." if others else ""
    return Finding("training-loss", study.name, "attention" if in_best else "note",
                   f"In {len(broken)} of {count(numbers['judged'], 'complete trial')} {metric} and the training loss "
                   f"got worse together: {_written(study, metric, shown)}, its training loss from "
                   f"{show(lowest)} to {show(last)}. That is failing optimization, not overfitting.{too}",
                   {**numbers, **_numbers(shown), "worse": [rise.trial.number for rise in broken],
                    "lowest_training_loss": lowest, "last_training_loss": last},
                   "Do not add regularization for it. Look at the gradient norms of such a trial: a smaller learning "
                   "rate, warmup or gradient clipping may keep it from breaking down.", FAILURE_SECTION)


def _shown(evidence: list[Rise], bests: list[TrialRecord]) -> tuple[Rise, bool]:
    # The trial to tell of, and whether it is a best one.
    in_best = [rise for rise in evidence if any(rise.trial is t for t in bests)]
    return (in_best or evidence)[0], bool(in_best)


def _numbers(rise: Rise) -> dict[str, Any]:
    return {"trial": rise.trial.number, "step": rise.step, "lowest": rise.lowest, "final": rise.final}


def _written(study: Study, metric: str, rise: Rise) -> str:
    written = study_quantity(metric, study)
    return (f"in trial {rise.trial.number} from {written.write(rise.lowest)} around step {rise.step} to "
            f"{written.write(rise.final)} at the end (noise would explain {written.gap(rise.beyond)})")


def _remedies(study: Study, in_best: bool) -> str:
    varied = [d.name for d in study.space.dimensions if d.name.rsplit(".", 1)[-1] in REGULARIZERS]
    tune = (f"tune {listed(varied)} further towards more regularization" if varied else
            "add dropout, label smoothing or weight decay, and tune its strength")
    if in_best:
        return (f"Repeat the study with more regularization before comparing anything with it: {tune}. This does not "
                "apply where the strength of a regularizer is itself what the round asks about.")
    return (f"Consider to {tune}: choosing the best trial favours trials that are regularized by accident, such as "
            "those with a small learning rate, so the configurations that were passed over may be the better ones "
            "once regularized.")


def rising_loss(study: Study) -> list[Finding]:
    """Return a finding if the training loss of complete trials ends above its beginning, beyond noise.

    A loss is compared over the first and the last eighth of training at level 0.05 / trials. In most trials of a study
    this points to a bug in the pipeline; in a few, to learning rates at the limit of stability.
    """
    complete = [t for t in study.trials if t.feasible]
    curves = {t.number: c.values for t in complete if len((c := finite(t.curves.get("train_loss"))).values) >= SMALLEST}
    risen = [number for number, values in curves.items() if _rose(values, LEVEL / len(curves))]
    if not risen:
        return []
    numbers = {"risen": risen, "judged": len(curves)}
    seen = (f"The training loss ends above its beginning in {count(len(risen), 'complete trial')} of {len(curves)} "
            f"({listed([str(number) for number in risen])}).")
    if 2 * len(risen) > len(curves):
        return [Finding("training-loss", study.name, "attention", seen, numbers,
                        "A training loss that rises in most trials usually comes from a bug in the training pipeline "
                        "(sign of the update, labels and inputs shuffled apart): find it first.", SECTION)]
    return [Finding("training-loss", study.name, "note", seen, numbers,
                    "Look at the curves of these trials: they may train at the limit of stability.", SECTION)]


def _rose(values: np.ndarray, level: float) -> bool:
    window = max(2, len(values) // 8)
    start, end = values[:window].mean(), values[-window:].mean()
    return bool(end - start > max(threshold(noise(values), window, level), MATTERS * abs(start)))

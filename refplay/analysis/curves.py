"""What do the training curves show? Overfitting, and training losses that rise.

Asked by the playbook's section "Examining the training curves": does the validation error of any trial begin to rise,
above all in the best trial of each scientific value? Selecting the best trial hides overfitting and favours whatever
regularizes by accident, such as a learning rate that is too small, so trials other than the best are looked at too.

The rule: the moving average over w evaluations (a fifth of the curve, at least 2) ends above its minimum by more than
noise and by at least 2% of the minimum, while the training loss, where it was reported, did not rise: if it did,
training has become unstable, which is another trouble than overfitting. "More than noise" is Student's t threshold for
the difference of the means of two windows, at level 0.05 divided by the number of trials looked at and by twice the
number of disjoint windows that the minimum was chosen from (twice, because it was chosen from overlapping ones). The
noise is estimated from the curve (`refplay.analysis.noise`) as independent from one evaluation to the next; where
evaluations are so frequent that it is not, a slow wander of the curve is called a rise more often.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from refplay.analysis.finding import Finding
from refplay.analysis.noise import SMALLEST, finite, noise, smooth, threshold
from refplay.analysis.wording import count, listed, study_quantity
from refplay.study.record import Curve, Study, TrialRecord

SECTION = "Examining the training curves"
LEVEL = 0.05
MATTERS = 0.02  # a smaller relative change of the error is not worth another study
REGULARIZERS = ("dropout", "label_smoothing", "weight_decay")


class Overfitting(NamedTuple):
    """A validation curve that ended above its minimum."""

    trial: TrialRecord
    step: int  # where the smoothed curve was lowest
    lowest: float  # its value there
    final: float  # its value at the end
    beyond: float  # the rise that noise alone could have made


def overfits(trial: TrialRecord, metric: str, level: float = LEVEL) -> Overfitting | None:
    """Return the evidence if the trial overfits (rule: see the module), else None.

    Parameters
    ----------
    trial : TrialRecord
    metric : str
        The validation curve; 8 or more finite evaluations are needed to judge it.
    level : float
        Probability of calling a curve of pure independent noise around a flat end overfitting.
    """
    curve = finite(trial.curves.get(metric))
    if len(curve.values) < SMALLEST:
        return None
    window = max(2, len(curve.values) // 5)
    means = smooth(curve.values, window)
    before = means[:len(means) - window]  # windows that do not overlap the last one
    i = int(before.argmin())
    rise, noisy = means[-1] - before[i], threshold(noise(curve.values), window, level * window / (2 * len(before)))
    if rise <= max(noisy, MATTERS * abs(before[i])) or _training_rose(trial, curve, i, window):
        return None
    return Overfitting(trial, int(curve.steps[i + window // 2]), float(before[i]), float(means[-1]), noisy)


def _training_rose(trial: TrialRecord, curve: Curve, i: int, window: int) -> bool:
    loss = finite(trial.curves.get("train_loss"))
    then = loss.values[(loss.steps >= curve.steps[i]) & (loss.steps <= curve.steps[i + window - 1])]
    end = loss.values[(loss.steps >= curve.steps[-window]) & (loss.steps <= curve.steps[-1])]
    if len(loss.values) < SMALLEST or not len(then) or not len(end):
        return False
    return bool(end.mean() - then.mean() > threshold(noise(loss.values), min(len(then), len(end)), LEVEL))


def overfitting(study: Study, metric: str, scientific: tuple[str, ...] = ()) -> list[Finding]:
    """Return the finding on overfitting: in the best trial, in any other, or in none.

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
    evidence = [o for t in judged if (o := overfits(t, metric, LEVEL / len(judged)))]
    bests = best_of_each(ranked, scientific)
    numbers = {"judged": len(judged), "overfitting": [o.trial.number for o in evidence],
               "best": [t.number for t in bests]}
    if not evidence:
        return [Finding("overfitting", study.name, "good",
                        f"In none of {count(len(judged), 'complete trial')} does {metric} rise beyond its noise after "
                        "its minimum.", numbers, "", SECTION)]
    in_best = [o for o in evidence if any(o.trial is t for t in bests)]
    shown = in_best[0] if in_best else evidence[0]
    numbers |= {"trial": shown.trial.number, "step": shown.step, "lowest": shown.lowest, "final": shown.final}
    which = "the best trial" if in_best else "not in the best trial, but in others"
    written = study_quantity(metric, study)
    seen = (f"{metric} rises during training in {len(evidence)} of {count(len(judged), 'complete trial')}, {which}: in "
            f"trial {shown.trial.number} from {written.write(shown.lowest)} around step {shown.step} to "
            f"{written.write(shown.final)} at the end (noise would explain {written.gap(shown.beyond)}).")
    return [Finding("overfitting", study.name, "attention", seen.replace(", the best trial", ", the best one included"),
                    numbers, _remedies(study, bool(in_best)), SECTION)]


def best_of_each(ranked: list[TrialRecord], names: tuple[str, ...]) -> list[TrialRecord]:
    """Return, from trials best first, the best one of each combination of values of `names`; without names the best."""
    first: dict[str, TrialRecord] = {}
    for trial in ranked:
        first.setdefault(repr([trial.params.get(name) for name in names]), trial)
    return list(first.values())


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

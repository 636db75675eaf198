"""Training curves of all trials, the best few easy to find.

Source: playbook, "Examining the training curves" and "Automate generically useful plots".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from refplay.analysis.wording import quantity
from refplay.plot.style import (
    BEST_COLOURS,
    GREY,
    RED,
    TOP,
    label_axes,
    legend,
    new_figure,
    say_empty,
    scale_objective,
    trial_name,
    whole_steps,
)
from refplay.plot.words import count
from refplay.study.record import Curve, State, Study, TrialRecord

BUCKETS = 500  # of a drawn curve: one for each pixel or two of the picture
DENSE = 150  # points from which a curve is noise to the eye, and its running median is drawn on top of it
SPIKE = 10.0  # times the typical maximum of a trial: values above it do not stretch the axis
MANY = 100_000  # buckets of all thin curves together, so that a study of a thousand trials draws in seconds


def training_curves(study: Study, metric: str = "valid_error", beside: Sequence[Study] = ()) -> Figure:
    """Plot `metric` and its counterpart on the training set against the step, for every trial of `study`.

    The best three trials are coloured and named with their hyperparameters; the others are thin and grey, infeasible
    ones thin and red. Axes fit the complete trials (a diverging one leaves the picture, as does a spike) and are
    logarithmic where the values spread over more than a factor of ten. Over a curve of many points a thick line shows
    its running median. The y axes also fit the studies `beside` this one, whose plots are read side by side with it.
    """
    panels = _panels(study, metric)
    best = study.ranked(metric)[:TOP]
    words = " and ".join(quantity(name).words for name in panels)
    figure, axes = new_figure(f"Training curves: {words}", f"{study.name} · {count(len(study.trials), 'trial')}",
                              _alt(study, metric, best, panels), height=2.0 + 1.75 * len(panels), rows=len(panels))
    shared = [(other, other.ranked(metric)[:TOP]) for other in beside if other is not study] + [(study, best)]
    for ax, name in zip(axes, panels, strict=True):
        _draw_panel(ax, study, name, best, shared)
    lengths = [int(steps[-1]) for t in study.trials for name in panels if len(steps := _curve(t, name).steps)]
    whole_steps(axes[-1], max(lengths, default=1))
    axes[-1].set_xlabel("step", fontsize=10)
    legend(figure, _handles(study, best))
    return figure


def decimate(curve: Curve, buckets: int = BUCKETS) -> Curve:
    """Return a curve of at most `2 * buckets` points with the same minimum and maximum in every bucket of points.

    Both stay at their own steps and in their order, so every spike and every dip is still drawn. Buckets without a
    finite value are dropped; short curves come back as they are.

    Parameters
    ----------
    curve : Curve
        steps int64[n], values float64[n].
    buckets : int

    >>> decimate(Curve(np.arange(8), np.array([0, 9, 1, 1, 1, 1, -5, 1.0])), 2)
    Curve(steps=array([0, 1, 4, 6]), values=array([ 0.,  9.,  1., -5.]))
    """
    n = len(curve.values)
    if n <= 2 * buckets:
        return curve
    size = -(-n // buckets)
    padded = np.full(-(-n // size) * size, np.nan)
    padded[:n] = curve.values
    rows = padded.reshape(-1, size)
    finite = np.isfinite(rows)
    firsts = size * np.flatnonzero(finite.any(axis=1))
    lowest = np.where(finite, rows, np.inf).argmin(axis=1)[firsts // size]
    highest = np.where(finite, rows, -np.inf).argmax(axis=1)[firsts // size]
    kept = np.unique(np.concatenate([firsts + lowest, firsts + highest]))
    return Curve(curve.steps[kept], curve.values[kept])


def running_median(curve: Curve, stretches: int = 40) -> Curve:
    """Return the medians of the finite values over `stretches` equal parts of the curve, each at its middle step.

    >>> running_median(Curve(np.arange(6), np.array([1, 9, 2, 4, np.nan, 6])), 2)
    Curve(steps=array([1, 4]), values=array([2., 5.]))
    """
    parts = np.array_split(np.arange(len(curve.values)), min(stretches, max(1, len(curve.values))))
    finite = [part[np.isfinite(curve.values[part])] for part in parts]
    rows = [(curve.steps[part[len(part) // 2]], float(np.median(curve.values[inside])))
            for part, inside in zip(parts, finite, strict=True) if inside.size]
    return Curve(np.array([step for step, _ in rows], dtype=np.int64), np.array([value for _, value in rows]))


def _panels(study: Study, metric: str) -> list[str]:
    # The metric itself and, to see overfitting, the same on the training set, or else the training loss.
    reported = {name for trial in study.trials for name in trial.curves}
    counterparts = (metric.replace("valid_", "train_", 1), "train_loss")
    return [metric, *[name for name in counterparts if name in reported and name != metric][:1]]


def _curve(trial: TrialRecord, name: str) -> Curve:
    return trial.curves.get(name) or Curve(np.empty(0, np.int64), np.empty(0))


def _draw_panel(ax: Axes, study: Study, name: str, best: Sequence[TrialRecord],
                shared: Sequence[tuple[Study, Sequence[TrialRecord]]]) -> None:
    # `shared`: the studies that the axis must fit, each with its best trials.
    complete = _complete(study, name)
    lowest = [trial.best(name) for other, _ in shared for trial in _complete(other, name)]
    shown = quantity(name, [least.value for least in lowest if least])
    numbers = {trial.number for trial in best}
    buckets = min(BUCKETS, max(50, MANY // max(1, len(study.trials))))
    others = [_points(trial, name, shown.factor, buckets) for trial in complete if trial.number not in numbers]
    broken = [_points(trial, name, shown.factor, buckets) for trial in study.trials if trial.state is State.INFEASIBLE]
    winners = [_points(trial, name, shown.factor, BUCKETS) for trial in best]
    for lines, colour, key in ((others, GREY, "others"), (broken, RED, "infeasible")):
        ax.add_collection(LineCollection(lines, colors=colour, linewidths=0.7, alpha=0.45, gid=key), autolim=False)
    for trial, points, colour in reversed(list(zip(best, winners, BEST_COLOURS, strict=False))):
        _draw_best(ax, points, _curve(trial, name), shown.factor, colour)
    scale_objective(ax, shown.factor * np.concatenate([_to_fit(other, name, top) for other, top in shared]))
    label_axes(ax, None, shown.label)
    if not complete:
        say_empty(ax, f"no complete trial reported {name}")


def _complete(study: Study, name: str) -> list[TrialRecord]:
    return [trial for trial in study.trials if trial.feasible and len(_curve(trial, name).values)]


def _to_fit(study: Study, name: str, best: Sequence[TrialRecord]) -> np.ndarray:
    """Return the values that the axis must show: all of the best trials, those of the others but for spikes."""
    winners = [_curve(trial, name).values for trial in best]
    numbers = {trial.number for trial in best}
    others = [trial.curves[name].values for trial in _complete(study, name) if trial.number not in numbers]
    values = np.concatenate([*others, np.empty(0)])
    finite = [line[np.isfinite(line)] for line in others]
    typical = float(np.median([line.max() for line in finite if line.size] or [0.0]))
    # A trial that exploded and came back would flatten all others.
    return np.concatenate([values[values <= SPIKE * typical] if typical > 0 else values, *winners])


def _draw_best(ax: Axes, points: np.ndarray, curve: Curve, factor: float, colour: str) -> None:
    dense = len(curve.values) > DENSE
    ax.plot(points[:, 0], points[:, 1], color=colour, gid="best", marker="o" if len(points) == 1 else "",
            linewidth=0.6 if dense else 1.7, alpha=0.35 if dense else 1.0)
    if dense:
        middle = running_median(curve)
        ax.plot(middle.steps, factor * middle.values, color=colour, linewidth=1.7, gid="median")


def _points(trial: TrialRecord, name: str, factor: float, buckets: int) -> np.ndarray:
    curve = decimate(_curve(trial, name), buckets)
    return np.column_stack([curve.steps.astype(float), factor * curve.values])


def _handles(study: Study, best: Sequence[TrialRecord]) -> list[Line2D]:
    names = [dimension.name for dimension in study.space.dimensions]
    handles = [Line2D([], [], color=colour, linewidth=1.8, label=trial_name(trial, names))
               for colour, trial in zip(BEST_COLOURS, best, strict=False)]
    if sum(trial.feasible for trial in study.trials) > len(best):
        handles.append(Line2D([], [], color=GREY, linewidth=1, label="other trials"))
    if any(trial.state is State.INFEASIBLE for trial in study.trials):
        handles.append(Line2D([], [], color=RED, linewidth=1, alpha=0.6, label="infeasible"))
    return handles


def _alt(study: Study, metric: str, best: Sequence[TrialRecord], panels: Sequence[str]) -> str:
    text = (f"Training curves of study {study.name}: {' and '.join(panels)} against step, "
            f"{count(len(study.trials), 'trial')}.")
    for trial in best[:1]:
        reached = trial.best(metric)
        if reached:
            text += f" The best trial, #{trial.number}, reaches {reached.value:.4g} at step {reached.step}."
    return text

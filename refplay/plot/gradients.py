"""The norm of the whole, unclipped gradient: over training and as a histogram.

Source: playbook, "Gradient clipping" and "Identifying unstable workloads".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from refplay.plot.curves import decimate, running_median
from refplay.plot.style import (
    BEST_COLOURS,
    BLUE,
    INK,
    SMALL,
    TOP,
    label_axes,
    legend,
    new_figure,
    plain_log_ticks,
    say_empty,
    scale_objective,
    trial_name,
    whole_steps,
)
from refplay.plot.words import count, number
from refplay.study.record import Curve, Study, TrialRecord

CURVE = "gradient_norm"
PERCENTILE = 90  # of the unclipped norms: where the playbook starts a clipping threshold
SPREAD = 20.0  # ratio of the largest to the smallest norm from which bins are logarithmic


def gradient_norm_plot(study: Study, metric: str = "valid_error", beside: Sequence[Study] = ()) -> Figure:
    """Plot the L2 norm of the unclipped gradient against the step for the best three trials by `metric`.

    Thin lines are the norms themselves, with every spike; thick lines their medians over stretches of training.
    The y axis also fits the studies `beside` this one, whose plots are read side by side with it.
    """
    best = _best(study, metric)
    figure, (ax,) = new_figure("Gradient norm of the best trials",
                               f"{study.name} · L2 norm before clipping; thick: median",
                               f"Gradient norm against step, {count(len(best), 'best trial')} of study {study.name}.",
                               height=3.6)
    names = [dimension.name for dimension in study.space.dimensions]
    handles: list[Line2D] = []
    for place, trial in reversed(list(enumerate(best))):
        curve, middle = decimate(trial.curves[CURVE]), running_median(trial.curves[CURVE])
        ax.plot(curve.steps, curve.values, color=BEST_COLOURS[place], linewidth=0.6, alpha=0.35, gid="best")
        ax.plot(middle.steps, middle.values, color=BEST_COLOURS[place], linewidth=1.8, gid="median")
        handles.insert(0, Line2D([], [], color=BEST_COLOURS[place], linewidth=1.8, label=trial_name(trial, names)))
    fit = [*best, *(trial for other in beside if other is not study for trial in _best(other, metric))]
    values = np.concatenate([trial.curves[CURVE].values for trial in fit] or [np.empty(0)])
    scale_objective(ax, values, ratio=SPREAD)
    whole_steps(ax, max((int(steps[-1]) for trial in best if len(steps := trial.curves[CURVE].steps)), default=1))
    label_axes(ax, "step", "gradient norm")
    if handles:
        legend(figure, handles)
    else:
        say_empty(ax, f"no complete trial reported {CURVE}")
    return figure


def gradient_norm_histogram(study: Study, metric: str = "valid_error") -> Figure:
    """Plot the histogram of the best trial's gradient norms over all steps, with their 90th percentile marked.

    One trial, because norms of other learning rates and widths are no evidence about this one's threshold.
    """
    best = [trial for trial in study.ranked(metric) if len(_norms(trial))]
    norms = _norms(best[0]) if best else np.empty(0)
    of_which = f" · trial #{best[0].number}, {count(norms.size, 'step')}, before clipping" if best else ""
    mark = float(np.percentile(norms, PERCENTILE)) if norms.size else float("nan")
    figure, (ax,) = new_figure("Gradient norms of the best trial", study.name + of_which,
                               f"Histogram of gradient norms of the best trial of study {study.name}; "
                               f"90th percentile {mark:.3g}.")
    label_axes(ax, "gradient norm", "steps")
    if not best:
        say_empty(ax, f"no complete trial reported {CURVE}")
        return figure
    ax.hist(norms, bins=list(_bins(norms)), color=BLUE, alpha=0.8, edgecolor="white", linewidth=0.5)
    if norms.min() > 0 and norms.max() / norms.min() > SPREAD:
        ax.set_xscale("log")
        plain_log_ticks(ax.xaxis, float(norms.min()), float(norms.max()))
    ax.axvline(mark, color=INK, linestyle="--", linewidth=1.4, gid="percentile")
    ax.margins(y=0.18)
    right = norms.size > 1 and mark > np.median(ax.get_xlim())
    ax.annotate(f"90th percentile: {number(mark)} ", (mark, 0.98), xycoords=ax.get_xaxis_transform(), va="top",
                ha="right" if right else "left", fontsize=SMALL, color=INK, xytext=(-3 if right else 3, 0),
                textcoords="offset points")
    return figure


def _best(study: Study, metric: str) -> list[TrialRecord]:
    return [trial for trial in study.ranked(metric) if CURVE in trial.curves][:TOP]


def _norms(trial: TrialRecord) -> np.ndarray:
    curve = trial.curves.get(CURVE) or Curve(np.empty(0, np.int64), np.empty(0))
    return np.asarray(curve.values[np.isfinite(curve.values)])


def _bins(norms: np.ndarray) -> np.ndarray:
    low, high = float(norms.min()), float(norms.max())
    if low > 0 and high / low > SPREAD:
        return np.geomspace(low, high, 41)
    if low == high:
        return np.array([low - 0.5, low + 0.5])
    return np.linspace(low, high, 41)

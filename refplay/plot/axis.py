"""Basic hyperparameter axis plots: every trial's objective against the value of one hyperparameter.

Source: playbook, "Identifying bad search space boundaries" (Figure 1) and "Automate generically useful plots".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from refplay.analysis.axes import active
from refplay.analysis.wording import Quantity, study_quantity
from refplay.errors import InputError
from refplay.plot.scales import places, set_axis
from refplay.plot.style import BLUE, GREEN, RED, TOP, label_axes, legend, new_figure, say_empty, scale_objective
from refplay.plot.words import count, leaf
from refplay.search.space import Dimension
from refplay.study.record import State, Study, TrialRecord

ROW = 0.95  # height of the row of infeasible trials, in parts of the axes
LABELS = 0.87  # half a line of text below the label of that row: ticks above it carry no label
CEILING = 0.90  # feasible trials stay below this part of the axes when there are infeasible ones


def axis_plots(study: Study, metric: str = "valid_error") -> dict[str, Figure]:
    """Return an axis plot for every hyperparameter that varies in `study`, by qualified name."""
    return {dimension.name: axis_plot(study, dimension.name, metric) for dimension in study.space.dimensions}


def axis_plot(study: Study, dimension: str | Dimension, metric: str = "valid_error",
              beside: Sequence[Study] = ()) -> Figure:
    """Plot the best value of `metric` over training against one hyperparameter, one mark a trial.

    Complete trials are blue dots, the best three green stars; infeasible ones are red X in a row at the top, since they
    have no value; dashed lines are the limits of the search, with grey beyond them. A conditional hyperparameter shows
    only the trials in which it was active.

    Parameters
    ----------
    study : Study
    dimension : str or Dimension
        A hyperparameter that varies in the study, by its qualified name.
    metric : str
        The curve whose lowest value is the objective.
    beside : sequence of Study
        Studies whose plots are read side by side with this one: the y axis fits all of their trials too.

    Raises
    ------
    InputError
        The study does not vary that hyperparameter.
    """
    dimension = find_dimension(study, dimension)
    trials = active(study.trials, dimension)
    scored = [(trial, best.value) for trial in trials if trial.feasible and (best := trial.best(metric))]
    infeasible = [trial for trial in trials if trial.state is State.INFEASIBLE]
    shown = study_quantity(metric, study, *beside)
    figure, (ax,) = new_figure(f"Best {shown.words} against {leaf(dimension.name)}",
                               _subtitle(study, dimension, len(scored), len(infeasible)),
                               _alt(study, dimension, scored, len(infeasible), shown))
    where = places(dimension, [*(trial for trial, _ in scored), *infeasible], jittered=True)
    set_axis(ax, dimension, where)
    label_axes(ax, None, shown.label)
    values = shown.factor * np.array([value for _, value in scored])
    others = shown.factor * np.array([best.value for s in beside for t in s.ranked(metric) if (best := t.best(metric))])
    handles = _draw_scored(ax, where[:len(scored)], values, _top(study, metric, scored))
    scale_objective(ax, np.concatenate([values, others]))
    if infeasible or any(t.state is State.INFEASIBLE for s in beside for t in s.trials):
        cross = draw_infeasible(ax, where[len(scored):])
        handles += [cross] if infeasible else []
    if not handles:
        say_empty(ax, "no finished trial with this hyperparameter")
    else:
        legend(figure, handles, columns=3)
    return figure


def find_dimension(study: Study, dimension: str | Dimension) -> Dimension:
    """Return the dimension of `study` with this qualified name; InputError names those that there are."""
    name = dimension if isinstance(dimension, str) else dimension.name
    for candidate in study.space.dimensions:
        if candidate.name == name:
            return candidate
    known = ", ".join(d.name for d in study.space.dimensions) or "none"
    raise InputError(f"study {study.name!r} does not vary {name!r}; it varies: {known}")


def _top(study: Study, metric: str, scored: list[tuple[TrialRecord, float]]) -> np.ndarray:
    # The best of the whole study, not of the trials on this plot: a conditional hyperparameter may have none of them.
    best = {trial.number for trial in study.ranked(metric)[:TOP]}
    return np.array([trial.number in best for trial, _ in scored], dtype=bool)


def _draw_scored(ax: Axes, x: np.ndarray, y: np.ndarray, top: np.ndarray) -> list[Any]:
    ax.scatter(x[~top], y[~top], s=30, color=BLUE, alpha=0.75, linewidths=0, marker="o", zorder=3, gid="complete")
    ax.scatter(x[top], y[top], s=130, color=GREEN, edgecolors="white", linewidths=0.7, marker="*", zorder=5, gid="top")
    handles: list[Any] = []
    if (~top).any():
        handles.append(Line2D([], [], color=BLUE, marker="o", linestyle="", markersize=5.5, label="complete"))
    if top.any():
        handles.append(Line2D([], [], color=GREEN, marker="*", linestyle="", markersize=10,
                              label=f"best {TOP} of the study"))
    return handles


def draw_infeasible(ax: Axes, x: np.ndarray) -> Line2D:
    """Draw red X at `x` in a row of their own above all values; return the legend's handle."""
    low, high = ax.get_ylim()
    forward = ax.yaxis.get_transform()
    a, b = forward.transform(np.array([low, high]))
    top = float(forward.inverted().transform(np.array([a + (b - a) / CEILING]))[0])
    ax.set_ylim(low, top)
    ax.add_patch(Rectangle((0, CEILING), 1, 1 - CEILING, transform=ax.transAxes, color=RED, alpha=0.07, linewidth=0))
    ax.scatter(x, np.full(len(x), ROW), s=34, color=RED, marker="x", linewidths=1.6, zorder=4, clip_on=False,
               transform=ax.get_xaxis_transform(), gid="infeasible")
    _keep_ticks_below(ax, low, top)
    ax.text(-0.012, ROW, "infeasible", transform=ax.transAxes, ha="right", va="center", fontsize=8, color=RED)
    return Line2D([], [], color=RED, marker="x", linestyle="", markersize=6, markeredgewidth=1.6, label="infeasible")


def _keep_ticks_below(ax: Axes, low: float, top: float) -> None:
    """Leave out the ticks whose labels would meet the label of the row of infeasible trials."""
    forward = ax.yaxis.get_transform()
    ticks = np.array([tick for tick in ax.get_yticks() if low <= tick <= top], dtype=float)
    bottom, ceiling = forward.transform(np.array([low, top]))
    height = (forward.transform(ticks) - bottom) / (ceiling - bottom) if ticks.size else ticks
    ax.set_yticks(ticks[height <= LABELS])


def _subtitle(study: Study, dimension: Dimension, complete: int, infeasible: int) -> str:
    parts = [study.name, f"{complete} complete, {infeasible} infeasible"]
    concerned = sum(dimension.name in trial.params for trial in study.trials)
    if rest := concerned - complete - infeasible:
        parts.append(f"{rest} not shown (failed, unfinished or without this value)")
    if dimension.condition:
        parts.append("only under " + ", ".join(f"{leaf(name)}={value}" for name, value in dimension.condition))
    return " · ".join(parts)


def _alt(study: Study, dimension: Dimension, scored: list[tuple[TrialRecord, float]], infeasible: int,
         shown: Quantity) -> str:
    text = (f"Axis plot of study {study.name}: best {shown.label} of {count(len(scored), 'trial')} against "
            f"{dimension.name}; {infeasible} infeasible.")
    if scored:
        trial, value = min(scored, key=lambda pair: pair[1])
        text += f" Lowest {shown.factor * value:.4g}{shown.unit} at {trial.params[dimension.name]}."
    return text

"""Isolation plots: the best trial at each value of one hyperparameter, everything else optimized away.

Source: playbook, "Detecting whether a change is useful with isolation plots" (Figure 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from refplay.analysis.axes import active, ordered
from refplay.analysis.isolation import Isolated, isolate
from refplay.analysis.wording import quantity
from refplay.plot.axis import draw_infeasible
from refplay.plot.scales import places, position, set_axis
from refplay.plot.style import BLUE, GREEN, GREY, ORANGE, label_axes, legend, new_figure, say_empty, scale_objective
from refplay.plot.words import leaf, number
from refplay.search.space import Choice, Dimension
from refplay.study.record import Round, Study, TrialRecord


def isolation_plot(source: Round | Study, hyperparameter: str, metric: str | None = None) -> Figure:
    """Plot the best `metric` at each value of a hyperparameter after optimizing away all others.

    The best trial of each value (of each bucket, where the hyperparameter is continuous) is a large blue dot, the best
    of all a green star; all other complete trials are small and grey, reruns of the best are orange diamonds. A value
    at which every trial was infeasible is a red X at the top.

    Parameters
    ----------
    source : Round or Study
        Of a round all studies are pooled: the form that compares one study per scientific value.
    hyperparameter : str
        The qualified name.
    metric : str, optional
        By default the metric of the round's plan, or "valid_error" for a study alone.
    """
    studies = source.studies if isinstance(source, Round) else (source,)
    metric = metric or (source.plan.metric if isinstance(source, Round) else "valid_error")
    points = isolate(source, hyperparameter, metric=metric)
    shown = quantity(metric, [point.best for point in points])
    name = source.plan.name if isinstance(source, Round) else source.name
    figure, (ax,) = new_figure(f"Best {shown.words} for each {leaf(hyperparameter)}",
                               f"{name} · isolation plot: all other hyperparameters optimized away",
                               _alt(name, hyperparameter, points, shown.factor, shown.unit), height=3.6)
    label_axes(ax, leaf(hyperparameter), shown.label)
    if not points:
        say_empty(ax, f"no finished trial with {hyperparameter}")
        return figure
    dimension = _dimension(studies, hyperparameter, points)
    set_axis(ax, dimension, places(dimension, [point.trial for point in points if point.trial]))
    handles = _draw(ax, dimension, studies, points, metric, shown.factor)
    legend(figure, handles, columns=2)
    return figure


def _dimension(studies: Sequence[Study], hyperparameter: str, points: Sequence[Isolated]) -> Dimension:
    # A scientific value that each study holds fixed has no domain of its own: its values are categories.
    for study in studies:
        for dimension in study.space.dimensions:
            if dimension.name == hyperparameter:
                return dimension
    values = [point.value for point in points]
    if all(isinstance(value, Real) and not isinstance(value, bool) for value in values):
        values.sort()
    return Dimension(hyperparameter, Choice(values), ())


def _draw(ax: Axes, dimension: Dimension, studies: Sequence[Study], points: Sequence[Isolated], metric: str,
          factor: float) -> list[Line2D]:
    best = [point for point in points if point.trial is not None]
    winner = min(best, key=lambda point: point.best, default=None)
    x = places(dimension, [point.trial for point in best if point.trial])
    y = factor * np.array([point.best for point in best])
    chosen = {(point.trial.study, point.trial.number) for point in best if point.trial}
    others = _scored([t for s in studies for t in s.trials if (s.name, t.number) not in chosen], dimension, metric)
    reruns = _scored([t for s in studies for t in s.reruns], dimension, metric)
    scale_objective(ax, np.concatenate([y, factor * np.array([v for _, v in (*others, *reruns)])]))
    if ordered(dimension):
        ax.plot(x, y, color=BLUE, linewidth=1.2, alpha=0.6, zorder=3, gid="line")
    handles = [_marks(ax, x, y, BLUE, "o", 60, "best", "best trial of the " + _slice_name(dimension))] if best else []
    if winner is not None and winner.trial is not None:
        star = places(dimension, [winner.trial])
        handles.append(_marks(ax, star, factor * np.array([winner.best]), GREEN, "*", 190, "winner", "best of all"))
    for rows, colour, marker, key, label in ((others, GREY, ".", "others", "other trials"),
                                             (reruns, ORANGE, "D", "reruns", "reruns of the best")):
        if rows:
            where = np.array([position(dimension.domain, t.params[dimension.name], i) for i, (t, _) in enumerate(rows)])
            values = factor * np.array([value for _, value in rows])
            handles.append(_marks(ax, where, values, colour, marker, 40 if marker == "." else 22, key, label))
    barren = np.array([position(dimension.domain, point.value) for point in points if point.trial is None])
    if barren.size:
        handles.append(draw_infeasible(ax, barren))
    return handles


def _scored(trials: Sequence[TrialRecord], dimension: Dimension, metric: str) -> list[tuple[TrialRecord, float]]:
    complete = [trial for trial in active(trials, dimension) if trial.feasible]
    return [(trial, best.value) for trial in complete if (best := trial.best(metric))]


def _marks(ax: Axes, x: np.ndarray, y: np.ndarray, colour: str, marker: str, size: float, key: str,
           label: str) -> Line2D:
    front = {"others": 2, "reruns": 4, "best": 5, "winner": 6}[key]
    ax.scatter(x, y, s=size, color=colour, marker=marker, linewidths=0.7, zorder=front, gid=key,
               edgecolors="white" if key in ("best", "winner") else "none", alpha=1.0 if front > 4 else 0.7)
    return Line2D([], [], color=colour, marker=marker, linestyle="", markersize=max(5.0, size**0.5 * 0.8), label=label)


def _slice_name(dimension: Dimension) -> str:
    return "value" if isinstance(dimension.domain, Choice) else "slice"


def _alt(name: str, hyperparameter: str, points: Sequence[Isolated], factor: float, unit: str) -> str:
    values = [f"{factor * point.best:.4g}{unit}" if point.trial else "infeasible" for point in points]
    rows = "; ".join(f"{number(point.value)}: {value}" for point, value in zip(points, values, strict=True))
    return f"Isolation plot of {name}: best value for each {hyperparameter}. {rows}."

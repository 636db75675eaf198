"""Were there enough trials, and was training long enough: the bootstrap box plot and the best-step histogram.

Source: playbook, "How many trials are needed to get good results with quasi-random search?" (Figure 3) and "Deciding
how long to train when training is not compute-bound".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from refplay.analysis.axes import finished
from refplay.analysis.sampling import bootstrap_best
from refplay.analysis.steps import best_steps
from refplay.analysis.variance import Spread, trial_variance
from refplay.analysis.wording import Quantity, study_quantity
from refplay.plot.style import BLUE, INK, ORANGE, SMALL, label_axes, legend, new_figure, say_empty, scale_objective
from refplay.plot.words import count
from refplay.study.record import Study

BUDGETS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1000)
BOXES = 10  # at most, so that they stay apart on a phone
BOX = "#BFD9EA"
EARLY, LATE = 0.10, 0.75  # best steps always before the first: trained too long; mostly after the second: too short


def bootstrap_plot(study: Study, metric: str = "valid_error", seed: int = 0, beside: Sequence[Study] = ()) -> Figure:
    """Draw box plots of the best `metric` against the number of trials, beside the trial variance.

    Boxes are the quartiles of resampled studies, whiskers their 5th and 95th percentile. The band is the mean and one
    standard deviation of the reruns of the best trial with other seeds: where the boxes have shrunk to its height, more
    trials buy little. The y axis also fits the studies `beside` this one, whose plots are read side by side with it.
    """
    shown = study_quantity(metric, study, *beside)
    best = _resampled(study, metric, seed, shown)
    reruns = trial_variance(study, metric)
    figure, (ax,) = new_figure(f"Best {shown.words} by number of trials", f"{study.name} · resampled from its trials",
                               _bootstrap_alt(study, best, reruns, shown), height=3.6)
    label_axes(ax, "trials in the study", f"best {shown.label}")
    values = np.concatenate([*best.values(), np.empty(0)])
    if not np.isfinite(values).any():
        say_empty(ax, f"no complete trial reported {metric}")
        return figure
    boxes = [_box(values, str(budget)) for budget, values in best.items()]
    fit = [_extent(boxes, reruns, shown)]
    for other in (s for s in beside if s is not study and s.ranked(metric)):
        simulated = [_box(v, str(budget)) for budget, v in _resampled(other, metric, seed, shown).items()]
        fit.append(_extent(simulated, trial_variance(other, metric), shown))
    scale_objective(ax, np.concatenate(fit))
    _draw_boxes(ax, boxes)
    label = "half of 1000 resampled studies (whiskers: 90%)"
    handles: list[Any] = [Patch(facecolor=BOX, edgecolor=BLUE, label=label)]
    if reruns.n > 1:
        handles.append(_draw_band(ax, reruns, shown))
    legend(figure, handles)
    return figure


def _resampled(study: Study, metric: str, seed: int, shown: Quantity) -> dict[int, np.ndarray]:
    resampled = bootstrap_best(study, metric, box_budgets(len(finished(study))), seed=seed)
    return {budget: shown.factor * values for budget, values in resampled.items()}


def _extent(boxes: list[dict[str, Any]], reruns: Spread, shown: Quantity) -> np.ndarray:
    edges = [box[key] for box in boxes for key in ("whislo", "whishi")]
    return np.concatenate([edges, shown.factor * np.array(reruns.values)])


def box_budgets(trials: int) -> list[int]:
    """Return the study sizes to draw for a study of `trials` trials: at most ten, the last one its own size.

    >>> box_budgets(24), box_budgets(5)
    ([1, 2, 3, 4, 6, 8, 12, 16, 24], [1, 2, 3, 4, 5])
    """
    sizes = [*[size for size in BUDGETS if size < trials], trials] if trials else []
    return sizes if len(sizes) <= BOXES else sizes[-1::-2][::-1]


def best_step_histogram(study: Study, metric: str = "valid_error") -> Figure:
    """Draw the histogram of the steps at which the trials reached their best `metric`, as parts of training.

    Dashed lines mark 10% and 75%: training was far too long if all best steps lie before the first, and perhaps too
    short if they lie after the second.
    """
    fractions = best_steps(study, metric)
    trials = count(fractions.size, "complete trial")
    figure, (ax,) = new_figure(f"When the best {study_quantity(metric, study).words} was reached",
                               f"{study.name} · {trials}",
                               f"Histogram of the best step of {trials} of study {study.name}: "
                               f"{int((fractions <= EARLY).sum())} within the first 10% of training, "
                               f"{int((fractions >= LATE).sum())} in the last 25%.")
    label_axes(ax, "step of the best checkpoint (% of training)", "trials")
    ax.set_xlim(0, 100)
    if not fractions.size:
        say_empty(ax, f"no complete trial reported {metric}")
        return figure
    bins = list(np.linspace(0, 100, 21))
    ax.hist(100 * fractions, bins=bins, color=BLUE, alpha=0.8, edgecolor="white", linewidth=0.5)
    ax.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    ax.margins(y=0.22)
    for mark, text, side, height in ((EARLY, " all before 10%: trained too long", "left", 0.99),
                                     (LATE, "most after 75%: perhaps too short ", "right", 0.91)):
        ax.axvline(100 * mark, color=INK, linestyle="--", linewidth=1.2, gid="mark")
        ax.text(100 * mark, height, text, transform=ax.get_xaxis_transform(), ha=side, va="top", fontsize=SMALL)
    return figure


def _box(values: np.ndarray, label: str) -> dict[str, Any]:
    # No interpolation between order statistics: half way to an infeasible study (inf) would be nan.
    low, q1, median, q3, high = np.percentile(values, (5, 25, 50, 75, 95), method="inverted_cdf")
    return {"label": label, "whislo": low, "q1": q1, "med": median, "q3": q3, "whishi": high, "fliers": []}


def _draw_boxes(ax: Axes, boxes: list[dict[str, Any]]) -> None:
    top = 1e3 * max(ax.get_ylim()[1], 1e-9)  # stands for inf: beyond the axes, where it is cut off
    finite = [{key: min(v, top) if isinstance(v, float) else v for key, v in box.items()} for box in boxes]
    line = {"color": BLUE, "linewidth": 1.1}
    drawn = ax.bxp(finite, showfliers=False, patch_artist=True, widths=0.55, whiskerprops=line, capprops=line, zorder=3,
                   boxprops={"facecolor": BOX, "edgecolor": BLUE}, medianprops={"color": INK, "linewidth": 1.6})
    for box in drawn["boxes"]:
        box.set_gid("box")


def _draw_band(ax: Axes, reruns: Spread, shown: Quantity) -> Patch:
    mean, sd = shown.factor * reruns.mean, shown.factor * reruns.sd
    ax.axhspan(mean - sd, mean + sd, color=ORANGE, alpha=0.30, linewidth=0, zorder=1, gid="band")
    ax.axhline(mean, color=ORANGE, linewidth=1.2, zorder=2, gid="mean")
    text = f"trial variance: {reruns.n} reruns of the best, {mean:.3g} ± {sd:.2g}{shown.unit}"
    return Patch(facecolor=ORANGE, alpha=0.5, label=text)


def _bootstrap_alt(study: Study, best: dict[int, np.ndarray], reruns: Spread, shown: Quantity) -> str:
    text = f"Box plots of the best {shown.label} of study {study.name} if it had had fewer trials."
    for budget, values in list(best.items())[-1:]:
        if np.isfinite(np.median(values)):
            text += f" Median with {count(budget, 'trial')}: {np.median(values):.4g}{shown.unit}."
    if reruns.n > 1:
        text += f" Standard deviation of {reruns.n} reruns: {shown.factor * reruns.sd:.3g}{shown.unit}."
    return text

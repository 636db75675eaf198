"""The x axis of a hyperparameter: the scale of its domain, sensible ticks, and the limits of the search."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from refplay.plot.style import INK, plain, plain_log_ticks
from refplay.plot.words import leaf
from refplay.search.space import Choice, Dimension, Domain, Integer, LogUniform, OneMinusLogUniform
from refplay.study.record import TrialRecord

MARGIN = 0.05  # of the searched range, left free on both sides so that a cluster at an edge can be seen
JITTER = 0.25  # half the width over which the trials of one category are spread


def limits(domain: Domain) -> tuple[float, float]:
    """Return the smallest and largest value that the search can give, on the axis of the plot."""
    if isinstance(domain, Choice):
        return -0.5, len(domain.options) - 0.5
    if isinstance(domain, OneMinusLogUniform):
        return 1.0 - domain.high, 1.0 - domain.low
    return float(domain.low), float(domain.high)


def position(domain: Domain, value: Any, jitter: int | None = None) -> float:
    """Return where a value stands on the axis: at itself, or at the place of its category (nan for an unknown one).

    `jitter`, a trial's number, spreads the trials of one category by the golden-ratio sequence: evenly, and the same in
    every drawing.
    """
    if not isinstance(domain, Choice):
        return float(value)
    categories = {repr(option): float(i) for i, option in enumerate(domain.options)}
    shift = 0.0 if jitter is None else JITTER * (2 * ((jitter + 1) * (math.sqrt(5) - 1) / 2 % 1) - 1)
    return categories.get(repr(value), math.nan) + shift


def places(dimension: Dimension, trials: Sequence[TrialRecord], *, jittered: bool = False) -> np.ndarray:
    """Return where trials stand on the axis of `dimension` (float64[n])."""
    return np.array([position(dimension.domain, trial.params[dimension.name], trial.number if jittered else None)
                     for trial in trials])


def set_axis(ax: Axes, dimension: Dimension, positions: np.ndarray) -> None:
    """Give `ax` the scale, limits, ticks and label of `dimension`; draw the limits of the search.

    Trials outside the searched range (an imported study, a range that changed) widen the axis.
    """
    domain = dimension.domain
    low, high = limits(domain)
    if isinstance(domain, Choice):
        _set_categories(ax, domain)
    elif isinstance(domain, OneMinusLogUniform):
        ax.set_xscale("function", functions=(_from_distance, _to_distance))
    elif isinstance(domain, LogUniform) or (isinstance(domain, Integer) and domain.log):
        ax.set_xscale("log")
    finite = positions[np.isfinite(positions)]
    left, right = _padded(ax, min(low, *finite, low), max(high, *finite, high))
    ax.set_xlim(left, right)
    _set_ticks(ax, domain, low, high, left, right)
    if not isinstance(domain, Choice):
        _draw_limits(ax, low, high, left, right)
    ax.set_xlabel(plain(leaf(dimension.name), 40) + _direction(domain), fontsize=10, color=INK)


def _from_distance(x: np.ndarray) -> np.ndarray:
    # A value at 1 or above has no place on this axis; it must neither warn nor move the others.
    return -np.log10(np.maximum(1.0 - np.asarray(x, dtype=float), 1e-300))


def _to_distance(u: np.ndarray) -> np.ndarray:
    return 1.0 - 10.0 ** -np.asarray(u, dtype=float)


def _padded(ax: Axes, low: float, high: float) -> tuple[float, float]:
    transform = ax.xaxis.get_transform()
    a, b = (float(transform.transform(np.array([v]))[0]) for v in (low, high))
    pad = MARGIN * (b - a)
    back = transform.inverted()
    return float(back.transform(np.array([a - pad]))[0]), float(back.transform(np.array([b + pad]))[0])


def _direction(domain: Domain) -> str:
    if isinstance(domain, OneMinusLogUniform):
        return "  (scale: log of 1 − value, nearer to 1 →)"
    if isinstance(domain, LogUniform) or (isinstance(domain, Integer) and domain.log):
        return "  (log scale)"
    return ""


def _set_categories(ax: Axes, domain: Choice) -> None:
    names = [plain(option, 14 if len(domain.options) > 3 else 22) for option in domain.options]
    crowded = sum(map(len, names)) > 44
    ax.set_xticks(range(len(names)), names, rotation=30 if crowded else 0, ha="right" if crowded else "center")


def _set_ticks(ax: Axes, domain: Domain, low: float, high: float, left: float, right: float) -> None:
    if isinstance(domain, Choice):
        return
    if isinstance(domain, OneMinusLogUniform):
        ax.xaxis.set_major_locator(FixedLocator(one_minus_ticks(domain.low, domain.high)))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.12g}"))
    elif ax.get_xscale() == "log":
        plain_log_ticks(ax.xaxis, left, right)
    else:
        ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=isinstance(domain, Integer)))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:.6g}"))


def one_minus_ticks(low: float, high: float) -> list[float]:
    """Return ticks for values whose distance from one lies in [low, high]: 0, 0.9, 0.99, ..., finer over few decades.

    >>> one_minus_ticks(1e-3, 1e0)
    [0.0, 0.5, 0.9, 0.99, 0.999]
    >>> one_minus_ticks(0.02, 0.3)
    [0.8, 0.9, 0.95, 0.98]
    """
    decades = math.log10(high / low)
    steps = (1, 2, 3, 5, 7) if decades < 0.6 else (1, 2, 5) if decades < 1.3 else (1, 3) if decades < 2 else (1,)
    every = max(1, math.ceil(decades / 6))
    exponents = range(0, math.floor(math.log10(low)) - 1, -1)
    distances = {m * 10.0**e for e in exponents if e % every == 0 for m in steps}
    if high > 0.5 > low and decades >= 2:
        distances.add(0.5)
    inside = sorted((d for d in distances if low * (1 - 1e-9) <= d <= high * (1 + 1e-9)), reverse=True)
    return [round(1.0 - d, 15) for d in inside]


def _draw_limits(ax: Axes, low: float, high: float, left: float, right: float) -> None:
    for edge, outside in ((low, left), (high, right)):
        ax.axvline(edge, color="#555555", linestyle=(0, (4, 3)), linewidth=1.0, zorder=1, gid="limit")
        ax.axvspan(min(edge, outside), max(edge, outside), color="#EEEEEE", linewidth=0, zorder=0)

"""Throughput and time per step against the batch size, with peers, perfect doubling and the end of what pays.

Source: playbook, "Determining the feasible batch sizes and estimating training throughput".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from refplay.analysis.throughput import Measured, Timing, measured, saturation
from refplay.plot.style import (
    BLUE,
    FAINT,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    SMALL,
    label_axes,
    legend,
    new_figure,
    plain,
    say_empty,
)

LOOKS = ((ORANGE, "s"), (GREEN, "^"), (PURPLE, "D"), (SKY, "v"))  # of the peers in order
UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def throughput_plot(found: Measured) -> Figure:
    """Plot examples per second (above) and time per step (below) against the batch size, both axes logarithmic.

    Bands are the middle half of the steps. The dashed line is perfect doubling from the smallest size: there the
    throughput doubles with the batch and a step takes as long as the smallest. The vertical line marks the largest size
    worth considering; a red cross on the axis a size that could not be measured.
    """
    ours = measured(found.ours)
    key = found.key
    figure, axes = new_figure(f"Throughput of {key.get('model', 'the model')}",
                              f"{key.get('optimizer', '')} · {key.get('data', '')} · {key.get('cpu', '')}, "
                              f"{key.get('threads', '?')} threads", _alt(found), height=5.4, rows=2)
    if not ours:
        for ax in axes:
            say_empty(ax, "no batch size could be measured")
        return figure
    lines = {"refplay": (ours, BLUE, "o")}
    for (peer, theirs), (colour, marker) in zip(found.peers.items(), LOOKS, strict=False):
        lines[peer] = (measured(theirs), colour, marker)
    handles: list[Line2D] = []
    for name, (timings, colour, marker) in reversed(lines.items()):  # refplay's on top
        _curve(axes[0], timings, lambda timing, seconds: timing.batch_size / seconds, colour, marker)
        _curve(axes[1], timings, lambda timing, seconds: seconds, colour, marker)
        handles.insert(0, Line2D([], [], color=colour, marker=marker, markersize=5, linewidth=1.8, label=plain(name)))
    handles.append(_perfect(axes, ours))
    handles += _limits(axes, found)
    _dress(axes, found, max(timing.seconds for timings, _, _ in lines.values() for timing in timings))
    narrow = sum(len(str(handle.get_label())) for handle in handles) > 45
    legend(figure, handles, columns=2 if narrow else len(handles))
    return figure


def _curve(ax: Axes, timings: Sequence[Timing], value: Callable[[Timing, float], float], colour: str, marker: str,
           ) -> None:
    sizes = [timing.batch_size for timing in timings]
    ax.plot(sizes, [value(t, t.seconds) for t in timings], color=colour, marker=marker, markersize=4.5, linewidth=1.8,
            gid="measured")
    ax.fill_between(sizes, [value(t, t.lower) for t in timings], [value(t, t.upper) for t in timings], color=colour,
                    alpha=0.18, linewidth=0, gid="spread")


def _perfect(axes: Sequence[Axes], ours: Sequence[Timing]) -> Line2D:
    """Draw what a device with idle units for every example would do, as far as the data go."""
    first, last = ours[0], ours[-1].batch_size
    top = 1.6 * max(timing.throughput for timing in ours)
    end = min(last, top / first.throughput * first.batch_size)
    style: dict[str, Any] = {"color": GREY, "linestyle": (0, (4, 3)), "linewidth": 1.2, "zorder": 1}
    axes[0].plot([first.batch_size, end], [first.throughput, first.throughput * end / first.batch_size], **style)
    axes[1].plot([first.batch_size, last], [first.seconds] * 2, **style)
    return Line2D([], [], label="perfect doubling", **style)


def _limits(axes: Sequence[Axes], found: Measured) -> list[Line2D]:
    """Mark the largest size worth considering, and the sizes that failed."""
    handles, limit = [], saturation(found.ours)
    if limit.reached:
        sizes = [timing.batch_size for timing in found.ours]
        for ax in axes:
            ax.axvline(limit.batch_size, color=INK, linewidth=1.0, linestyle=":", gid="saturation")
            ax.axvspan(limit.batch_size, 2 * sizes[-1], color=FAINT, alpha=0.45, linewidth=0, zorder=0)
        right = limit.batch_size**2 > sizes[0] * sizes[-1]  # of the middle of a logarithmic axis
        axes[0].annotate(f" {limit.batch_size}: largest worth considering ", (limit.batch_size, 0.03),
                         xycoords=axes[0].get_xaxis_transform(), ha="right" if right else "left", va="bottom",
                         fontsize=SMALL, color=INK)
    failed = [timing for timing in found.ours if timing.failed]
    for timing in failed:
        for ax in axes:
            ax.plot([timing.batch_size], [0.03], transform=ax.get_xaxis_transform(), color=RED, marker="x",
                    markersize=7, markeredgewidth=2, linestyle="none", clip_on=False, gid="failed")
    if failed:
        handles.append(Line2D([], [], color=RED, marker="x", linestyle="none", markeredgewidth=2,
                              label=plain(failed[0].failed, 40)))
    return handles


def _dress(axes: Sequence[Axes], found: Measured, slowest: float) -> None:
    sizes = [timing.batch_size for timing in found.ours]
    unit, name = next((each for each in UNITS if slowest >= each[0]), UNITS[-1])
    shown = sizes[:: 1 + (len(sizes) - 1) // 9]
    for ax in axes:
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        ax.set_xlim(sizes[0] / 1.25, sizes[-1] * 1.25)
        ax.xaxis.set_major_locator(FixedLocator(shown))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{round(x)}"))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_locator(_round_numbers(ax))
        ax.yaxis.set_minor_locator(NullLocator())
    axes[0].yaxis.set_major_formatter(FuncFormatter(lambda y, _: _thousands(y)))
    axes[1].yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y / unit:g}"))
    label_axes(axes[0], None, "examples per second")
    label_axes(axes[1], "batch size (examples per step)", f"time per step ({name})")


def _round_numbers(ax: Axes) -> LogLocator:
    low, high = ax.get_ylim()
    return LogLocator(base=10, subs=(1.0, 3.0) if high / low < 3000 else (1.0,), numticks=9)


def _thousands(value: float) -> str:
    """Write 20000 as 20k, 3000000 as 3M.

    >>> [_thousands(v) for v in (300, 20_000, 3e6)]
    ['300', '20k', '3M']
    """
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _alt(found: Measured) -> str:
    ours = measured(found.ours)
    if not ours:
        return "No batch size could be measured."
    best = max(ours, key=lambda timing: timing.throughput)
    return (f"Throughput and time per step of {found.key.get('model', 'the model')} at batch sizes "
            f"{ours[0].batch_size} to {ours[-1].batch_size}; at most {best.throughput:,.0f} examples per second, at "
            f"{best.batch_size}.")

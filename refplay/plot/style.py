"""The look that all plots share: size, colours, fonts, and text that no name can break.

Figures are made with matplotlib's object-oriented interface only. Nothing here reads or writes `pyplot` or `rcParams`,
so plots can be drawn from several threads and never open a window.
"""

from __future__ import annotations

import functools
import io
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from PIL import Image

from refplay.plot.words import leaf, number, printable

if TYPE_CHECKING:
    from refplay.study.record import TrialRecord

# Okabe and Ito (2008), "Color universal design"; the red is Tol's "vibrant" red, equally safe, because readers look for
# a red X. Every class of points also has a marker of its own, so that no plot rests on colour alone.
BLUE, GREEN, ORANGE, PURPLE, SKY, RED = "#0072B2", "#009E73", "#E69F00", "#CC79A7", "#56B4E9", "#CC3311"
GREY, INK, FAINT = "#8C8C8C", "#222222", "#DDDDDD"
BEST_COLOURS = (GREEN, ORANGE, PURPLE)  # of the best, second and third trial, in every plot that names trials

# A phone shows a picture about 360 CSS pixels wide: 4.8 inches there are scaled by 0.78, so 10 points stay legible.
WIDTH, DPI = 4.8, 200
TITLE, BODY, SMALL = 10.5, 10.0, 8.5
TOP = 3  # trials that are marked as the best


@functools.cache
def _known_characters() -> frozenset[int]:
    return frozenset(get_font(findfont("DejaVu Sans")).get_charmap())


def plain(text: object, limit: int = 60) -> str:
    """Make any text safe to draw: no mathtext, no line breaks, no character without a glyph, at most `limit` long.

    >>> plain("cost in $ and $^2"), plain("a" * 70, 8)
    ('cost in \\\\$ and \\\\$^2', 'aaaaaaa…')
    """
    line = " ".join(printable(text).split())
    line = line if len(line) <= limit else line[:limit - 1].rstrip() + "…"
    drawable = "".join(c if ord(c) in _known_characters() else "\N{WHITE SQUARE}" for c in line)
    return drawable.replace("$", r"\$")


def new_figure(title: str, subtitle: str, alt: str, *, height: float = 3.4, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """Return a figure with `rows` axes below each other (one x axis for all) under a title that says what is shown.

    `alt` describes the figure to those who cannot see it; it becomes the figure's label (`Figure.get_label`).
    """
    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout=ConstrainedLayoutEngine(w_pad=0.08), facecolor="white")
    FigureCanvasAgg(figure)
    figure.set_label(alt)
    figure.suptitle("\n".join(textwrap.wrap(plain(title, 150), 56)), x=0.02, ha="left", fontsize=TITLE, weight="bold",
                    color=INK)
    axes = list(np.atleast_1d(figure.subplots(rows, 1, sharex=True)))
    axes[0].set_title("\n".join(textwrap.wrap(plain(subtitle, 140), 64)), loc="left", fontsize=SMALL, color="#555555")
    for ax in axes:
        ax.tick_params(labelsize=9, colors=INK)
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(True, axis="y", color=FAINT, linewidth=0.6)
        ax.set_axisbelow(True)
    return figure, axes


def label_axes(ax: Axes, x: str | None, y: str) -> None:
    """Write the axis labels; x=None where the axis below carries it."""
    if x is not None:
        ax.set_xlabel(plain(x, 60), fontsize=BODY, color=INK)
    ax.set_ylabel(plain(y, 40), fontsize=BODY, color=INK)


def legend(figure: Figure, handles: Sequence[Any], columns: int = 1) -> None:
    """Put the legend below the axes, where it can cover no data."""
    figure.legend(handles=list(handles), loc="outside lower left", ncols=columns, fontsize=SMALL, frameon=False,
                  handlelength=1.6, handletextpad=0.5, columnspacing=1.2, borderaxespad=0.2)


def scale_objective(ax: Axes, values: Sequence[float] | np.ndarray, ratio: float = 10.0) -> None:
    """Make the y axis logarithmic where the positive `values` spread over more than `ratio`, and set its limits."""
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    if finite.size == 0:
        ax.set_yticks([])
        return
    low, high = float(finite.min()), float(finite.max())
    if low > 0 and high / low > ratio:
        margin = (high / low) ** 0.06
        ax.set_yscale("log")
        ax.set_ylim(low / margin, high * margin)
        plain_log_ticks(ax.yaxis, low / margin, high * margin)
        return
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    ax.set_ylim(low - margin, high + margin)


def plain_log_ticks(axis: Any, low: float, high: float) -> None:
    """Ticks of a logarithmic axis at round numbers: 1 2 5 over few decades, powers of ten over many."""
    decades = math.log10(high / low)
    subs = (1.0, 2.0, 5.0) if decades < 2.2 else (1.0, 3.0) if decades < 3.5 else (1.0,)
    axis.set_major_locator(LogLocator(base=10, subs=subs, numticks=9))
    axis.set_minor_locator(NullLocator())
    short = low > 0.5e-4 and high < 2e5
    write = (lambda x: np.format_float_positional(x, 6, trim="-")) if short else power_text
    axis.set_major_formatter(FuncFormatter(lambda x, _: write(x)))


def power_text(value: float) -> str:
    """Write a positive number as a multiple of a power of ten, in matplotlib's mathtext.

    >>> [power_text(v) for v in (1e-5, 3e7)]
    ['$10^{-5}$', '$3{\\\\times}10^{7}$']
    """
    exponent = math.floor(math.log10(value) + 1e-9)
    mantissa = f"{value / 10**exponent:.3g}"
    return rf"$10^{{{exponent}}}$" if mantissa == "1" else rf"${mantissa}{{\times}}10^{{{exponent}}}$"


def whole_steps(ax: Axes, last: float) -> None:
    """An x axis of training steps: from 0, whole numbers only."""
    ax.set_xlim(0, max(last, 1))
    ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def say_empty(ax: Axes, text: str) -> None:
    """Write why there is nothing to show."""
    ax.text(0.5, 0.5, plain(text, 80), transform=ax.transAxes, ha="center", va="center", fontsize=BODY, color="#555555")


def trial_name(trial: TrialRecord, names: Sequence[str], limit: int = 66) -> str:
    """Return a legend's line for a trial: number and those of its hyperparameters that vary in the study."""
    values = ", ".join(f"{leaf(name)} {number(trial.params[name])}" for name in names if name in trial.params)
    return plain(f"#{trial.number}  {values}", limit)


def png(figure: Figure) -> bytes:
    """Return the figure as a PNG picture of 128 colours: a third of the size of true colour, with no visible loss."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    picture = picture.quantize(128, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    # The octree rounds channels down a little; white must stay white or the picture shows as a box on the page.
    picture.putpalette([255 if channel >= 253 else channel for channel in picture.getpalette() or []])
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=6, dpi=(DPI, DPI))
    return buffer.getvalue()


def save(figure: Figure, path: str | Path) -> Path:
    """Write the figure as a PNG file and return its path."""
    target = Path(path)
    target.write_bytes(png(figure))
    return target

"""Plots of what was measured on a GPU: kernels under their ceiling, training steps over batch sizes.

Functions from the file of results to a figure; None where there is nothing to show.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from gpu import groups_of
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from summary import OURS
from tables import MODELS, NAMES

from refplay.plot.style import (
    BLUE,
    FAINT,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    SMALL,
    label_axes,
    legend,
    new_figure,
    plain_log_ticks,
)

Data = Mapping[str, Any]
LOOKS = {OURS: (BLUE, "o"), "torch": (ORANGE, "s"), "torch-channels-last": (PURPLE, "D"), "torch-compile": (GREEN, "^"),
         "jax": (SKY, "v")}  # fmt: skip
TITLES = NAMES | {"mlp-1024": "MLP 784-1024x3-10", "torch-channels-last": "PyTorch, channels last",
                  "torch-compile": "PyTorch, compiled"}  # fmt: skip


def in_order(data: Data) -> dict[str, Data]:
    """Return the records of kernels, group by group, the sizes of a product as numbers."""
    groups = groups_of("cupy")
    cases = {name: record for name, record in data["cases"].items() if "group" in record}
    return dict(sorted(cases.items(), key=lambda case: (groups.index(case[1]["group"]), natural(case[0]))))


def natural(name: str) -> list[Any]:
    """Return what sorts names by the numbers in them: 1024 after 128."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def kernels(data: Data, backend: str) -> Figure | None:
    """Return a figure with a row for each kernel: what share of its ceiling it reaches, and what the best peer."""
    cases = in_order(data)
    if not cases:
        return None
    ours = [record["share"] for record in cases.values()]
    peers = [record["share"] * record["median_us"][OURS] / record["median_us"][record["better_peer"]]
             for record in cases.values()]  # fmt: skip
    figure, (ax,) = new_figure(f"How close kernels of {backend} come to what the GPU can do", _where(data, cases),
                               f"Share of the ceiling that each of {len(cases)} kernels reaches.",
                               height=1.5 + 0.17 * len(cases))  # fmt: skip
    rows = range(len(cases))
    ax.axvline(1.0, color=GREY, linewidth=1.2, linestyle="--", gid="ceiling")
    ax.scatter(peers, rows, color=ORANGE, marker="s", s=18, gid="peer")
    ax.scatter(ours, rows, color=BLUE, marker="o", s=24, gid=OURS)
    ax.set_yticks(rows, list(cases), fontsize=7.5)
    ax.set_ylim(len(cases) - 0.4, -0.6)  # the first on top
    ax.set_xlim(0, max(1.05, 1.05 * max(ours + peers)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:.0f}%"))
    ax.grid(True, axis="x", color=FAINT, linewidth=0.6)
    ax.set_xlabel("share of the copy's bandwidth, or of cuBLAS's rate", fontsize=SMALL, color=INK)
    legend(figure, [_key(BLUE, "o", "refplay"), _key(ORANGE, "s", "best peer"),
                    Line2D([], [], color=GREY, linestyle="--", label="ceiling")], columns=3)  # fmt: skip
    return figure


def _key(colour: str, marker: str, label: str) -> Line2D:
    return Line2D([], [], color=colour, marker=marker, markersize=5, linewidth=0, label=label)


def _where(data: Data, cases: Mapping[str, Data]) -> str:
    runs = [data["runs"][record["run"]] for record in cases.values()]
    return ", ".join(sorted({run["gpu"]["device"] for run in runs}) + sorted(
        {f"PyTorch {run['versions'].get('torch', '–')}" for run in runs}))  # fmt: skip


def steps(data: Data, backend: str) -> Figure | None:
    """Return a figure of the time per step over batch sizes, the models below each other; None where there is none."""
    measured = {model: _measured(data, model) for model in MODELS}
    measured = {model: sizes for model, sizes in measured.items() if sizes}
    if not measured:
        return None
    runs = [data["runs"][record["run"]] for sizes in measured.values() for record in sizes.values()]
    where = sorted({run["gpu"]["device"] for run in runs})
    versions = sorted({f"PyTorch {run['versions'].get('torch', '–')}, JAX {run['versions'].get('jax', '–')}"
                       for run in runs})  # fmt: skip
    figure, axes = new_figure(f"A training step with {backend} and its peers", f"Adam · {', '.join(where + versions)}",
                              f"Time per training step over batch sizes of {', '.join(measured)}.",
                              height=1.1 + 1.9 * len(measured), rows=len(measured))
    for ax, (model, sizes) in zip(axes, measured.items(), strict=True):
        _panel(ax, TITLES[model], sizes)
    every = sorted({size for sizes in measured.values() for size in sizes})
    axes[-1].xaxis.set_major_locator(FixedLocator(every))
    axes[-1].xaxis.set_minor_locator(NullLocator())
    axes[-1].xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{round(x)}"))
    axes[-1].tick_params(axis="x", labelsize=8)  # the last three would touch
    label_axes(axes[-1], "batch size (examples per step)", "ms per step")
    seen = [name for name in LOOKS if any(name in record["median_us"] for sizes in measured.values()
                                          for record in sizes.values())]  # fmt: skip
    legend(figure, [Line2D([], [], color=LOOKS[name][0], marker=LOOKS[name][1], markersize=5, linewidth=1.8,
                           label=TITLES[name]) for name in seen]
           + [Line2D([], [], color=GREY, linewidth=1.2, linestyle="--", label="roofline")], columns=2)  # fmt: skip
    return figure


def _panel(ax: Axes, title: str, sizes: Mapping[int, Data]) -> None:
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    shown = [value / 1e3 for record in sizes.values() for name, value in record["median_us"].items() if name in LOOKS]
    for name, (colour, marker) in reversed(LOOKS.items()):  # ours on top
        points = [(size, record["median_us"][name] / 1e3) for size, record in sizes.items()
                  if name in record["median_us"]]  # fmt: skip
        ax.plot([size for size, _ in points], [value for _, value in points], color=colour, marker=marker,
                markersize=4.5, linewidth=1.8, gid=name)  # fmt: skip
    least = {size: record["roofline_us"] / 1e3 for size, record in sizes.items() if "roofline_us" in record}
    ax.plot(list(least), list(least.values()), color=GREY, linewidth=1.2, linestyle="--", gid="roofline")
    shown += least.values()
    margin = (max(shown) / min(shown)) ** 0.06
    ax.set_ylim(min(shown) / margin, max(shown) * margin)
    plain_log_ticks(ax.yaxis, *ax.get_ylim())
    ax.text(0.02, 0.96, title, transform=ax.transAxes, ha="left", va="top", fontsize=SMALL, weight="bold")
    label_axes(ax, None, "ms per step")


def _measured(data: Data, model: str) -> dict[int, Data]:
    """Return the records of a model by batch size, those in which nobody could be timed left out."""
    found = {int(name.partition(":")[2]): record for name, record in data["cases"].items()
             if name.partition(":")[0] == model and record["median_us"]}  # fmt: skip
    return dict(sorted(found.items()))


PLOTS: dict[str, Callable[[Data, str], Figure | None]] = {"kernels": kernels, "steps": steps}

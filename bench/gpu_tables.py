"""The tables and the plot of what was measured on a GPU, from bench/results/gpu-<backend>.json:

    python bench/gpu_tables.py --backend cupy                       # prints the tables
    python bench/gpu_tables.py --backend cupy --page docs/cuda.md --plot docs/images/gpu-cupy.png

A page has them between `<!-- bench:gpu-cupy-kernels -->` (or `-steps`) and `<!-- end -->`; what stands there is
replaced. Where there is no such file nothing is made: no figure is of anything but a measurement.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gpu import groups_of
from gpu_run import DRY
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from results import ROOT
from summary import OURS, OURS_ROUNDED
from tables import MODELS, NAMES, markdown, number, ratio, replace_tables, with_runs
from tables import steps as step_tables

from refplay.plot.style import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    SMALL,
    label_axes,
    legend,
    new_figure,
    plain_log_ticks,
    save,
)

Data = Mapping[str, Any]
PEERS = {"torch": "PyTorch", "cublas": "cuBLAS", "cublas-float32": "cuBLAS, from float32",
         "cudnn": "cuDNN, channels last", "cudnn-nchw": "cuDNN, channels first"}
CEILINGS = {"copy": "copy"}  # all others are cuBLAS's product in that precision
LOOKS = {OURS: (BLUE, "o"), "torch": (ORANGE, "s"), "torch-channels-last": (PURPLE, "D"), "torch-compile": (GREEN, "^"),
         "jax": (SKY, "v")}  # fmt: skip
TITLES = NAMES | {"mlp-1024": "MLP 784-1024x3-10", "torch-channels-last": "PyTorch, channels last",
                  "torch-compile": "PyTorch, compiled"}  # fmt: skip


def kernels(data: Data) -> str:
    """Every kernel: time, rate, share of the ceiling, and the best peer; below it, what could not be measured."""
    groups = groups_of("cupy")
    cases = {name: record for name, record in data["cases"].items() if "group" in record}
    order = sorted(cases, key=lambda name: (groups.index(cases[name]["group"]), _natural(name)))
    rows = [row for name in order for row in _rows(name, cases[name])]
    head = ["kernel", "refplay, µs", "rate", "share", "of", "best peer", "its µs", "best peer / refplay (quartiles)"]
    failed = {name: record for name, record in data["cases"].items()
              if "group" not in record and name.partition(":")[0] not in MODELS}  # fmt: skip
    table = markdown(head, rows) if rows else ""
    missing = "\n".join(f"- {name} failed: {record['errors'][OURS]}" for name, record in sorted(failed.items()))
    return with_runs(data, "\n\n".join(part for part in (table, missing) if part), [*cases.values(), *failed.values()])


def _rows(name: str, record: Data) -> list[list[str]]:
    """Return the row of a case, and one of our product without the rounding of its factors, where that was timed."""
    times, peer = record["median_us"], record["better_peer"]
    its = [PEERS.get(peer, peer), number(times[peer])]
    rows = [[name, number(times[OURS]), *_rate(record, 1.0), *its, ratio(record)]]
    if OURS_ROUNDED in times:
        faster = times[OURS] / times[OURS_ROUNDED]
        rows.append([f"{name}, of rounded factors", number(times[OURS_ROUNDED]), *_rate(record, faster), *its,
                     f"{times[peer] / times[OURS_ROUNDED]:.2f}"])  # fmt: skip
    return rows


def _rate(record: Data, faster: float) -> list[str]:
    kind, value = record["ceiling"], record["tflops"] if record["operations"] else record["gb_per_s"]
    unit = "TFLOP/s" if record["operations"] else "GB/s"
    return [f"{number(faster * value)} {unit}", f"{100 * faster * record['share']:.0f}%",
            f"{CEILINGS.get(kind, f'cuBLAS {kind}')}, {number(record['ceiling_rate'])} {unit}"]


def _natural(name: str) -> list[Any]:
    """Return what sorts names by the numbers in them: 1024 after 128."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def steps(data: Data) -> str:
    """Whole training steps: a table for each model with the ratio to the best peer of each size, and what failed."""
    where: dict[str, list[str]] = {}
    for name, record in sorted(data["cases"].items(), key=lambda case: _natural(case[0])):
        for who, why in record["errors"].items() if name.partition(":")[0] in MODELS else ():
            where.setdefault(f"{NAMES[who]} failed: {why}", []).append(name)
    failed = "\n".join(f"- {what} ({', '.join(names)})" for what, names in where.items())
    return "\n\n".join(part for part in (step_tables(data), failed) if part)


TABLES: dict[str, Callable[[Data], str]] = {"kernels": kernels, "steps": steps}


def tables_of(data: Data | None, backend: str) -> dict[str, str]:
    """Return the tables by the names that pages have for them."""
    return {f"gpu-{backend}-{name}": "Not measured on a GPU yet." if data is None else make(data)
            for name, make in TABLES.items()}  # fmt: skip


def plot(data: Data, backend: str) -> Figure | None:
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
                           label=TITLES[name]) for name in seen], columns=2)  # fmt: skip
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


def file_of(backend: str) -> Path:
    """Return where the results of a backend lie."""
    return ROOT / "bench" / "results" / f"gpu-{backend}.json"


def read(path: Path) -> Any:
    """Return what a file of results has; None where there is no such file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="cupy", choices=tuple(DRY))
    parser.add_argument("--results", type=Path, help="bench/results/gpu-<backend>.json")
    parser.add_argument("--page", type=Path, help="a page whose marked places are filled")
    parser.add_argument("--plot", type=Path, help="where to write the plot of steps, a PNG")
    given = parser.parse_args()
    path = given.results or file_of(given.backend)
    data = read(path)
    if data is None:
        sys.exit(f"{path} does not exist: {given.backend} has not been measured on a GPU")
    tables = tables_of(data, given.backend)
    for name, table in tables.items():
        print(f"{name}\n\n{table}\n")
    if given.page:  # it may have those of the other backend too
        every = {name: table for backend in DRY for name, table in tables_of(read(file_of(backend)), backend).items()}
        page = replace_tables(given.page.read_text(encoding="utf-8"), every | tables)
        given.page.write_text(page, encoding="utf-8")
    if given.plot:
        figure = plot(data, given.backend)
        if figure is None:
            sys.exit(f"{path} has no training steps: no plot was written")
        save(figure, given.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())

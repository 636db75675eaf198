"""The tables and the plots of what was measured on a GPU, from bench/results/gpu-<backend>.json:

    python bench/gpu_tables.py --backend cupy                       # prints the tables
    python bench/gpu_tables.py --backend cupy --page docs/cupy.md --plots docs/images

A page has them between `<!-- bench:gpu-cupy-kernels -->` (or `-steps`) and `<!-- end -->`; what stands there is
replaced. Where there is no such file nothing is made: no figure is of anything but a measurement.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gpu_plots import PLOTS, in_order, natural
from gpu_run import DRY
from results import ROOT
from summary import OURS, OURS_ROUNDED
from tables import MODELS, NAMES, markdown, number, ratio, replace_tables, with_runs
from tables import steps as step_tables

from refplay.plot.style import save

Data = Mapping[str, Any]
PEERS = {"torch": "PyTorch", "cublas": "cuBLAS", "cublas-float32": "cuBLAS, from float32",
         "cudnn": "cuDNN, channels last", "cudnn-nchw": "cuDNN, channels first"}
CEILINGS = {"copy": "copy"}  # all others are cuBLAS's product in that precision


def kernels(data: Data) -> str:
    """Every kernel: time, rate, share of the ceiling, and the best peer; below it, what could not be measured."""
    cases = in_order(data)
    rows = [row for name, record in cases.items() for row in _rows(name, record)]
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


def steps(data: Data) -> str:
    """Whole training steps: a table for each model with the ratio to the best peer of each size, and what failed."""
    where: dict[str, list[str]] = {}
    for name, record in sorted(data["cases"].items(), key=lambda case: natural(case[0])):
        for who, why in record["errors"].items() if name.partition(":")[0] in MODELS else ():
            where.setdefault(f"{NAMES[who]} failed: {why}", []).append(name)
    failed = "\n".join(f"- {what} ({', '.join(names)})" for what, names in where.items())
    return "\n\n".join(part for part in (step_tables(data), failed) if part)


TABLES: dict[str, Callable[[Data], str]] = {"kernels": kernels, "steps": steps}


def tables_of(data: Data | None, backend: str) -> dict[str, str]:
    """Return the tables by the names that pages have for them."""
    return {f"gpu-{backend}-{name}": "Not measured on a GPU yet." if data is None else make(data)
            for name, make in TABLES.items()}  # fmt: skip


def file_of(backend: str) -> Path:
    """Return where the results of a backend lie."""
    return ROOT / "bench" / "results" / f"gpu-{backend}.json"


def read(path: Path) -> Any:
    """Return what a file of results has; None where there is no such file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", required=True, choices=tuple(DRY))
    parser.add_argument("--results", type=Path, help="bench/results/gpu-<backend>.json")
    parser.add_argument("--page", type=Path, help="a page whose marked places are filled")
    parser.add_argument("--plots", type=Path, help="a folder for gpu-<backend>-kernels.png and -steps.png")
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
        before = given.page.read_text(encoding="utf-8")
        if not any(f"<!-- bench:{name} -->" in before for name in every):
            sys.exit(f"{given.page} has no place for a table: <!-- bench:{next(iter(tables))} --> and <!-- end -->")
        page = replace_tables(before, every | tables)
        given.page.write_text(page, encoding="utf-8")
    if given.plots:
        for name, make in PLOTS.items():
            figure = make(data, given.backend)
            if figure is not None:
                print(save(figure, given.plots / f"gpu-{given.backend}-{name}.png"))
    return 0


if __name__ == "__main__":
    sys.exit(main())

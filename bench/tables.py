"""The tables of README and docs, made from a file of results: python bench/tables.py [--check].

Each stands between `<!-- bench:NAME -->` and `<!-- end -->`; what stands there is replaced. `--check` writes nothing
and ends with 1 where a page does not say what the file does.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from results import BUSY, FILE, ROOT
from summary import NO_PEERS, OURS

PAGES = ("README.md", "docs/performance.md")
_MARKED = re.compile(r"(<!-- bench:([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
Data = Mapping[str, Any]

NAMES = {
    "convnet": "ConvNet", "mlp-256": "MLP 784-256-256-10", "mlp-1024": "MLP 784-1024-1024-1024-10",
    "resnet": "residual ConvNet, batch norm", OURS: "refplay", "torch": "PyTorch", "torch-malloc": "PyTorch, malloc",
    "torch-channels-last": "channels last", "torch-compile": "compile", "jax": "JAX", "jax-ahead": "JAX, 8 ahead",
    "jax-scan": "JAX, 32 a call", "optax": "optax", "triad": "triad",
}  # fmt: skip
MODELS = ("convnet", "mlp-256", "mlp-1024", "resnet")
RULES = ("sgd", "momentum", "nesterov", "rmsprop", "adam", "nadam")
KERNELS = {"batch_norm": "ghost batch norm", "layer_norm": "layer norm",
           "softmax_cross_entropy": "softmax cross-entropy", "max_pool2d": "max pool"}
# Vectors that a step must read or write once: adam reads theta, g, m, v and writes theta, m, v.
MOVED = {"sgd": 3, "momentum": 5, "nesterov": 5, "rmsprop": 7, "adam": 7, "nadam": 7, "triad": 3}


def replace_tables(page: str, tables: Mapping[str, str]) -> str:
    """Return `page` with each marked place filled by the table of its name.

    >>> replace_tables("a\\n<!-- bench:t -->\\nold\\n<!-- end -->\\nb", {"t": "new"})
    'a\\n<!-- bench:t -->\\nnew\\n<!-- end -->\\nb'

    Raises
    ------
    KeyError
        A marker that no table has the name of.
    """
    return _MARKED.sub(lambda found: f"{found[1]}{tables[found[2]]}\n{found[3]}", page)


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of Markdown, its first column to the left and the others to the right."""
    rules = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rules, *rows])


def number(value: float) -> str:
    """Return three digits, or all before the point: 1.23, 12.3, 123, 12,345.

    >>> [number(v) for v in (0.01234, 1.234, 12.34, 123.4, 12345.6)]
    ['0.0123', '1.23', '12.3', '123', '12,346']
    """
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 1 else f"{value:.{2 if value < 9.995 else 1}f}"


def ratio(record: Data) -> str:
    """Return the ratio to the better peer with the quartiles of the paired ones."""
    if record["ratio"] is None:
        return "–"
    low, high = record["quartiles"]
    return f"**{record['ratio']:.2f}** ({low:.2f}–{high:.2f})"


def _cases(data: Data, name: str, suffix: str = "") -> list[tuple[int, Data]]:
    """Return (size, record) of the cases `name` by size."""
    pattern = re.compile(re.escape(name) + r":(\d+)" + re.escape(suffix))
    found = [(pattern.fullmatch(key), record) for key, record in data["cases"].items()]
    return sorted((int(match[1]), record) for match, record in found if match)


def _microseconds(record: Data, name: str) -> str:
    if name in record["errors"]:
        return "fails"
    value = record["median_us"].get(name)
    if value is None:
        return ""
    return f"**{number(value)}**" if name == record["better_peer"] else number(value)


def steps(data: Data, suffix: str = "") -> str:
    """Median times of training steps, all contenders: a table for each model."""
    parts = []
    for model in MODELS:
        cases = _cases(data, model, suffix)
        if not cases:
            continue
        names = [name for name in NAMES if any(name in record["median_us"] for _, record in cases)]
        head = ["batch", *(NAMES[name] for name in names), "better peer / refplay (quartiles)"]
        rows = [[f"{size:,}", *(_microseconds(record, name) for name in names), ratio(record)]
                for size, record in cases]
        if any("roofline_us" in record for _, record in cases):  # of a GPU
            head.append("roofline (refplay's share)")
            rows = [[*row, _roofline(record)] for row, (_, record) in zip(rows, cases, strict=True)]
        parts.append(f"{NAMES[model]}:\n\n" + markdown(head, rows))
    return with_runs(data, "\n\n".join(parts), [r for m in MODELS for _, r in _cases(data, m, suffix)])


def _roofline(record: Data) -> str:
    """Return the time at the roofline, and what share of refplay's time it is."""
    least, ours = record.get("roofline_us"), record["median_us"].get(OURS)
    if least is None:
        return ""
    return number(least) + (f" ({100 * least / ours:.0f}%)" if ours else "")


def summary(data: Data) -> str:
    """Ratios only: a row a model, a column a batch size. For the README."""
    table = {model: dict(_cases(data, model)) for model in MODELS}
    sizes = sorted({size for cases in table.values() for size in cases})
    rows = [[NAMES[model], *(_cell(cases.get(size)) for size in sizes)] for model, cases in table.items() if cases]
    records = [record for cases in table.values() for record in cases.values()]
    return with_runs(data, markdown(["batch", *(f"{size:,}" for size in sizes)], rows), records)


def _cell(record: Data | None) -> str:
    return "" if record is None or record["ratio"] is None else f"{record['ratio']:.2f}"


def rules(data: Data) -> str:
    """Update rules over vectors of three sizes."""
    rows, records = [], []
    for rule in RULES:
        for size, record in _cases(data, f"rules.{rule}"):
            records.append(record)
            names = (OURS, "torch", "torch-compile", "optax")
            rows.append([rule, f"2^{size.bit_length() - 1}", *(_microseconds(record, name) for name in names),
                         ratio(record), _bandwidth(rule, size, record)])
    head = ["rule", "values", "refplay", "PyTorch", "PyTorch, compiled", "optax", "better peer / refplay (quartiles)",
            "share of the triad's bandwidth"]
    return with_runs(data, markdown(head, rows), records)


def _bandwidth(rule: str, size: int, record: Data) -> str:
    if "triad" not in record["median_us"]:
        return ""
    share = bandwidth(rule, size, record["median_us"][OURS]) / bandwidth("triad", size, record["median_us"]["triad"])
    return f"{100 * share:.0f}%"


def bandwidth(rule: str, size: int, microseconds: float) -> float:
    """Return the GB/s of a step, counting every float32 vector that it must read or write once.

    >>> bandwidth("adam", 2**25, 20_000.0)    # reads theta, g, m, v; writes theta, m, v
    46.9762048
    """
    return MOVED[rule] * 4 * size / microseconds / 1e3


def kernels(data: Data) -> str:
    """Kernels at 2^20 values."""
    rows, records = [], []
    for kernel, title in KERNELS.items():
        for way in ("forward", "backward"):
            for _, record in _cases(data, f"kernels.{kernel}_{way}"):
                records.append(record)
                names = (OURS, "torch-malloc", "torch-channels-last")
                rows.append([f"{title}, {way}", *(_microseconds(record, name) for name in names), ratio(record)])
    head = ["kernel", "refplay", "PyTorch", "channels last", "better peer / refplay (quartiles)"]
    return with_runs(data, markdown(head, rows), records)


def load(data: Data) -> str:
    """How much longer the median step is while other processes compete for the cores."""
    rows, records = [], []
    for processes in (1, 2):
        for model in MODELS:
            for size, record in _cases(data, model, f" load {processes}"):
                records.append(record)
                slower, mean = record["slowdown"], record["slowdown_of_mean"]
                peers = {name: value for name, value in slower.items() if name not in NO_PEERS}
                best = min(record["loaded_us"][name] for name in peers)
                slows = {name: f"{NAMES[name]} x {slower[name]:.1f} (x {mean[name]:.1f})" for name in peers}
                rows.append([
                    f"{NAMES[model]}, {size:,}", str(processes), number(record["loaded_us"][OURS]),
                    f"x {slower[OURS]:.1f} (x {mean[OURS]:.1f})", slows.pop(record["better_peer"]),
                    ", ".join(slows.values()), f"**{best / record['loaded_us'][OURS]:.2f}**",
                ])  # fmt: skip
    head = ["model, batch", "busy processes", "refplay, loaded", "refplay slows", "better peer slows", "others slow",
            "best peer / refplay, loaded"]
    return with_runs(data, markdown(head, rows), records)


def avx2(data: Data) -> str:
    """The steps with our kernels compiled as for a CPU without AVX-512."""
    return steps(data, " avx2")


def compile_time(data: Data) -> str:
    """Cold and warm starts."""
    record = data["cases"].get("compile time")
    rows = [] if record is None else [[what, number(row["median_s"])] for what, row in record["rows"].items()]
    return with_runs(data, markdown(["", "seconds"], rows), [record] if record else [])


def studies(data: Data) -> str:
    """Trials per second."""
    record = data["cases"].get("studies")
    rows = [] if record is None else [
        [name, number(row["trials_per_s"]), "{}–{}".format(*map(number, row["quartiles"])),
         number(1e3 * row["trial_s"])] for name, row in record["rows"].items()]  # fmt: skip
    head = ["", "trials per second", "quartiles", "milliseconds a trial"]
    return with_runs(data, markdown(head, rows), [record] if record else [])


TABLES: dict[str, Callable[[Data], str]] = {
    "summary": summary, "steps": steps, "rules": rules, "kernels": kernels, "load": load, "avx2": avx2,
    "compile-time": compile_time, "studies": studies,
}  # fmt: skip


def with_runs(data: Data, table: str, records: Sequence[Data]) -> str:
    """Return the table with the runs that it is made from below it."""
    if not records:
        return "Not measured yet."
    parts = [table]
    for run in sorted({record["run"] for record in records}):
        parts.append(describe(data["runs"][run]))
    busy = max((record.get("other_cores", 0.0) for record in records), default=0.0)
    if busy > BUSY:
        parts.append(f"The machine was busy with other things meanwhile: up to {busy:.1f} cores.")
    return "\n\n".join(parts)


def describe(run: Data) -> str:
    """Return one line on a run."""
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    note = f" {run['note']}" if "note" in run else ""
    gpu = ", ".join(f"{name} {value}" for name, value in run.get("gpu", {}).items())
    machine = f"{gpu}; {run['machine']}" if gpu else run["machine"]
    return f"<sub>{run['date']}, {machine}; {versions}; commit {run['commit']}; `{run['command']}`.{note}</sub>"


def tables_of(data: Data) -> dict[str, str]:
    """Return every table by its name."""
    return {name: make(data) for name, make in TABLES.items()}


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=FILE)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    tables = tables_of(json.loads(given.results.read_text(encoding="utf-8")))
    stale = []
    for name in PAGES:
        path = ROOT / name
        before = path.read_text(encoding="utf-8")
        after = replace_tables(before, tables)
        if before != after:
            stale.append(name)
            if not given.check:
                path.write_text(after, encoding="utf-8")
    print(f"{'stale' if given.check else 'written'}: {', '.join(stale) or 'nothing'}")
    return int(given.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())

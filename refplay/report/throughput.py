"""A measurement of throughput in the terminal: the table, then what it says."""

from __future__ import annotations

import sys

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from refplay.analysis.throughput import Measured, Timing, doublings, measured, saturation
from refplay.analysis.throughput_findings import ratios, throughput_findings
from refplay.plot.words import printable
from refplay.report.tables import Table
from refplay.report.terminal import COLOURS, SIGNS

UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
SHORT = {"": "–", "input pipeline": "data", "overhead": "overhead", "compute": "compute"}  # bottlenecks in the table
BYTES = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def print_throughput(found: Measured, console: Console | None = None) -> None:
    """Print what was measured at every size, and the findings."""
    console = console or Console()
    for line in heading(found):
        console.print(Text(printable(line)), highlight=False)
    largest = saturation(found.ours).batch_size if measured(found.ours) else 0
    console.print(_grid(throughput_table(found), largest, console))
    for finding in throughput_findings(found):
        text = Text(f"{SIGNS[finding.verdict]} {finding.topic}: ", f"bold {COLOURS[finding.verdict]}")
        text.append_text(Text(printable(finding.seen), "default"))
        if finding.action:
            text.append_text(Text(f"\n  → {finding.action}", "italic default"))
        console.print(text, highlight=False)


def heading(found: Measured) -> list[str]:
    """Return what the results belong to, in two lines."""
    key = found.key
    versions = ", ".join(f"{name} {value}" for name, value in key.items()
                         if name not in ("model", "optimizer", "data", "backend", "cpu", "cores", "threads"))
    return [f"{key.get('model')} · {key.get('optimizer')} · {key.get('data')} · backend {key.get('backend')}",
            f"{key.get('cpu')}, {key.get('cores')} cores, {key.get('threads')} threads · {versions} · memory budget "
            f"{bytes_text(found.budget)}"]


def throughput_table(found: Measured) -> Table:
    """Return a row for each size.

    A step's spread is the middle half of the steps, as a part of the median. Gain is the factor of the throughput over
    the size before. Peers stand as the throughput of refplay over theirs.
    """
    peers = {peer: ratios(found.ours, timings) for peer, timings in found.peers.items()}
    steps = {doubling.larger: doubling for doubling in doublings(found.ours)}
    head = ("batch", "examples/s", "step", "spread", "waits", "memory", "gain", "bottleneck",
            *(f"× {peer}" for peer in peers))
    rows = []
    for timing in found.ours:
        size, memory = timing.batch_size, bytes_text(timing.memory)
        if timing.failed:
            rows.append((f"{size}", timing.failed, "", "", "", memory, "", "", *("" for _ in peers)))
            continue
        step = steps.get(size)
        against = (f"{of_size[size]:.2f}" if size in of_size else _why(found.peers[peer], size)
                   for peer, of_size in peers.items())
        rows.append((f"{size}", f"{timing.throughput:,.0f}", time_text(timing.seconds),
                     f"{(timing.upper - timing.lower) / timing.seconds:.0%}", f"{timing.waiting_share:.1%}", memory,
                     f"{step.gain:.2f}" if step else "", SHORT[step.bottleneck] if step else "", *against))
    return Table(head, rows)


def _why(timings: tuple[Timing, ...], size: int) -> str:
    return next((timing.failed for timing in timings if timing.batch_size == size), "–")


def _grid(content: Table, largest: int, console: Console) -> RenderableType:
    """Return the table with its columns as far apart as the terminal allows; where not even close, a line a size."""
    for padding in (1, 0):
        grid = Grid(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, padding))
        for name in content.head:
            grid.add_column(Text(printable(name)), justify="left" if name == "bottleneck" else "right")
        for row in content.rows:
            grid.add_row(*(Text(printable(cell), no_wrap=True) for cell in row),
                         style="bold" if row[0] == str(largest) else "")
        if console.measure(grid, options=console.options.update(width=sys.maxsize)).maximum <= console.width:
            return grid
    return Group(*(Text("; ".join(f"{name} {cell}" for name, cell in zip(content.head, row, strict=True) if cell))
                   for row in content.rows))


def time_text(seconds: float) -> str:
    """Write a time with three digits.

    >>> time_text(1.5), time_text(0.0123456), time_text(2.5e-7)
    ('1.5 s', '12.3 ms', '0.25 µs')
    """
    size, name = next((unit for unit in UNITS if seconds >= unit[0]), UNITS[-1])
    value = seconds / size
    return f"{value:.3g} {name}" if value < 1000 else f"{value:,.0f} {name}"


def bytes_text(count: float) -> str:
    """Write a number of bytes with three digits.

    >>> bytes_text(4 * 2**30), bytes_text(1_500_000), bytes_text(700)
    ('4 GiB', '1.43 MiB', '700 B')
    """
    size, name = next((unit for unit in BYTES if count >= unit[0]), (1, "B"))
    value = count / size
    return f"{value:.3g} {name}" if value < 1000 else f"{value:,.0f} {name}"

"""The report in the terminal: compact, the same tables and findings as the page."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table as Grid
from rich.text import Text

from refplay.analysis.adoption import Decision, decision_finding
from refplay.analysis.finding import Finding
from refplay.plot.words import printable
from refplay.report.tables import (
    Table,
    best_table,
    launch_words,
    round_quantity,
    short_name,
    studies_table,
    words_of_test,
)
from refplay.study.record import Round
from refplay.study.store import Launch

COLOURS = {"attention": "yellow", "note": "cyan", "good": "green"}
SIGNS = {"attention": "!", "note": "i", "good": "✓"}
BEST = 3  # trials of each study
READABLE = 78  # columns: a narrower table of studies folds within words and cuts its heads


def print_report(round: Round, findings: Sequence[Finding], decision: Decision | None,
                 console: Console | None = None, *, test: float | None = None, launch: Launch | None = None) -> None:
    """Print a round: its goal, the studies with their best trials, the findings, the decision.

    Parameters
    ----------
    round, findings, decision, test, launch
        As for `refplay.report.write_report`.
    console : rich.console.Console, optional
        Standard output where none is given.
    """
    console = console or Console()
    shown = round_quantity(round)
    console.print(Panel(_text(round.plan.goal), title=_text(round.plan.name, "bold"), title_align="left"))
    console.print(_studies(studies_table(round), console))
    for study in round.studies:
        best = best_table(study, round, BEST)
        if best.rows:
            console.print(_text(f"best trials of {short_name(study, round)}", "dim"))
            console.print(_best(best, console))
    console.print(*_findings(round, findings), sep="\n")
    if decision is not None:
        console.print(_decision(round, decision))
    if launch is not None:
        console.print(_text(launch_words(round, decision, launch)))
    if test is not None:
        console.print(_text(f"{words_of_test(round, decision)}: {shown.write(test)}.", "bold"))


def _text(text: object, style: str = "") -> Text:
    # Text, never a string: rich would take brackets in a name for its own markup.
    return Text(printable(text), style=style)


def _grid(content: Table) -> Grid:
    grid = Grid(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for place, head in enumerate(content.head):
        # Names of studies are read first: other columns give way to them.
        longest = max((len(row[place]) for row in content.rows), default=0)
        grid.add_column(_text(head), overflow="fold", min_width=min(longest, 30) if place == 0 else None)
    for row in content.rows:
        grid.add_row(*(_text(cell) for cell in row))
    return grid


def _fits(grid: Grid, console: Console) -> bool:
    return console.measure(grid, options=console.options.update(width=sys.maxsize)).minimum <= console.width


def _studies(content: Table, console: Console) -> RenderableType:
    """Return the studies as a table; where no word of it may be cut and the terminal is too narrow, a sentence each."""
    grid = _grid(content)
    if console.width >= READABLE and _fits(grid, console):
        return grid
    return Group(*(_text(f"{study}: " + "; ".join(f"{head} {cell}" for head, cell in
                                                  zip(content.head[1:], cells, strict=True)))
                   for study, *cells in content.rows))


def _best(content: Table, console: Console) -> RenderableType:
    """Return the best trials as a table; where that is wider than the terminal, a sentence each."""
    grid = _grid(content)
    if _fits(grid, console):
        return grid
    return Group(*(_text(f"{trial}  {value} at step {step}: " + ", ".join(
        f"{name}={cell}" for name, cell in zip(content.head[3:], varied, strict=True) if cell != "–"))
        for trial, value, step, *varied in content.rows))


def _findings(round: Round, findings: Sequence[Finding]) -> list[RenderableType]:
    """Return what needs attention with its next step, then notes, then the topics that are good on one line."""
    prefix = round.plan.name + "/"
    lines: list[RenderableType] = []
    listed = [finding for finding in findings if finding.topic != "adoption"]
    for verdict in ("attention", "note"):
        for finding in (f for f in listed if f.verdict == verdict):
            line = _text(f"{SIGNS[verdict]} {finding.topic}", f"bold {COLOURS[verdict]}")
            line.append_text(_text(f" [{finding.study.removeprefix(prefix)}] ", "dim")).append_text(_text(finding.seen))
            if finding.action and verdict == "attention":
                line.append_text(_text(f"\n  → {finding.action}", "italic"))
            lines.append(line)
    good = dict.fromkeys(f"{f.topic} ({f.study.removeprefix(prefix)})" for f in listed if f.verdict == "good")
    if good:
        lines.append(_text(f"{SIGNS['good']} nothing to do: {', '.join(good)}", COLOURS["good"]))
    return lines or [_text("no findings", "dim")]


def _decision(round: Round, decision: Decision) -> Panel:
    finding = decision_finding(decision, round.plan.name)
    parts = [_text(decision.reason), _text(f"→ {finding.action}", "italic"),
             *(_text(f"· {caveat}", "dim") for caveat in decision.caveats)]
    return Panel(Group(*parts), title=_text(f"decision: {decision.verdict}", "bold"), title_align="left",
                 border_style=COLOURS[finding.verdict])

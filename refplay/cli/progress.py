"""Progress bars of a running round: one a study, with the best value so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column

from refplay.analysis.wording import quantity

ProgressCallback = Callable[[str, int, int, float | None], None]


@contextmanager
def progress_bars(metric: str, console: Console) -> Iterator[ProgressCallback]:
    """Yield a callback `(study, done, total, best)` that draws a bar for each study it is called with.

    One line says so where it was never called: the store had everything.
    """
    tasks: dict[str, TaskID] = {}
    with Progress(*_columns(console.width), console=console) as bars:
        waiting = bars.add_task("preparing, compiling what is new", total=None, best="")

        def update(study: str, done: int, total: int, best: float | None) -> None:
            if not tasks:
                bars.remove_task(waiting)
            if study not in tasks:
                tasks[study] = bars.add_task(study, total=total, best="")
            shown = "" if best is None else f"best {metric} {quantity(metric, [best]).write(best)}"
            bars.update(tasks[study], completed=done, total=total, best=shown)

        try:
            yield update
        finally:
            if not tasks:
                bars.remove_task(waiting)
    if not tasks:
        console.print("everything is stored already: nothing was left to run", highlight=False)


def _columns(width: int) -> list[ProgressColumn]:
    # In a narrow terminal the bar and its count stay; the elapsed time goes first, then the best value.
    columns: list[ProgressColumn] = [
        TextColumn("{task.description}", markup=False,
                   table_column=Column(no_wrap=True, overflow="ellipsis", max_width=max(10, width // 2 - 4))),
        BarColumn(bar_width=40 if width >= 120 else 12),
        MofNCompleteColumn(table_column=Column(no_wrap=True, min_width=7))]
    if width >= 100:
        columns.append(TimeElapsedColumn())
    if width >= 80:
        columns.append(TextColumn("{task.fields[best]}"))
    return columns

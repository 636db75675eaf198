"""Progress bars of a running round: one a study, with the best value so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from refplay.analysis.wording import quantity

ProgressCallback = Callable[[str, int, int, float | None], None]


@contextmanager
def progress_bars(metric: str, console: Console) -> Iterator[ProgressCallback]:
    """Yield a callback `(study, done, total, best)` that draws a bar for each study it is called with."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
               TextColumn("{task.fields[best]}"))
    with Progress(*columns, console=console) as bars:
        waiting = bars.add_task("preparing (the first time, kernels are compiled)", total=None, best="")
        tasks: dict[str, object] = {}

        def update(study: str, done: int, total: int, best: float | None) -> None:
            if not tasks:
                bars.remove_task(waiting)
            if study not in tasks:
                tasks[study] = bars.add_task(study, total=total, best="")
            shown = "" if best is None else f"best {metric} {quantity(metric, [best]).write(best)}"
            bars.update(tasks[study], completed=done, total=total, best=shown)  # type: ignore[arg-type]

        yield update

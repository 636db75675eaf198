"""`refplay run` and `refplay report`: a round from its plan to its report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from refplay.cli.console import PipeConsole
from refplay.cli.progress import progress_bars
from refplay.errors import InputError
from refplay.study.plan_toml import load_plan
from refplay.study.record import Round
from refplay.study.runner import run as run_plan
from refplay.study.store import Store


def run(path: Path, *, store: Path | None, resume: bool, workers: int | None, retry_failed: bool = False) -> int:
    """Run the plan of a TOML file, then report on it; the report lies beside the store."""
    plan = load_plan(path)
    store = store or Path(f"{plan.name}.db")
    console = PipeConsole()
    with progress_bars(plan.metric, console) as progress:
        done = run_plan(plan, store=store, resume=resume, workers=workers, progress=progress, folder=path.parent,
                        retry_failed=retry_failed)
    conclude(done, store, _report_path(store, plan.name), console)
    return 0


def report(store: Path, *, name: str | None, metric: str | None, csv: Path | None) -> int:
    """Report on one stored round, or on each of them."""
    with Store(store) as opened:
        names = [name] if name else [info.name for info in opened.rounds()]
        rounds = [opened.load_round(each) for each in names]
        if csv:
            opened.export_csv(csv)
    if not rounds:
        raise InputError(f"store {store} has no round yet; `refplay run PLAN.toml --store {store}` makes one")
    console = PipeConsole()
    for each in rounds:
        if metric:
            _check_metric(each, metric)
            each = replace(each, plan=replace(each.plan, metric=metric))
        conclude(each, store, _report_path(store, each.plan.name), console, launching=metric is None)
    return 0


def conclude(done: Round, store: Path, path: Path, console: Console, *, test: float | None = None,
             launching: bool = True) -> None:
    """Learn from a finished round, consider a launch, write the report to `path` and print its short form.

    `launching` is False where a round is judged by another metric than it was planned for: what is found so is an
    insight, and the plan's own decision stands.
    """
    from refplay.analysis import learn
    from refplay.analysis.adoption import compare
    from refplay.procedures.rounds import launch
    from refplay.report import print_report, write_report

    findings, decision = learn(done), compare(done)
    launched = launch(done, store, test_error=test) if launching else None
    recorded = launched[0] if launched else None
    if recorded:
        test = recorded.evidence["test_error"]  # a report made again later tells it too, without measuring it again
    write_report(done, findings, decision, path, store=store, test=test, launch=recorded)
    print_report(done, findings, decision, console, test=test, launch=recorded)
    console.print(f"report   {path}\nstore    {store}", highlight=False, soft_wrap=True, markup=False)


def _report_path(store: Path, name: str) -> Path:
    # One store may hold several rounds; a report belongs to one of them.
    return store.with_name(f"{name}.html" if name == store.stem else f"{store.stem}-{name}.html")


def _check_metric(done: Round, metric: str) -> None:
    reported = sorted({name for study in done.studies for trial in study.trials for name in trial.curves})
    if metric not in reported:
        raise InputError(f"no trial of {done.plan.name!r} reported {metric!r}; "
                         f"there is: {', '.join(reported) or 'nothing'}")

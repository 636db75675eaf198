"""`refplay run` and `refplay report`: a round from its plan to its report."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from refplay.cli.console import PipeConsole
from refplay.cli.progress import progress_bars
from refplay.errors import InputError
from refplay.study.objective import reference_of
from refplay.study.plan import Plan
from refplay.study.plan_toml import load_plan
from refplay.study.record import Round, State
from refplay.study.runner import run as run_plan
from refplay.study.store import Store


def run(path: Path, *, store: Path | None, resume: bool, workers: int | None, retry_failed: bool = False,
        backend: str | None = None) -> int:
    """Run the plan of a TOML file, then report on it; the report lies beside the store."""
    plan = on_backend(load_plan(path), backend)
    store = store or Path(f"{plan.name}.db")
    console = PipeConsole()
    with progress_bars(plan.metric, console) as progress:
        done = run_plan(plan, store=store, resume=resume, workers=workers, progress=progress, folder=path.parent,
                        retry_failed=retry_failed)
    page = _report_path(store, plan.name)
    conclude(done, store, page, console)
    return _nothing_completed(done, page)


def on_backend(plan: Plan, backend: str | None) -> Plan:
    """Return `plan` with the kernels of `backend`; None: as it is.

    It is part of the plan, and so of its record: another backend rounds differently, which a resumed round must not.
    """
    if backend is None:
        return plan
    if reference_of(plan.objective) != reference_of("classifier"):
        raise InputError(f"--backend {backend}: the objective {plan.objective!r} is not refplay's own; it chooses "
                         "itself what it computes with, so leave --backend out")
    from refplay.procedures.workloads import load_backend

    load_backend(backend)  # refused before a folder or a store is made
    return replace(plan, fixed={**plan.fixed, "backend": backend})


def report(store: Path, *, name: str | None, metric: str | None, csv: Path | None, out: Path | None = None) -> int:
    """Report on one stored round, or on each of them."""
    with Store(store) as opened:
        names = [_round_of(opened, name)] if name else [info.name for info in opened.rounds()]
        rounds = [opened.load_round(each) for each in names]
        if not rounds:
            raise InputError(f"store {store} has no round yet; `refplay run PLAN.toml --store {store}` makes one")
        if out and len(rounds) > 1:
            raise InputError(f"--out {out} is one file and the store has the rounds {', '.join(map(repr, names))}; "
                             "choose one by --study")
        for each in rounds:
            _check_metric(each, metric)
        if csv:
            opened.export_csv(csv, metric)
    console = PipeConsole()
    for each in rounds:
        page = out or _report_path(store, each.plan.name, metric)
        if metric:
            each = replace(each, plan=replace(each.plan, metric=metric))
        conclude(each, store, page, console, launching=metric is None)
    return 0


def _round_of(store: Store, name: str) -> str:
    """Return the name of the round that is called `name`, or whose study is: "optimizer=adam", with or without plan."""
    names = [info.name for info in store.rounds()]
    if name not in names:
        owners = [each for each in names for study in store.load_round(each).studies
                  if name in (study.name, study.name.partition("/")[2])]
        if len(owners) == 1:
            return owners[0]
    return name


def _nothing_completed(done: Round, page: Path) -> int:
    """Return the exit code of a run: 1, with the reason on standard error, where trials failed and none completed."""
    trials = [trial for study in done.studies for trial in study.trials]
    failed = [trial for trial in trials if trial.state is State.FAILED]
    if not failed or any(trial.feasible for trial in trials):
        return 0
    first = failed[0]
    last = (first.reason.strip().splitlines() or ["no reason"])[-1]
    print(f"refplay: no trial is complete, {len(failed)} of {len(trials)} failed; trial {first.number} of "
          f"{first.study}: {last}; the traceback is in {page}; mend it, then: --retry-failed", file=sys.stderr)
    return 1


def conclude(done: Round, store: Path, path: Path, console: Console, *, test: float | None = None,
             launching: bool = True) -> None:
    """Learn from a finished round, consider a launch, write the report to `path` and print its short form.

    `launching` is False where a round is judged by another metric than it was planned for: what is found so is an
    insight, and the plan's own decision stands.
    """
    from refplay.analysis import learn
    from refplay.analysis.adoption import compare, standing
    from refplay.procedures.rounds import launch
    from refplay.report import print_report, write_report

    findings, decision = learn(done), compare(done)
    launched = launch(done, store, test_error=test) if launching else None
    recorded = launched[0] if launched else None
    if recorded:
        test = recorded.evidence["test_error"]  # a report made again later tells it too, without measuring it again
    write_report(done, findings, decision, path, store=store, test=test, launch=recorded)
    print_report(done, findings, decision, console, test=test, launch=recorded)
    if launching and not recorded and standing(done, decision):
        console.print("launch   not recorded: the store can only be read", highlight=False)
    console.print(f"report   {path}\nstore    {store}", highlight=False, soft_wrap=True, markup=False)


def _report_path(store: Path, name: str, metric: str | None = None) -> Path:
    # One store may hold several rounds; a report belongs to one of them, and the plan's metric to the report.
    stem = (name if name == store.stem else f"{store.stem}-{name}") + (f"-{metric}" if metric else "")
    beside = store.with_name(f"{stem.replace('/', '_')}.html")
    return beside if os.access(beside.parent, os.W_OK) else Path.cwd() / beside.name


def _check_metric(done: Round, metric: str | None) -> None:
    reported = sorted({name for study in done.studies for trial in study.trials for name in trial.curves})
    if metric and metric not in reported:
        raise InputError(f"no trial of {done.plan.name!r} reported {metric!r}; "
                         f"there is: {', '.join(reported) or 'nothing'}")

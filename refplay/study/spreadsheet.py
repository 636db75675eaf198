"""The experiment-tracking spreadsheet: a row for each study, with the files that it links to beside it.

Source: playbook, "Setting up experiment tracking".
"""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING

from refplay.errors import InputError
from refplay.study.plan_toml import dump_plan
from refplay.study.record import State, Study

if TYPE_CHECKING:
    from refplay.study.store import RoundInfo, Store

COLUMNS = ("study", "goal", "configuration", "notes", "trials", "complete", "infeasible", "failed", "unfinished",
           "metric", "best", "best_trial", "best_step", "best_params", "reruns", "rerun_mean", "rerun_sd",
           "launch", "decision", "reproduce", "revision", "uncommitted_changes", "refplay", "created")


def write_csv(store: Store, path: Path, metric: str | None = None) -> None:
    """Write a row for each study of `store` to the CSV file `path`.

    Beside it, for each round, lie its plan (column `configuration`) and, where there were any, the uncommitted changes
    of the checkout that it was run from (column `uncommitted_changes`), so that the rows can be reproduced. The results
    are of `metric`, where one is given, instead of the plan's.

    Raises
    ------
    InputError
        A path that cannot be written.
    """
    if not path.parent.is_dir():
        raise InputError(f"{path} cannot be written: there is no folder {path.parent}; create it first")
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(COLUMNS)
    for info in store.rounds():
        round_ = store.load_round(info.name)
        stem = f"{path.stem}.{store.folder(info.name).name}"
        _write(path.with_name(f"{stem}.toml"), dump_plan(round_.plan))
        changes = ""
        if info.changes:
            changes = f"{stem}.patch"
            _write(path.with_name(changes), info.changes)
        for study in round_.studies:
            writer.writerow([study.name, info.goal, f"{stem}.toml", round_.plan.notes,
                             *_results(study, metric or round_.plan.metric), *_launch(store, study),
                             *_origin(info, changes)])
    _write(path, table.getvalue())


def _results(study: Study, metric: str) -> list[object]:
    counts = [sum(trial.state is state for trial in study.trials)
              for state in (State.COMPLETE, State.INFEASIBLE, State.FAILED)]
    unfinished = len(study.trials) - sum(counts)
    best = next(iter(study.ranked(metric)), None)
    at = best.best(metric) if best else None
    found = [at.value, best.number, at.step, json.dumps(best.params)] if best and at else [""] * 4
    again = [at.value for trial in study.reruns if best and trial.number == best.number and trial.feasible
             and (at := trial.best(metric))]
    spread = [len(again), mean(again) if again else "", stdev(again) if len(again) > 1 else ""]
    return [len(study.trials), *counts, unfinished, metric, *found, *spread]


def _launch(store: Store, study: Study) -> list[str]:
    """Return what became of the configuration of `study` that was last considered, and the decision in words."""
    considered = [launch for launch in store.launches() if launch.study == study.name][-1:]
    return [text for launch in considered for text in (f"trial {launch.number} " + (
        "adopted" if launch.adopted else "not adopted"), launch.decision)] or ["", ""]


def _origin(info: RoundInfo, changes: str) -> list[str]:
    return [info.command, info.revision, changes, info.version, info.created]


def _write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8", newline="")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise InputError(f"{path} cannot be written: {error.strerror}; give a path in a folder that can be") from None

"""The store: one SQLite file that holds every round, trial, curve and launch, and that several processes write at once.

A trial belongs to whoever claims it first; a claim and a result are one transaction each, so whatever is killed when,
the file holds whole trials only. Everything that a reader needs comes back as the values of `refplay.study.record`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from refplay.errors import InputError
from refplay.study.checks import did_you_mean
from refplay.study.plan import Plan
from refplay.study.plan_toml import dump_plan, parse_plan
from refplay.study.provenance import now, provenance
from refplay.study.record import Curve, Round, State, Study, TrialRecord
from refplay.study.schema import connect, mended, read_only, transaction

FINISHED = "state IN ('complete', 'infeasible', 'failed')"  # SQL


class RoundInfo(NamedTuple):
    """A line about a stored round."""

    name: str
    goal: str
    created: str
    studies: int
    trials: int  # reruns included
    finished: int
    objective: str
    command: str
    version: str
    revision: str
    changes: str


class Launch(NamedTuple):
    """A decision about a new best configuration, taken or not, with its evidence and what it replaces."""

    id: int
    round: str
    study: str
    number: int
    params: dict[str, Any]
    adopted: bool
    decision: str
    evidence: dict[str, Any]
    predecessor: int | None  # the launch whose configuration was the best until then
    created: str


class Store:
    """An open store; use it as a context manager.

    Parameters
    ----------
    path : str or Path
        The SQLite file.
    create : bool
        Whether to make it where it is missing. Without, a store that cannot be written is opened to be read.

    Attributes
    ----------
    read_only : bool
        Whether it can only be read.

    Raises
    ------
    InputError
        Here and from every method: a file that is missing, damaged, read-only, of a newer refplay or of another
        program, a full disk. What was stored stays as it was.
    """

    def __init__(self, path: str | Path, *, create: bool = False) -> None:
        self.path = Path(path).absolute()
        self._db = connect(self.path, create=create)
        self.read_only = not create and read_only(self.path)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        with mended(self.path):
            self._db.close()

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with mended(self.path):
            return self._db.execute(sql, values).fetchall()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is stored, or nothing."""
        with mended(self.path), transaction(self._db):
            yield self._db

    def rounds(self) -> list[RoundInfo]:
        """Return a line about each round, oldest first."""
        rows = self.rows(f"""
            SELECT rounds.name, plan, created, count(DISTINCT studies.id), count(trials.id), total({FINISHED}),
                   objective, command, version, revision, changes
            FROM rounds LEFT JOIN studies ON studies.round = rounds.id LEFT JOIN trials ON trials.study = studies.id
            GROUP BY rounds.id ORDER BY rounds.id""")
        return [RoundInfo(name, self._plan(name, plan).goal, created, studies, trials, int(finished), *rest)
                for name, plan, created, studies, trials, finished, *rest in rows]

    def load_round(self, name: str) -> Round:
        """Return the round `name` with all its trials and curves as they stand now."""
        round_id, plan, _ = self.find_round(name)
        specs = plan.studies()
        studies = []
        for study_id, place in self.rows("SELECT id, place FROM studies WHERE round = ? ORDER BY place", [round_id]):
            spec = specs[place]
            records = self._records(study_id, spec.name)
            studies.append(Study(spec.name, spec.scientific, spec.space, tuple(r for r in records if r.rerun == 0),
                                 tuple(r for r in records if r.rerun > 0)))
        return Round(plan, tuple(studies))

    def find_round(self, name: str) -> tuple[int, Plan, str]:
        """Return the row, the plan and the objective of the round `name`."""
        rows = self.rows("SELECT id, plan, objective FROM rounds WHERE name = ?", [name])
        if not rows:
            names = [known for (known,) in self.rows("SELECT name FROM rounds")]
            raise InputError(f"store {self.path} has no round {name!r}{did_you_mean(name, names)}")
        round_id, plan, objective = rows[0]
        return round_id, self._plan(name, plan), objective

    def has_round(self, name: str) -> bool:
        return bool(self.rows("SELECT 1 FROM rounds WHERE name = ?", [name]))

    def _plan(self, name: str, text: str) -> Plan:
        try:
            return parse_plan(text)
        except InputError as error:
            raise InputError(f"store {self.path}, round {name!r}: {error}") from None

    def _records(self, study_id: int, study: str) -> list[TrialRecord]:
        curves: dict[int, dict[str, Curve]] = {}
        for trial, metric, steps, values in self.rows(
                "SELECT trial, metric, steps, vals FROM curves JOIN trials ON trials.id = trial WHERE study = ? "
                "ORDER BY curves.rowid", [study_id]):
            curve = Curve(np.frombuffer(steps, "<i8").astype(np.int64), np.frombuffer(values, "<f8").astype(np.float64))
            curves.setdefault(trial, {})[metric] = curve
        return [TrialRecord(study, number, json.loads(params), State(state), seed, curves.get(trial, {}), reason, rerun,
                            float("nan") if seconds is None else seconds,
                            str(self.trial_folder(study, number, rerun)) if has_folder else "")
                for trial, number, rerun, seed, params, state, reason, seconds, has_folder in self.rows(
                    "SELECT id, number, rerun, seed, params, state, reason, seconds, has_folder FROM trials "
                    "WHERE study = ? ORDER BY rerun, number", [study_id])]

    def folder(self, name: str) -> Path:
        """Return the folder of a round or study: beside the store, whatever characters the name has."""
        return self.path.with_suffix(".trials").joinpath(*map(_file_name, name.split("/", 1)))

    def trial_folder(self, study: str, number: int, rerun: int = 0) -> Path:
        """Return the folder of a trial; it exists once the trial has used it."""
        return self.folder(study) / (f"{number}-rerun{rerun}" if rerun else str(number))

    def create_round(self, plan: Plan, objective: str, trials: Sequence[Sequence[dict[str, Any]]]) -> int:
        """Record `plan` with its studies and their pending trials (all or nothing) and return its row.

        Where the store has a round of that name, it is checked against `plan`; its notes are replaced, and its reruns
        by a larger number.
        """
        origin = provenance()  # before the store is locked: git takes its time
        with self.writing() as db:
            if self.has_round(plan.name):
                round_id = self.check_round(plan, objective)
                db.execute("UPDATE rounds SET plan = ? WHERE id = ?", [dump_plan(plan), round_id])
                return round_id
            folder = self.folder(plan.name)
            if folder.exists():  # a trial would go on from the checkpoints of another one
                raise InputError(f"folder {folder} has files of a round that store {self.path} does not know; remove "
                                 "it, or give the plan another name")
            round_id = _insert(db, "rounds", name=plan.name, plan=dump_plan(plan), objective=objective,
                               **origin._asdict())
            for spec, params in zip(plan.studies(), trials, strict=True):
                study_id = _insert(db, "studies", round=round_id, place=spec.index, name=spec.name)
                for number, values in enumerate(params):
                    _insert(db, "trials", study=study_id, number=number, seed=spec.trial_seed(number),
                            params=json.dumps(values))
        return round_id

    def check_round(self, plan: Plan, objective: str) -> int:
        """Return the row of the round of that name; InputError where it was made by another plan or objective."""
        round_id, stored, stored_objective = self.find_round(plan.name)
        for field in fields(Plan):
            # The text, not ==: 1 is not 1.0 or True here, and the order of names decides about the search points.
            before, after = repr(getattr(stored, field.name)), repr(getattr(plan, field.name))
            if field.name == "reruns" and plan.reruns > stored.reruns:
                continue  # more repetitions are added to those that there are
            if before != after and field.name not in ("notes", "objective"):
                raise InputError(f"store {self.path} has a round {plan.name!r} with another {field.name} ({before}, "
                                 f"not {after}); give the changed plan another name")
        if objective != stored_objective:
            raise InputError(f"store {self.path} has a round {plan.name!r} with another objective ({stored_objective}, "
                             f"not {objective}); give the changed plan another name")
        return round_id

    def record_launch(self, round_name: str, *, study: str, number: int, adopted: bool, decision: str,
                      evidence: dict[str, Any]) -> Launch:
        """Record the decision about a trial's configuration, with its evidence and the launch that it would replace.

        Source: playbook, "The incremental tuning strategy".
        """
        round_id, _, _ = self.find_round(round_name)
        rows = self.rows("SELECT params FROM trials JOIN studies ON studies.id = study "
                          "WHERE round = ? AND name = ? AND number = ? AND rerun = 0", [round_id, study, number])
        if not rows:
            raise InputError(f"round {round_name!r} has no trial {number} of a study {study!r} to launch")
        with self.writing() as db:
            incumbent = db.execute("SELECT max(id) FROM launches WHERE adopted").fetchone()[0]
            _insert(db, "launches", round=round_id, study=study, number=number, params=rows[0][0], adopted=adopted,
                    decision=decision, evidence=json.dumps(evidence, default=_plain), predecessor=incumbent,
                    created=now())
        return self.launches()[-1]

    def launches(self) -> list[Launch]:
        """Return every decision, oldest first; the last adopted one is the best configuration."""
        rows = self.rows("SELECT launches.id, name, study, number, params, adopted, decision, evidence, predecessor, "
                         "launches.created FROM launches JOIN rounds ON rounds.id = round ORDER BY launches.id")
        return [Launch(launch, name, study, number, json.loads(params), bool(adopted), decision, json.loads(evidence),
                       predecessor, created)
                for launch, name, study, number, params, adopted, decision, evidence, predecessor, created in rows]

    def export_csv(self, path: str | Path, metric: str | None = None) -> None:
        """Write the tracking spreadsheet: a row for each study of the store; see `refplay.study.spreadsheet`."""
        from refplay.study.spreadsheet import write_csv

        write_csv(self, Path(path), metric)


def _insert(db: sqlite3.Connection, table: str, **values: Any) -> int:
    marks = ", ".join("?" * len(values))
    row = db.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", list(values.values())).lastrowid
    assert row is not None
    return row


def _file_name(name: str) -> str:
    """Return a file name for any name, another one for each."""
    safe = re.sub(r"[^\w=,+@ .-]|^\.", lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), name)
    if len(safe.encode()) <= 150:  # of the 255 bytes that file systems give
        return safe
    return safe.encode()[:120].decode(errors="ignore") + "-" + hashlib.sha256(name.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"evidence holds a {type(value).__name__}: {value!r}")

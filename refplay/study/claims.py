"""The trials of a round as work that several runs share: claim one, finish it, take over those of a run that died."""

from __future__ import annotations

import json
import shutil
import sqlite3
import uuid
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from refplay.study.schema import mended
from refplay.study.store import FINISHED, Store
from refplay.study.trial import Outcome


class Claim(NamedTuple):
    """A trial that is ours to run."""

    id: int
    study: str
    number: int
    rerun: int
    seed: int
    params: dict[str, Any]


class Standing(NamedTuple):
    """Where a study stands."""

    study: str
    trials: int  # of its search
    searching: int  # those of them that have not finished
    best: float | None  # value of the best complete trial of its search
    reruns: int  # repetitions, finished or not
    finished: int  # of trials and repetitions
    unfinished: int


class Claims:
    """The trials of the round in row `round_id`, as seen by one run; close it when the run ends.

    A run proves that it is alive by a lock that the operating system drops when the process ends, however it ends.
    The lock is SQLite's own, on an empty file beside the store, so it works wherever the store does; a process number
    would not do, since it could belong to another process by now, or count in another container.
    """

    def __init__(self, store: Store, round_id: int, metric: str) -> None:
        self._store, self._round, self._metric = store, round_id, metric
        self.owner = uuid.uuid4().hex
        self._lock_path = _lock_path(store.path, self.owner)
        with mended(self._lock_path):
            self._lock = sqlite3.connect(self._lock_path, timeout=0, isolation_level=None)
            self._lock.execute("BEGIN EXCLUSIVE")

    def close(self) -> None:
        """Give up the lock: what is still claimed goes to whoever comes next."""
        self._lock.close()
        self._lock_path.unlink(missing_ok=True)

    def claim(self) -> Claim | None:
        """Make the next pending trial ours and return it; None where there is none."""
        with self._store.writing() as db:
            row = db.execute(
                "SELECT trials.id, name, number, rerun, seed, params FROM trials JOIN studies ON studies.id = study "
                "WHERE round = ? AND state = 'pending' ORDER BY place, rerun, number LIMIT 1", [self._round]).fetchone()
            if row is None:
                return None
            db.execute("UPDATE trials SET state = 'running', owner = ? WHERE id = ?", [self.owner, row[0]])
        *place, params = row
        return Claim._make([*place, json.loads(params)])

    def finish(self, claim: Claim, outcome: Outcome) -> None:
        """Store what became of a claimed trial; nothing where another run has taken it over."""
        finite = [value for value in outcome.curves.get(self._metric, ((), ()))[1] if np.isfinite(value)]
        with self._store.writing() as db:
            ours = db.execute(
                "UPDATE trials SET state = ?, reason = ?, seconds = ?, best = ?, has_folder = ?, owner = NULL "
                "WHERE id = ? AND owner = ?",
                [outcome.state, outcome.reason, outcome.seconds, min(finite, default=None), outcome.has_folder,
                 claim.id, self.owner]).rowcount
            if ours:
                db.executemany(
                    "INSERT INTO curves (trial, metric, steps, vals) VALUES (?, ?, ?, ?)",
                    [(claim.id, name, np.asarray(steps, "<i8").tobytes(), np.asarray(values, "<f8").tobytes())
                     for name, (steps, values) in outcome.curves.items()])

    def release(self) -> None:
        """Make what we have claimed and not finished pending again."""
        with self._store.writing() as db:
            db.execute("UPDATE trials SET state = 'pending', owner = NULL WHERE owner = ?", [self.owner])

    def take_over(self) -> None:
        """Make the trials of runs that died pending again; those of living runs are theirs."""
        others = self._store.rows("SELECT DISTINCT owner FROM trials JOIN studies ON studies.id = study "
                                  "WHERE round = ? AND state = 'running' AND owner != ?", [self._round, self.owner])
        for (other,) in others:
            if not _lives(_lock_path(self._store.path, other)):
                with self._store.writing() as db:
                    db.execute("UPDATE trials SET state = 'pending', owner = NULL WHERE owner = ?", [other])

    def add_reruns(self, place: int, number: int, seeds: Sequence[int]) -> None:
        """Add repetitions 1, 2, ... of a trial of the study at `place`; those that exist stay as they are."""
        with self._store.writing() as db:
            db.executemany(
                "INSERT OR IGNORE INTO trials (study, number, rerun, seed, params) SELECT study, number, ?, ?, params "
                "FROM trials JOIN studies ON studies.id = study "
                "WHERE round = ? AND place = ? AND number = ? AND rerun = 0",
                [(rerun, seed, self._round, place, number) for rerun, seed in enumerate(seeds, start=1)])

    def keep_reruns(self, place: int, numbers: Sequence[int]) -> bool:
        """Remove the repetitions of other trials than `numbers`, if any: one that was tried again is the best now."""
        others = ("FROM trials JOIN studies ON studies.id = study WHERE round = ? AND place = ? AND rerun > 0 "
                  "AND number NOT IN (SELECT value FROM json_each(?))")
        values = [self._round, place, json.dumps(list(numbers))]
        if not self._store.rows(f"SELECT 1 {others} LIMIT 1", values):
            return False
        with self._store.writing() as db:
            for trial, *where in db.execute(f"SELECT trials.id, name, number, rerun {others}", values).fetchall():
                shutil.rmtree(self._store.trial_folder(*where), ignore_errors=True)
                db.execute("DELETE FROM trials WHERE id = ?", [trial])  # its curves go with it
        return True

    def retry_failed(self) -> None:
        """Make every failed trial and repetition pending again, as if it had never begun."""
        with self._store.writing() as db:
            failed = db.execute("SELECT trials.id, name, number, rerun FROM trials JOIN studies ON studies.id = study "
                                "WHERE round = ? AND state = 'failed'", [self._round]).fetchall()
            for trial, *place in failed:
                shutil.rmtree(self._store.trial_folder(*place), ignore_errors=True)  # a checkpoint may have the bug
                db.execute("DELETE FROM curves WHERE trial = ?", [trial])
                db.execute("UPDATE trials SET state = 'pending', reason = '', seconds = NULL, best = NULL, "
                           "has_folder = 0 WHERE id = ?", [trial])

    def standings(self) -> list[Standing]:
        """Return where each study of the round stands, in the order of the plan."""
        return [Standing(*row) for row in self._store.rows(f"""
            SELECT name, sum(rerun = 0), sum(rerun = 0 AND NOT {FINISHED}),
                   min(best) FILTER (WHERE rerun = 0 AND state = 'complete'),
                   sum(rerun > 0), sum({FINISHED}), sum(NOT {FINISHED})
            FROM studies JOIN trials ON trials.study = studies.id
            WHERE round = ? GROUP BY studies.id ORDER BY place""", [self._round])]

    def best_numbers(self, place: int, names: Iterable[str]) -> list[int]:
        """Return the numbers of the best complete trials of the study at `place`: one for each combination of `names`.

        The trials are those that `Study.split` would call the best of its parts; without names, the best of all.
        """
        found: dict[str, int] = {}
        for number, params in self._store.rows(
                "SELECT number, params FROM trials JOIN studies ON studies.id = study WHERE round = ? AND place = ? "
                "AND rerun = 0 AND state = 'complete' ORDER BY best, number", [self._round, place]):
            values = json.loads(params)
            found.setdefault(repr([values.get(name) for name in names]), number)
        return list(found.values())

    def forget_untouched(self) -> None:
        """Remove the round and its folder if no trial of it has finished and no other run works on it."""
        with self._store.writing() as db:
            touched = db.execute(f"SELECT count(*) FROM trials JOIN studies ON studies.id = study WHERE round = ? AND "
                                 f"({FINISHED} OR (state = 'running' AND owner != ?))", [self._round, self.owner])
            if touched.fetchone()[0]:
                return
            (name,) = db.execute("SELECT name FROM rounds WHERE id = ?", [self._round]).fetchone()
            db.execute("DELETE FROM rounds WHERE id = ?", [self._round])
        folder = self._store.folder(name)
        shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):  # other rounds have folders there too
            folder.parent.rmdir()


def _lock_path(store: Path, owner: str) -> Path:
    return store.with_name(f"{store.name}-run-{owner}")


def _lives(lock: Path) -> bool:
    """Return whether a run holds this lock; tidy up after a dead one."""
    if not lock.exists():
        return False
    with closing(sqlite3.connect(lock, timeout=0, isolation_level=None)) as db:
        try:
            db.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            return True
    lock.unlink(missing_ok=True)
    return False

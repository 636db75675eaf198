"""The SQLite file behind a store: its tables, how it is opened, and what its errors mean to a person."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from refplay.errors import InputError

APPLICATION_ID = 0x52504C59  # "RPLY" in the header of the file: this SQLite database is a refplay store
VERSION = 1
PATIENCE = 30.0  # seconds to wait for a lock that another process holds for milliseconds

_TABLES = """
CREATE TABLE rounds (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    plan TEXT NOT NULL,                 -- TOML
    objective TEXT NOT NULL,            -- module:function
    created TEXT NOT NULL,              -- ISO 8601, UTC
    command TEXT NOT NULL,              -- what reproduces the round
    version TEXT NOT NULL,              -- of refplay
    revision TEXT NOT NULL,             -- git commit of the working directory, '' outside a checkout
    changes TEXT NOT NULL               -- its uncommitted changes
);
CREATE TABLE studies (
    id INTEGER PRIMARY KEY,
    round INTEGER NOT NULL REFERENCES rounds ON DELETE CASCADE,
    place INTEGER NOT NULL,             -- in the plan
    name TEXT NOT NULL,
    UNIQUE (round, place)
);
CREATE TABLE trials (
    id INTEGER PRIMARY KEY,
    study INTEGER NOT NULL REFERENCES studies ON DELETE CASCADE,
    number INTEGER NOT NULL,
    rerun INTEGER NOT NULL DEFAULT 0,
    seed INTEGER NOT NULL,
    params TEXT NOT NULL,               -- JSON
    state TEXT NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'running', 'complete', 'infeasible', 'failed')),
    owner TEXT,                         -- the run that works on it
    reason TEXT NOT NULL DEFAULT '',
    seconds REAL,
    best REAL,                          -- lowest value of the plan's metric, so that a listing reads no curves
    has_folder INTEGER NOT NULL DEFAULT 0,
    UNIQUE (study, number, rerun)
);
CREATE TABLE curves (
    trial INTEGER NOT NULL REFERENCES trials ON DELETE CASCADE,
    metric TEXT NOT NULL,
    steps BLOB NOT NULL,                -- int64, little-endian
    vals BLOB NOT NULL,                 -- float64, little-endian
    PRIMARY KEY (trial, metric)
);
CREATE TABLE launches (
    id INTEGER PRIMARY KEY,
    round INTEGER NOT NULL REFERENCES rounds,
    study TEXT NOT NULL,
    number INTEGER NOT NULL,            -- the trial that was considered
    params TEXT NOT NULL,               -- JSON: the best configuration, if adopted
    adopted INTEGER NOT NULL,
    decision TEXT NOT NULL,             -- in words
    evidence TEXT NOT NULL,             -- JSON
    predecessor INTEGER REFERENCES launches,
    created TEXT NOT NULL
);
"""


def connect(path: Path, *, create: bool) -> sqlite3.Connection:
    """Open the store at `path`, or create it; InputError where there is none, or a file that must be left alone."""
    existed = path.exists()
    if not existed and not create:
        raise InputError(f"there is no store {path}; give the path of one that `refplay run` made")
    if path.is_dir():
        raise InputError(f"store {path} is a folder; give the path of a file")
    if existed and not _may_be_store(path, create):
        raise InputError(f"{path} is not a refplay store; give another path")
    if not path.parent.is_dir():
        raise InputError(f"store {path}: there is no folder {path.parent}; create it first")
    try:
        with mended(path):
            return _open(path, create) if create or not read_only(path) else _open_to_read(path)
    except InputError:
        if not existed:  # nothing half-written stays behind
            for leftover in (path, Path(f"{path}-journal"), Path(f"{path}-wal"), Path(f"{path}-shm")):
                with suppress(OSError):
                    leftover.unlink()
        raise


def read_only(path: Path) -> bool:
    """Return whether nobody like us can write the store that is at `path`, or make files beside it."""
    return not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))


def _open_to_read(path: Path) -> sqlite3.Connection:
    address = f"file:{quote(str(path))}?mode=ro"
    try:
        return _checked(sqlite3.connect(address, timeout=PATIENCE, isolation_level=None, uri=True), path)
    except sqlite3.OperationalError as error:
        # The files of write-ahead logging are not there and cannot be made. With nothing in a log, all is in `path`.
        log = Path(f"{path}-wal")
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            raise
        if log.exists() and log.stat().st_size:
            raise InputError(f"store {path} is read-only, and {log.name} holds results that are not in it yet; copy "
                             "both to a folder that can be written") from None
    return _checked(sqlite3.connect(f"{address}&immutable=1", isolation_level=None, uri=True), path)


def _checked(db: sqlite3.Connection, path: Path) -> sqlite3.Connection:
    try:
        with transaction(db, "DEFERRED"):
            _check(db, path, create=False)
        return db
    except BaseException:
        db.close()
        raise


def _may_be_store(path: Path, create: bool) -> bool:
    # SQLite would take a file of a few bytes for an empty database and write over it.
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise InputError(f"store {path} cannot be read: {error.strerror}") from None
    return start == b"SQLite format 3\0" or (create and not start)


def _open(path: Path, create: bool) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)
    try:
        with transaction(db, "DEFERRED"):
            empty = _check(db, path, create) == 0
        if empty:
            with transaction(db):
                if _check(db, path, create) == 0:  # unless another process has just created the tables
                    _create(db)
        _write_ahead(db)
        db.execute("PRAGMA foreign_keys = ON")
        # In WAL mode this survives every crash of a process; a power cut may lose the last trials, never the file.
        db.execute("PRAGMA synchronous = NORMAL")
        return db
    except BaseException:
        db.close()
        raise


def _check(db: sqlite3.Connection, path: Path, create: bool) -> int:
    """Return the version of the schema, 0 for an empty file that may become a store; refuse anything else.

    To be called in a transaction: another process that creates the tables between two reads would make the file look
    like one of another program.
    """
    application, version = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
    tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if create and (application, version, tables) == (0, 0, 0):
        return 0
    if application != APPLICATION_ID:
        raise InputError(f"{path} is not a refplay store but a database of another program; give another path")
    if version > VERSION:
        raise InputError(f"store {path} was written by a newer refplay (schema {version}, this one knows {VERSION}); "
                         "upgrade: python -m pip install -U refplay")
    return int(version)


def _create(db: sqlite3.Connection) -> None:
    for statement in _TABLES.split(";\n"):
        if statement.strip():
            db.execute(statement)
    db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    db.execute(f"PRAGMA user_version = {VERSION}")


def _write_ahead(db: sqlite3.Connection) -> None:
    # SQLite does not wait for the lock that this change needs, so we do.
    deadline = time.monotonic() + PATIENCE
    while db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


@contextmanager
def transaction(db: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    """A transaction; what it has read stays true until it commits.

    "IMMEDIATE" holds the write lock from the start; "DEFERRED" is one that only reads, always the same state.
    """
    db.execute(f"BEGIN {kind}")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


_DAMAGED = "is damaged; restore it from a copy, or give another path"
_LOCKED = f"is locked by another process for more than {PATIENCE:.0f} s; wait for it and resume"
# What SQLite says (primary result code), and what a person can do about it.
_MENDS = {
    sqlite3.SQLITE_NOTADB: "is not a refplay store, or is damaged; give another path, or restore it from a copy",
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_READONLY: "is read-only; give a path that can be written",
    sqlite3.SQLITE_PERM: "must not be written; give a path that can be",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened; check that its folder exists and can be written",
    sqlite3.SQLITE_FULL: "cannot grow: the disk is full; free some space and resume, what is stored is safe",
    sqlite3.SQLITE_IOERR: "cannot be written: the disk is full or failing; mend that and resume, all stored is safe",
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
}


@contextmanager
def mended(path: Path) -> Iterator[None]:
    """Turn what can go wrong with a file into an InputError that names it and the mend; a bug stays what it is."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        mend = _MENDS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
        if "no such table" in str(error):
            mend = _DAMAGED
        if mend is None:
            raise
        raise InputError(f"store {path} {mend} (SQLite: {error})") from error

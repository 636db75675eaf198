"""Files that are no store, folders that cannot be written, disks that are full: named, and left alone."""

import os
import re
import shutil
import sqlite3
import tempfile
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path

import pytest

from refplay.errors import InputError
from refplay.study.claims import Claims
from refplay.study.store import Store


def no_store(path):
    path.unlink()


def garbage(path):
    path.write_bytes(b"this is a text, and longer than the header of a database: " * 30)


def short_garbage(path):
    path.write_bytes(b"x")


def cut(path):
    path.write_bytes(path.read_bytes()[:2 * 4096 + 100])


def holes(path):
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)


def newer(path):
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")


def another_program(path):
    path.unlink()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE trials (id)")


def a_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(("harm", "message"), [
    (garbage, "not a refplay store"), (short_garbage, "not a refplay store"), (cut, "damaged"), (holes, "damaged"),
    (newer, "newer refplay (schema 99, this one knows 1); upgrade"), (another_program, "another program"),
    (a_folder, "is a folder"), (no_store, "no store"),
])
@pytest.mark.parametrize("create", [False, True])
def test_a_file_that_is_no_store_is_named_and_left_alone(filled, plan, harm, message, create):
    harm(filled)
    before = filled.read_bytes() if filled.is_file() else None
    with pytest.raises(InputError) as caught, Store(filled, create=create and harm is not no_store) as store:
        store.load_round(plan.name)
    assert message in str(caught.value)
    assert str(filled) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (filled.read_bytes() if filled.is_file() else None) == before


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(InputError, match=r"there is no folder .*nowhere; create it"):
        Store(tmp_path / "nowhere" / "runs.db", create=True)


def test_a_folder_that_cannot_be_written(tmp_path):
    with pytest.raises(InputError, match=r"/proc/runs\.db cannot be opened"):
        Store("/proc/runs.db", create=True)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(InputError, match="there is no folder"):
        Store(blocked / "runs.db", create=True)


def _write_as_a_guest(path, plan, answers):
    if os.geteuid() == 0:
        os.setuid(65534)  # permissions do not bind root
    try:
        with Store(path, create=True) as store:
            store.create_round(plan, "m:f", [spec.params() for spec in plan.studies()])
    except InputError as error:
        answers.put(str(error))
    except BaseException as error:
        answers.put(repr(error))
    else:
        answers.put("written")


@pytest.mark.parametrize(("name", "message"), [
    ("runs.db", r"store .*/runs\.db (is read-only|cannot be opened)"),
    ("new.db", r"store .*/new\.db cannot be opened"),
])
def test_permissions(filled, make_plan, name, message):
    with tempfile.TemporaryDirectory() as folder:  # pytest's own lies where no guest may enter
        guarded = Path(folder)
        shutil.copy(filled, guarded / "runs.db")
        (guarded / "runs.db").chmod(0o444)
        guarded.chmod(0o555)
        before = (guarded / "runs.db").read_bytes()
        context = get_context("fork")  # this file is not importable by name
        answers = context.Queue()
        guest = context.Process(target=_write_as_a_guest, args=(guarded / name, make_plan(name="other"), answers))
        guest.start()
        assert re.match(message, answers.get(timeout=60))
        guest.join()
        assert (guarded / "runs.db").read_bytes() == before
        assert [path.name for path in guarded.iterdir()] == ["runs.db"]
        guarded.chmod(0o755)


def test_a_full_disk_leaves_the_store_readable(filled, plan, make_outcome):
    with Store(filled) as store:
        pages = store.rows("PRAGMA page_count")[0][0]
        store.rows(f"PRAGMA max_page_count = {pages + 3}")
        with closing(Claims(store, 1, "valid_error")) as claims:
            big = make_outcome(curves={"valid_error": (list(range(9000)), [0.5] * 9000)})
            claim = claims.claim()
            with pytest.raises(InputError, match=r"disk is full.*resume"):
                claims.finish(claim, big)
            assert [s.finished for s in claims.standings()] == [3, 0]
            store.rows("PRAGMA max_page_count = 100000")
            claims.finish(claim, big)
    with Store(filled) as store:
        assert store.rows("PRAGMA integrity_check") == [("ok",)]
        assert store.load_round(plan.name).studies[0].trials[claim.number].curves["valid_error"].steps.size == 9000


def test_an_unknown_round_is_named_with_the_nearest(filled):
    message = "no round 'slow-or-fsat'; did you mean 'slow-or-fast'"
    with Store(filled) as store, pytest.raises(InputError, match=message):
        store.load_round("slow-or-fsat")

"""Reports on what is stored: by another metric, from a store that cannot be written, of a round where all failed."""

import csv
import ctypes
import html
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from refplay.cli import main
from refplay.study.store import Store

PLAN = """
name = "levels"
goal = "Which level?"
objective = "stored_levels:train"
trials = 3
steps = 3
reruns = 3
[scientific]
level = [0.25, 0.5]
[nuisance]
rate = { uniform = [0.0, 1.0] }
"""
TRAIN = """
def train(trial):
    noise = 0.01 * trial.generator("noise").random()
    trial.report(1, valid_error=trial["level"] + noise, train_loss=2 - trial["level"] + noise)
"""
BROKEN = "def train(trial):\n    raise KeyError('lerning_rate')\n"


def refplay(folder: Path, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "refplay", *arguments], cwd=folder, capture_output=True, text=True,
                          check=False, timeout=120, **options)


def write(folder: Path, train: str) -> Path:
    (folder / "plan.toml").write_text(PLAN)
    (folder / "stored_levels.py").write_text(train)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write(tmp_path_factory.mktemp("made"), TRAIN)
    done = refplay(folder, "run", "plan.toml", "--workers", "1")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_another_metric_has_a_page_and_a_table_of_its_own(folder: Path) -> None:
    before = (folder / "levels.html").read_bytes()
    assert main(["report", "levels.db", "--metric", "train_loss", "--csv", "t.csv"]) == 0
    assert (folder / "levels.html").read_bytes() == before
    assert "train_loss" in (folder / "levels-train_loss.html").read_text(encoding="utf-8")
    low, high = rows(folder / "t.csv")
    assert {low["metric"], high["metric"]} == {"train_loss"}
    assert 1.75 <= float(low["best"]) < 1.77
    assert 1.5 <= float(high["best"]) < 1.52


def test_the_spreadsheet_has_the_repetitions(folder: Path) -> None:
    assert main(["report", "levels.db", "--csv", "t.csv", "--out", "page.html"]) == 0
    assert (folder / "page.html").exists()
    with Store("levels.db") as store:
        studies = store.load_round("levels").studies
    for row, study in zip(rows(folder / "t.csv"), studies, strict=True):
        values = [trial.curves["valid_error"].values.min() for trial in study.reruns]
        assert row["reruns"] == "3"
        assert np.isclose(float(row["rerun_mean"]), np.mean(values), rtol=1e-12)
        assert np.isclose(float(row["rerun_sd"]), np.std(values, ddof=1), rtol=1e-9)
        assert (row["launch"] != "") == (study.scientific["level"] == 0.25)  # the best one was considered
        assert (row["decision"] != "") == (row["launch"] != "")
        assert json.loads(row["best_params"])["level"] == study.scientific["level"]


@pytest.mark.parametrize("name", ["level=0.25", "levels/level=0.25", "levels"])
def test_a_study_stands_for_its_round(folder: Path, name: str) -> None:
    (folder / "levels.html").unlink()
    assert main(["report", "levels.db", "--study", name]) == 0
    assert (folder / "levels.html").exists()


def test_a_spreadsheet_in_no_folder_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "levels.db", "--csv", "nodir/t.csv"]) == 2
    assert "nodir/t.csv cannot be written: there is no folder nodir" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == "refplay 0.1.0\n"


# A store that can only be read


@pytest.fixture
def shared(made: Path) -> Iterator[Path]:
    """A folder that everybody may read and nobody may write; reports go to its folder `mine`."""
    top = Path(tempfile.mkdtemp(prefix="refplay-read-only-"))
    store = top / "store"
    store.mkdir()
    shutil.copy(made / "levels.db", store)
    mine = top / "mine"
    mine.mkdir()
    for path, mode in ((top, 0o755), (store / "levels.db", 0o444), (store, 0o555), (mine, 0o777)):
        path.chmod(mode)
    yield top
    for path in (store, store / "levels.db"):
        path.chmod(0o755)
    shutil.rmtree(top)


def obey_permissions() -> None:
    """Give up CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, by which permissions mean nothing to the superuser."""
    if os.getuid() == 0:
        for capability in (1, 2):
            assert ctypes.CDLL(None, use_errno=True).prctl(24, capability, 0, 0, 0) == 0  # PR_CAPBSET_DROP


@pytest.mark.parametrize("launched", [True, False])
def test_a_read_only_store_is_reported_on_without_a_trace(shared: Path, launched: bool) -> None:
    store = shared / "store" / "levels.db"
    if not launched:
        store.parent.chmod(0o755)
        store.chmod(0o644)
        with Store(store) as opened, opened.writing() as db:
            db.execute("DELETE FROM launches")
        store.chmod(0o444)
        store.parent.chmod(0o555)
    before = store.read_bytes()
    done = refplay(shared / "mine", "report", str(store), preexec_fn=obey_permissions)
    assert (done.returncode, done.stderr) == (0, "")
    assert (shared / "mine" / "levels.html").exists()
    assert ("not recorded: the store can only be read" in done.stdout) == (not launched)
    assert store.read_bytes() == before
    assert [path.name for path in store.parent.iterdir()] == ["levels.db"]
    (shared / "mine" / "plan.toml").write_text(PLAN.replace("reruns = 3", "reruns = 4"))
    (shared / "mine" / "stored_levels.py").write_text(TRAIN)
    refused = refplay(shared / "mine", "run", "plan.toml", "--store", str(store), "--resume",
                      preexec_fn=obey_permissions)
    assert refused.returncode == 2
    assert "levels.db" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


# A round in which all trials fail


def test_a_round_that_failed_says_so_and_goes_on_when_it_is_mended(tmp_path: Path) -> None:
    write(tmp_path, BROKEN)
    for arguments in ((), ("--resume",)):
        done = refplay(tmp_path, "run", "plan.toml", "--workers", "1", *arguments)
        assert done.returncode == 1
        line = done.stderr.strip()
        assert "\n" not in line
        assert "6 of 6 failed" in line
        assert "KeyError: 'lerning_rate'" in line
        assert "the traceback is in levels.html" in line
        assert 'stored_levels.py", line 2, in train' in html.unescape((tmp_path / "levels.html").read_text("utf-8"))
    write(tmp_path, TRAIN)
    done = refplay(tmp_path, "run", "plan.toml", "--workers", "1", "--retry-failed")
    assert (done.returncode, done.stderr) == (0, "")
    with Store(tmp_path / "levels.db") as store:
        assert all(trial.feasible for study in store.load_round("levels").studies for trial in study.trials)

"""What a user gets wrong: one line that names the thing and the mend, exit code 2, nothing half-written."""

import gzip
import os
import resource
import sqlite3
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from refplay.cli import main

PLAN = """
name = "tiny"
goal = "Does it stop before it starts?"
objective = "classifier"
trials = 2
steps = 3
reruns = 0
[nuisance]
learning_rate = { log_uniform = [1e-3, 1e-1] }
[fixed]
width = 4
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """Run the command line, check that it refuses as it should, and return its one line."""
    assert main(argv) == 2
    printed = capsys.readouterr().err.strip()
    assert printed.startswith("refplay: ")
    assert "\n" not in printed
    return printed


def plan_file(folder: Path, text: str) -> str:
    (folder / "plan.toml").write_text(text)
    return "plan.toml"


BAD_PLANS = {
    "unknown key": (PLAN.replace("trials =", "trails ="), ["trails", "trials"]),
    "reversed range": (PLAN.replace("[1e-3, 1e-1]", "[1e-1, 1e-3]"), ["learning_rate", "low < high"]),
    "empty range": (PLAN.replace("[1e-3, 1e-1]", "[1e-1, 1e-1]"), ["learning_rate", "low < high"]),
    "log scale over zero": (PLAN.replace("[1e-3, 1e-1]", "[0.0, 1e-1]"), ["learning_rate", "low > 0"]),
    "length as hyperparameter": (PLAN.replace("learning_rate", "max_train_steps"), ["max_train_steps", "steps"]),
    "duplicate names": (PLAN + "width = 8\n", ["plan.toml"]),
    "name in two roles": (PLAN + "learning_rate = 0.1\n", ["learning_rate"]),
    "no such objective": (PLAN.replace('"classifier"', '"nowhere:train"'), ["nowhere"]),
    "no such built-in": (PLAN.replace('"classifier"', '"clasifier"'), ["clasifier", "classifier"]),
    "unused hyperparameter": (PLAN + "momentun = 0.9\n", ["momentun", "momentum"]),
    "unknown optimizer": (PLAN + 'optimizer = "adamax"\n', ["adamax", "nadam"]),
    "missing data folder": (PLAN + 'data = "no/such/folder"\n', ["no/such/folder"]),
    "batch larger than the data": (PLAN + "batch_size = 5000\n", ["5000", "1197"]),
    "not TOML": ("name = ", ["plan.toml"]),
}


@pytest.mark.parametrize("case", BAD_PLANS)
def test_bad_plan(case: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, named = BAD_PLANS[case]
    line = refused(capsys, "run", plan_file(folder, text))
    assert all(word in line for word in named), line
    assert sorted(path.name for path in folder.iterdir() if path.name != "__pycache__") == ["plan.toml"]


def write_idx(path: Path, values: np.ndarray, *, missing: int = 0, extra: int = 0) -> None:
    header = struct.pack(">HBB", 0, 8, values.ndim) + struct.pack(f">{values.ndim}I", *values.shape)
    content = header + values.astype(np.uint8).tobytes()
    with gzip.open(path, "wb") as file:
        file.write(content[: len(content) - missing] + bytes(extra))


def write_mnist(folder: Path, labels: np.ndarray, **damage: int) -> None:
    folder.mkdir()
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 6, 6))
    for part in ("train", "t10k"):
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", images, **(damage if part == "train" else {}))
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", labels)


def write_npz(folder: Path, x: np.ndarray, y: np.ndarray) -> None:
    folder.mkdir()
    np.savez(folder / "data.npz", x_train=x, y_train=y)


LABELS = np.arange(60) % 3
IMAGES = np.random.default_rng(1).random((60, 5), np.float32)
WITH_NAN = IMAGES.copy()
WITH_NAN[17, 2] = np.nan

BAD_DATA = {
    "truncated IDX": (lambda at: write_mnist(at, LABELS, missing=7), "data", ["train-images-idx3-ubyte.gz"]),
    "oversized IDX": (lambda at: write_mnist(at, LABELS, extra=5), "data", ["train-images-idx3-ubyte.gz"]),
    "label out of range": (lambda at: write_npz(at, IMAGES, LABELS - 1), "data/data.npz", ["y_train", "-1"]),
    "NaN in the data": (lambda at: write_npz(at, WITH_NAN, LABELS), "data/data.npz", ["x_train", "17"]),
    "empty folder": (lambda at: at.mkdir(), "data", ["data", "train-images"]),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data(case: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write, source, named = BAD_DATA[case]
    write(folder / "data")
    line = refused(capsys, "run", plan_file(folder, PLAN + f'data = "{source}"\nbatch_size = 8\n'))
    assert all(word in line for word in named), line
    assert not (folder / "tiny.db").exists()


def test_store_of_a_newer_schema(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", plan_file(folder, PLAN)]) == 0
    with sqlite3.connect(folder / "tiny.db") as db:
        db.execute("PRAGMA user_version = 999")
    before = (folder / "tiny.db").read_bytes()
    assert "newer" in refused(capsys, "run", "plan.toml", "--resume")
    assert "newer" in refused(capsys, "report", "tiny.db")
    assert (folder / "tiny.db").read_bytes() == before


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to look at" * 9,
                                     b"SQLite format 3\x00" + b"\xff" * 900])
def test_corrupt_store(content: bytes, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "tiny.db").write_bytes(content)
    assert "tiny.db" in refused(capsys, "run", plan_file(folder, PLAN))
    assert "tiny.db" in refused(capsys, "report", "tiny.db")
    assert (folder / "tiny.db").read_bytes() == content


def test_round_exists_already(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", plan_file(folder, PLAN)]) == 0
    capsys.readouterr()
    assert "--resume" in refused(capsys, "run", "plan.toml")
    assert "steps" in refused(capsys, "run", plan_file(folder, PLAN.replace("steps = 3", "steps = 4")), "--resume")
    assert main(["run", plan_file(folder, PLAN), "--resume"]) == 0


def test_a_folder_is_no_plan(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "plans").mkdir()
    assert "plan plans is a folder" in refused(capsys, "run", "plans")


def test_one_folder_is_named_once(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, "run", plan_file(folder, PLAN.replace('"classifier"', '"nowhere:train"')))
    assert line.count(str(folder)) == 1


def test_more_workers_than_cores(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "none.toml", "--workers", "5000"]) == 2
    assert "--workers 5000 is more than" in capsys.readouterr().err
    assert main(["run", "none.toml", "--workers", "1"]) == 2
    assert "--workers" not in capsys.readouterr().err


def test_missing_store_and_round(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "none.db" in refused(capsys, "report", "none.db")
    assert main(["run", plan_file(folder, PLAN)]) == 0
    capsys.readouterr()
    assert "tny" in refused(capsys, "report", "tiny.db", "--study", "tny")
    assert "valid_los" in refused(capsys, "report", "tiny.db", "--metric", "valid_los")


@pytest.mark.parametrize("command", [("run", "plan.toml", "--store", "{}/x.db"), ("quickstart", "--out", "{}/x")])
def test_folder_that_cannot_be_written(command: tuple[str, ...], folder: Path,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    # /proc refuses new files to everybody, the superuser included.
    plan_file(folder, PLAN)
    assert "/proc" in refused(capsys, *(word.format("/proc") for word in command))


def test_full_disk_while_checkpointing(folder: Path) -> None:
    plan_file(folder, PLAN.replace("width = 4", "width = 512"))
    # A limit on the size of files stands for a disk that is full: the store fits, a checkpoint does not.
    limit = 400_000
    done = subprocess.run(
        [sys.executable, "-m", "refplay", "run", "plan.toml"], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("refplay: ")]
    assert len(lines) == 1
    assert "checkpoint" in lines[0]
    assert not list(folder.rglob("*.tmp"))
    with sqlite3.connect(folder / "tiny.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_backend_that_is_not_there_leaves_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whether there is none of its name, or it cannot run here."""
    from refplay.kernels import gpu

    monkeypatch.setattr(gpu, "missing", lambda found: "no NVIDIA driver here")
    for name, says in (("tpu", "no kernel backend named 'tpu'"),
                       ("cupy", "backend cupy cannot run here: no NVIDIA driver here")):
        assert main(["quickstart", "--backend", name, "--out", str(tmp_path / "out")]) == 2
        printed = capsys.readouterr()
        assert says in printed.err
        assert printed.out == ""
    assert not (tmp_path / "out").exists()

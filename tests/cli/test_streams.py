"""What the command line prints, and to whom: a reader that leaves early costs nothing but words."""

import io
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from rich.console import Console

from refplay.cli.progress import progress_bars
from refplay.study.store import Store

PLAN = """
name = "words"
goal = "Which level?"
objective = "levels:train"
trials = 2
steps = 3
reruns = 1
[scientific]
level = [0.25, 0.5]
[nuisance]
rate = { uniform = [0.0, 1.0] }
"""
TRAIN = "def train(trial):\n    trial.report(1, valid_error=trial['level'] + 0.01 * trial['rate'])\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "plan.toml").write_text(PLAN)
    (tmp_path / "levels.py").write_text(TRAIN)
    return tmp_path


def refplay(folder: Path, arguments: str, reader: str) -> tuple[list[int], str]:
    """Run ``refplay ARGUMENTS | READER`` and return both exit codes and what went to standard error."""
    done = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -m refplay {arguments} {reader}; echo "${{PIPESTATUS[@]}}" >codes'],
        cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    return [int(code) for code in (folder / "codes").read_text().split()], done.stderr


@pytest.mark.parametrize("reader", ["| head -1", "| true", ">&-"])
def test_a_reader_that_leaves_early_loses_words_only(folder: Path, reader: str) -> None:
    codes, errors = refplay(folder, "run plan.toml --workers 1", reader)
    assert (codes[0], errors) == (0, "")
    assert (folder / "words.html").exists()
    with Store(folder / "words.db") as store:
        (info,) = store.rounds()
        assert (info.trials, info.finished) == (6, 6)
        assert len(store.launches()) == 1
    (folder / "words.html").unlink()
    assert refplay(folder, "report words.db", reader) == (codes, "")
    assert (folder / "words.html").exists()


def test_backends_for_a_reader_that_leaves_early(folder: Path) -> None:
    codes, errors = refplay(folder, "backends", "| true")
    assert (codes[0], errors) == (0, "")


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_bar_and_count_survive_in_a_narrow_terminal(width: int) -> None:
    written = io.StringIO()
    console = Console(file=written, width=width)
    with progress_bars("valid_error", console) as told:
        told("nesterov-or-adam/optimizer=nesterov", 120, 129, 0.0123)
    line = written.getvalue().strip()
    assert "\n" not in line
    assert "120/129" in line
    assert line.count("━") + line.count("╸") >= 8
    assert "nesterov-or-adam/" in line
    assert ("best valid_error 1.2" in line) == (width >= 80)
    assert ("0:00:00" in line) == (width >= 100)


def test_one_line_says_that_everything_is_stored(folder: Path) -> None:
    def run() -> str:
        return subprocess.run([sys.executable, "-m", "refplay", "run", "plan.toml", "--workers", "1", "--resume"],
                              cwd=folder, capture_output=True, text=True, check=True, timeout=120).stdout

    assert "everything is stored" not in run()
    again = run()
    assert "everything is stored already" in again
    assert "preparing" not in again


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals of this kind")
@pytest.mark.parametrize("command", ["throughput --model mlp --batch-sizes 1", "quickstart --out q"])
def test_a_terminal_is_told_that_a_first_run_compiles(tmp_path: Path, command: str) -> None:
    leader, terminal = os.openpty()
    with subprocess.Popen([sys.executable, "-m", "refplay", *command.split()], cwd=tmp_path, stdin=terminal,
                          stdout=terminal, stderr=terminal,
                          env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}) as process:
        os.close(terminal)
        written = b""
        with suppress(OSError):  # the end of a pseudo-terminal
            while b"compiling what is new" not in written and (more := os.read(leader, 1024)):
                written += more
        process.kill()
    os.close(leader)
    assert b"compiling what is new" in written
    assert b"Traceback" not in written

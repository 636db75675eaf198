"""`refplay throughput`: what it prints and writes, and one clear line for whatever can be wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from refplay.cli import main
from refplay.procedures import peers

SHORT = ["throughput", "--model", "mlp", "--set", "width=16", "--backend", "numpy", "--seconds", "0.005"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Run the command in a scratch folder; return its exit code, its words and its complaint."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")

    def call(*argv: str) -> tuple[int, str, str]:
        code = main(argv)
        out, err = capsys.readouterr()
        return code, " ".join(out.split()), err.strip()

    return call


def test_table_plot_and_file(run, tmp_path: Path) -> None:
    code, words, _ = run(*SHORT, "--batch-sizes", "16:64", "--plot", "plot.png", "--json", "results.json")
    assert code == 0
    assert "mlp(width=16) · adam · digits, 8 x 8 x 1, 10 classes · backend numpy" in words
    assert "examples/s" in words
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    content = json.loads((tmp_path / "results.json").read_text())
    assert [row["batch_size"] for row in content["sizes"]] == [16, 32, 64]
    assert content["key"]["model"] == "mlp(width=16)"


def test_the_range_ends_with_the_training_set(run) -> None:
    code, words, _ = run(*SHORT, "--batch-sizes", "512:65536")
    assert code == 0
    assert " 1024 " in words
    assert " 2048 " not in words
    assert "the training set of digits has 1197 examples" in words or "Consider batch sizes up to" in words


def test_the_budget_ends_the_range(run) -> None:
    code, words, _ = run(*SHORT, "--batch-sizes", "64:1024", "--memory", "300KiB")
    assert code == 0
    assert "over the memory budget" in words


def test_settings_reach_model_and_rule(run, tmp_path: Path) -> None:
    code, _, _ = run("throughput", "--model", "resnet", "--set", "width=4", "strides=(1, 2)", "momentum=0.7",
                     "--optimizer", "nesterov", "--batch-sizes", "8", "--seconds", "0.005", "--json", "r.json")
    assert code == 0
    key = json.loads((tmp_path / "r.json").read_text())["key"]
    assert key["model"] == "resnet(strides=(1, 2), width=4)"
    assert key["optimizer"] == "nesterov(momentum=0.7)"


def test_a_peer_is_measured_beside(run) -> None:
    code, words, _ = run(*SHORT, "--batch-sizes", "32", "--peer", "torch")
    assert code == 0
    assert "× torch" in words
    assert "times the throughput of torch" in words


def test_kept_results_are_reported_and_checked(run, tmp_path: Path) -> None:
    run(*SHORT, "--batch-sizes", "16:32", "--json", "results.json")
    code, words, _ = run("throughput", "--from", "results.json", "--plot", "again.png")
    assert code == 0
    assert "current: measured 20" in words
    assert (tmp_path / "again.png").exists()

    content = json.loads((tmp_path / "results.json").read_text())
    content["key"]["numpy"], content["key"]["cpu"] = "1.0.0", "Z80"
    (tmp_path / "results.json").write_text(json.dumps(content))
    code, words, _ = run("throughput", "--from", "results.json")
    assert code == 0
    assert "stale" in words
    assert f"numpy is now {np.__version__}, was 1.0.0" in words
    assert "was Z80" in words

    code, words, _ = run(*SHORT, "--batch-sizes", "16", "--json", "results.json")
    assert "results.json was stale (cpu is now" in words
    code, words, _ = run(*SHORT, "--batch-sizes", "16", "--json", "results.json")
    assert "held the same setup on the same machine" in words


def test_kept_results_are_held_against_another_model(run) -> None:
    run(*SHORT, "--batch-sizes", "16", "--json", "results.json")
    _, words, _ = run("throughput", "--from", "results.json", "--model", "convnet", "--optimizer", "sgd")
    assert "model is now convnet, was mlp(width=16)" in words
    assert "optimizer is now sgd, was adam" in words


BAD = {
    "nothing": (["throughput"], ["--model", "--from"]),
    "unknown model": (["throughput", "--model", "transformer"], ["transformer", "mlp, convnet, resnet"]),
    "unknown optimizer": ([*SHORT, "--optimizer", "adamw"], ["adamw", "nadam"]),
    "unknown backend": (["throughput", "--model", "mlp", "--backend", "tpu"], ["tpu", "numba"]),
    "unknown peer": ([*SHORT, "--peer", "tensorflow"], ["tensorflow", "torch"]),
    "unknown setting": ([*SHORT, "--set", "widht=3"], ["widht", "width"]),
    "setting of another rule": ([*SHORT, "--set", "rho=0.5"], ["rho", "beta1"]),
    "setting without value": ([*SHORT, "--set", "width"], ["width", "name=value"]),
    "setting out of range": ([*SHORT, "--set", "width=0"], ["width", "at least 1"]),
    "hyperparameter that is no number": ([*SHORT, "--set", "beta1=high"], ["beta1", "number"]),
    "hyperparameter out of range": ([*SHORT, "--batch-sizes", "4", "--set", "beta1=1.5"], ["beta1"]),
    "no data": ([*SHORT, "--data", "nowhere"], ["nowhere"]),
    "zero": ([*SHORT, "--batch-sizes", "0"], ["--batch-sizes 0", "1:65536"]),
    "negative": ([*SHORT, "--batch-sizes=-8:8"], ["--batch-sizes -8:8"]),
    "range backwards": ([*SHORT, "--batch-sizes", "64:8"], ["64:8"]),
    "range of words": ([*SHORT, "--batch-sizes", "one:two"], ["one:two"]),
    "range of three": ([*SHORT, "--batch-sizes", "1:2:3"], ["1:2:3"]),
    "open range": ([*SHORT, "--batch-sizes", "8:"], ["--batch-sizes 8:"]),
    "above the data": ([*SHORT, "--batch-sizes", "4096"], ["4096", "1197 training examples"]),
    "range above the data": ([*SHORT, "--batch-sizes", "2048:65536"], ["2048", "1197"]),
    "over the budget": ([*SHORT, "--batch-sizes", "64", "--memory", "10KiB"], ["batch size 64 needs", "--memory"]),
    "no amount": ([*SHORT, "--memory", "plenty"], ["--memory plenty", "4GiB"]),
    "no memory": ([*SHORT, "--memory", "0"], ["--memory 0"]),
    "no time": ([*SHORT, "--seconds", "0"], ["--seconds 0"]),
    "endless": ([*SHORT, "--seconds", "inf"], ["--seconds inf"]),
    "plot into no folder": ([*SHORT, "--plot", "no/plot.png"], ["--plot", "no folder"]),
    "plot of another kind": ([*SHORT, "--plot", "plot.svg"], [".png"]),
    "json onto a folder": ([*SHORT, "--json", "."], ["--json", "folder"]),
    "no such results": (["throughput", "--from", "none.json"], ["none.json"]),
}


@pytest.mark.parametrize(("argv", "words"), BAD.values(), ids=BAD)
def test_bad_input_is_one_clear_line_and_nothing_is_measured(
    run, monkeypatch: pytest.MonkeyPatch, argv: list[str], words: list[str], tmp_path: Path
) -> None:
    from refplay.procedures import throughput

    monkeypatch.setattr(throughput, "time_in_turns", lambda *_: pytest.fail("something was measured"))
    code, printed, complaint = run(*argv)
    assert code == 2
    assert complaint.startswith("refplay: ")
    assert "\n" not in complaint
    assert not printed
    for word in words:
        assert word in complaint
    assert not list(tmp_path.iterdir())


def test_a_peer_that_is_not_installed(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "find_spec", lambda package: None)
    code, _, complaint = run(*SHORT, "--peer", "jax")
    assert code == 2
    assert complaint == "refplay: jax is not installed; it comes with: python -m pip install 'refplay[peers]'"


def test_a_file_of_something_else_is_not_overwritten(run, tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text('{"mine": 1}')
    code, _, complaint = run(*SHORT, "--json", "notes.json")
    assert code == 2
    assert "no measurement of throughput" in complaint
    assert (tmp_path / "notes.json").read_text() == '{"mine": 1}'


def test_a_folder_without_permission(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root, who may run the tests, has every permission
    code, _, complaint = run(*SHORT, "--json", "results.json")
    assert code == 2
    assert "no permission" in complaint


def test_no_framework_is_imported_without_a_peer() -> None:
    code = (f"import sys; from refplay.cli import main; main({[*SHORT, '--batch-sizes', '4']!r}); "
            "raise SystemExit('torch' in sys.modules or 'jax' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0

"""The whole round on real data, as a newcomer runs it: what it must find, print and leave behind."""

import csv
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.svm import SVC

from refplay.cli import main
from refplay.data import load_dataset
from refplay.study.record import Round
from refplay.study.store import Store


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Run the quickstart once; return its folder and what it printed."""
    out = tmp_path_factory.mktemp("quickstart") / "out"
    done = subprocess.run([sys.executable, "-m", "refplay", "quickstart", "--out", str(out)], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


@pytest.fixture(scope="module")
def stored(finished: tuple[Path, str]) -> Round:
    with Store(finished[0] / "runs.db") as store:
        return store.load_round("nesterov-or-adam")


def test_budget(stored: Round) -> None:
    assert [study.scientific for study in stored.studies] == [{"optimizer": "nesterov"}, {"optimizer": "adam"}]
    for study in stored.studies:
        assert len(study.trials) >= 24
        assert len(study.reruns) == 5
        complete = [trial for trial in (*study.trials, *study.reruns) if trial.feasible]
        assert {len(trial.curves["gradient_norm"].steps) for trial in complete} == {400}
        assert not any(trial.state == "failed" for trial in study.trials)


def test_each_optimizer_has_a_space_of_its_own(stored: Round) -> None:
    nesterov, adam = (list(study.space.domains) for study in stored.studies)
    assert nesterov == ["learning_rate", "momentum"]
    assert adam == ["learning_rate", "beta1"]  # what 24 trials pay for
    assert stored.studies[0].space.domains["learning_rate"] != stored.studies[1].space.domains["learning_rate"]


def test_large_learning_rates_are_infeasible_and_small_ones_are_not(stored: Round) -> None:
    rates = {state: [t.params["learning_rate"] for t in stored.studies[0].trials if t.state == state]
             for state in ("infeasible", "complete")}
    assert len(rates["infeasible"]) >= 2
    assert min(rates["infeasible"]) > 0.3
    assert min(rates["complete"]) < 0.01


def test_test_error_is_that_of_a_good_classifier(finished: tuple[Path, str]) -> None:
    data = load_dataset("digits")
    flat = [split.x.reshape(len(split.x), -1) for split in (data.train, data.test)]
    svm = SVC(C=10.0, gamma=1.0 / (64 * flat[0].var())).fit(flat[0], data.train.y)
    peer = float(np.mean(svm.predict(flat[1]) != data.test.y))
    assert 0 < peer < 0.02
    with Store(finished[0] / "runs.db") as store:
        measured = store.launches()[-1].evidence["test_error"]
    assert measured <= 0.03
    assert measured <= peer + 0.015


def test_what_is_printed(finished: tuple[Path, str]) -> None:
    out, printed = finished
    printed = " ".join(printed.split())  # lines are broken to the width of the terminal
    for expected in ("optimizer=nesterov", "optimizer=adam", "decision:", "Test error", str(out / "report.html")):
        assert expected in printed


def test_report_has_every_plot(finished: tuple[Path, str]) -> None:
    page = (finished[0] / "report.html").read_text(encoding="utf-8")
    described = " ".join(re.findall(r'<img[^>]*alt="([^"]*)"', page))
    for name in ("learning_rate", "momentum", "beta1"):
        assert name in described
    assert page.count("<img") >= 2 * 6  # of each study: two axis plots, curves, best steps, bootstrap, gradient norms
    assert "http://" not in re.sub(r'href="[^"]*"', "", page)
    assert "<script" not in page


def test_running_it_again_changes_nothing(finished: tuple[Path, str], stored: Round, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished[0], copy)
    assert main(["quickstart", "--out", str(copy)]) == 0
    with Store(copy / "runs.db") as store:
        again = store.load_round("nesterov-or-adam")
        assert len(store.launches()) == 1
    for before, after in zip(stored.studies, again.studies, strict=True):
        for one, other in zip(before.trials + before.reruns, after.trials + after.reruns, strict=True):
            assert one.params == other.params
            assert np.array_equal(one.curves["train_loss"].values, other.curves["train_loss"].values)


def test_report_again_by_another_metric_and_as_a_spreadsheet(finished: tuple[Path, str], tmp_path: Path,
                                                             capsys: pytest.CaptureFixture[str]) -> None:
    store, table = tmp_path / "runs.db", tmp_path / "studies.csv"
    shutil.copy(finished[0] / "runs.db", store)
    assert main(["report", str(store), "--metric", "valid_loss", "--csv", str(table)]) == 0
    assert "valid_loss" in capsys.readouterr().out.replace("\n", " ")
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    text = " ".join(" ".join(row.values()) for row in rows)
    assert "quickstart" in text  # the reproduction command
    assert "nesterov-or-adam/optimizer=adam" in text
    with Store(store) as opened:
        assert len(opened.launches()) == 1  # another metric is an insight, not a decision

"""The store: what goes in comes out, files that are no store are refused unharmed, several processes write at once."""

import csv
import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from multiprocessing import get_context

import numpy as np
import pytest

from refplay.errors import InputError
from refplay.study.claims import Claims
from refplay.study.plan_toml import load_plan
from refplay.study.record import State
from refplay.study.store import Store


def test_what_goes_in_comes_out(filled, plan):
    with Store(filled) as store:
        round_ = store.load_round(plan.name)
    assert round_.plan == plan
    slow, fast = round_.studies
    assert (slow.name, slow.scientific, slow.space) == ("slow-or-fast/speed=slow", {"speed": "slow"},
                                                        plan.nuisance["speed"]["slow"])
    assert [trial.state for trial in slow.trials] == ["complete", "infeasible", "failed", *["pending"] * 3]
    assert [trial.params for trial in fast.trials] == plan.studies()[1].params()
    assert [trial.seed for trial in fast.trials] == [plan.studies()[1].trial_seed(number) for number in range(6)]
    curve = slow.trials[0].curves["valid_error"]
    assert (curve.steps.dtype, curve.values.dtype) == (np.int64, np.float64)
    assert (curve.steps.tolist(), curve.values.tolist()) == ([1, 4], [0.5, 0.25])
    assert (slow.trials[0].seconds, slow.trials[1].reason) == (1.5, "train_loss is nan")
    assert np.isnan(slow.trials[1].curves["train_loss"].values[0])
    assert np.isnan(slow.trials[5].seconds)
    assert slow.reruns == ()
    assert [trial.number for trial in slow.ranked("valid_error")] == [0]


def test_special_values_survive(tmp_path, make_plan, make_outcome):
    plan = make_plan(scientific={}, nuisance={}, fixed={"a": 0.1 + 0.2, "b": True, "c": 2**60, "d": 'é"\n'}, trials=1)
    values = [5e-324, -0.0, 1.7976931348623157e308, 0.1 + 0.2, np.inf]
    with Store(tmp_path / "runs.db", create=True) as store:
        round_id = store.create_round(plan, "m:f", [spec.params() for spec in plan.studies()])
        with closing(Claims(store, round_id, "m")) as claims:
            claims.finish(claims.claim(), make_outcome(curves={"m": ([0, 1, 2, 2**40, 2**62], values)}))
        (trial,) = store.load_round(plan.name).studies[0].trials
    assert trial.params == plan.fixed
    assert type(trial.params["b"]) is bool
    assert trial.curves["m"].values.tobytes() == np.array(values).tobytes()
    assert trial.curves["m"].steps.tolist() == [0, 1, 2, 2**40, 2**62]


def test_rounds_are_listed_with_their_provenance(filled, plan):
    with Store(filled) as store:
        (info,) = store.rounds()
    assert (info.name, info.goal, info.studies, info.trials, info.finished) == (plan.name, plan.goal, 2, 12, 3)
    assert info.objective == "m:f"
    assert str(os.getcwd()) in info.command
    assert "pytest" in info.command
    assert info.version == "0.1.0"


def test_commit_and_uncommitted_changes_are_recorded(tmp_path, plan, monkeypatch):
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    monkeypatch.chdir(checkout)
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@example.org"]
    (checkout / "train.py").write_text("rate = 1\n")
    for command in (["init", "-q"], ["add", "train.py"], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *command], check=True)
    (checkout / "train.py").write_text("rate = 2\n")
    (checkout / "new.py").write_text("")
    with Store(tmp_path / "runs.db", create=True) as store:
        store.create_round(plan, "m:f", [spec.params() for spec in plan.studies()])
        (info,) = store.rounds()
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert info.revision == head
    assert "-rate = 1\n+rate = 2\n" in info.changes
    assert "# untracked: new.py" in info.changes


def test_a_round_of_that_name_with_another_plan_is_refused(filled, plan, make_plan):
    with Store(filled) as store:
        before = store.load_round(plan.name)
        for changes in ({"steps": 201}, {"trials": 7}, {"seed": 12}, {"fixed": {"width": 16.0}}, {"metric": "loss"},
                        {"nuisance": {}}, {"scientific": {"speed": ["fast", "slow"]}}, {"goal": "other"}):
            with pytest.raises(InputError, match=f"with another {next(iter(changes))} "):
                store.create_round(make_plan(**changes), "m:f", [])
        with pytest.raises(InputError, match=r"with another objective \(m:f, not m:g\)"):
            store.create_round(plan, "m:g", [])
        store.create_round(make_plan(notes="looked at again"), "m:f", [])
        after = store.load_round(plan.name)
        assert after.plan.notes == "looked at again"
        assert [t.state for s in after.studies for t in s.trials] == [t.state for s in before.studies for t in s.trials]


def test_folders_of_a_round_that_the_store_does_not_know_are_refused(tmp_path, plan):
    (tmp_path / "runs.trials" / plan.name).mkdir(parents=True)
    with (Store(tmp_path / "runs.db", create=True) as store,
          pytest.raises(InputError, match=r"runs\.trials.*does not know; remove it")):
        store.create_round(plan, "m:f", [spec.params() for spec in plan.studies()])


def test_trial_folders_stay_inside_whatever_the_names_are(tmp_path):
    with Store(tmp_path / "runs.db", create=True) as store:
        names = ["..", ".", "a b", "a_b", "a%20b", "a/speed=../../x", "a/b=c:d\\e", "a/b=c?d\\e", "é" * 100,
                 "é" * 99 + "ü", "<script>", "a/" + "v=" + "x" * 500]
        folders = [store.trial_folder(name, 3, 1) for name in names]
    assert len(set(folders)) == len(names)
    for folder in folders:
        assert folder.resolve() == folder
        assert folder.is_relative_to(tmp_path / "runs.trials")
        folder.mkdir(parents=True)
        assert folder.name == "3-rerun1"


# Several at once


def _work(path, make_outcome, started, shares):
    """Claim and finish trials until none is left; the value of a curve tells which trial it is of."""
    mine = []
    with Store(path) as store, closing(Claims(store, 1, "valid_error")) as claims:
        claim = claims.claim()
        started.wait()  # until each has one: on a busy machine one process could be done before the others have begun
        while claim:
            claims.finish(claim, make_outcome(curves={"valid_error": ([0], [float(claim.id)])}))
            mine.append(claim.id)
            claim = claims.claim()
    shares.put(mine)


def test_four_processes_share_the_trials_of_a_round(tmp_path, make_plan, make_outcome):
    path, plan = tmp_path / "runs.db", make_plan(trials=100)
    with Store(path, create=True) as store:
        store.create_round(plan, "m:f", [spec.params() for spec in plan.studies()])
    context = get_context("fork")  # this file is not importable by name
    started, results = context.Barrier(4), context.Queue()
    workers = [context.Process(target=_work, args=(path, make_outcome, started, results)) for _ in range(4)]
    for worker in workers:
        worker.start()
    shares = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert sorted(trial for share in shares for trial in share) == list(range(1, 201))  # each once
    assert all(shares)
    with Store(path) as store:
        trials = [trial for study in store.load_round(plan.name).studies for trial in study.trials]
        assert store.rows("PRAGMA integrity_check") == [("ok",)]
    assert [trial.curves["valid_error"].values[0] for trial in trials] == list(range(1, 201))


def test_processes_that_create_one_store_at_the_same_time(tmp_path):
    code = ("import sys, time; from refplay.study.store import Store\n"
            "time.sleep(max(0, float(sys.argv[2]) - time.time()))\n"
            "with Store(sys.argv[1], create=True) as s: print(len(s.rounds()))")
    at = str(time.time() + 1.0)
    runs = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "runs.db"), at], stdout=subprocess.PIPE)
            for _ in range(4)]
    assert [run.communicate(timeout=60)[0].strip() for run in runs] == [b"0"] * 4


def test_a_store_that_another_process_creates_while_we_look_is_a_store(tmp_path, monkeypatch):
    path, connect, others = tmp_path / "runs.db", sqlite3.connect, []

    def create_between(statement):
        if "user_version" in statement and not others:  # the second thing that is read
            others.append(threading.Thread(target=lambda: Store(path, create=True).close()))
            others[0].start()
            others[0].join(0.5)  # it finishes now, or waits until we have read all

    def connect_and_watch(*arguments, **options):
        db = connect(*arguments, **options)
        if not others:
            db.set_trace_callback(create_between)
        return db

    monkeypatch.setattr(sqlite3, "connect", connect_and_watch)
    with Store(path, create=True) as store:
        others[0].join()
        assert store.rounds() == []


def test_claims_of_the_living_are_theirs_and_those_of_the_dead_go_on(filled, make_outcome):
    with Store(filled) as store, Store(filled) as other_store:
        ours, theirs = Claims(store, 1, "valid_error"), Claims(other_store, 1, "valid_error")
        claim = theirs.claim()
        ours.take_over()
        assert ours.claim().number == claim.number + 1
        theirs.close()  # as the operating system does when a process dies
        ours.take_over()
        assert ours.claim().number == claim.number
        # The dead one turns out to be a late one: what it brings is no longer wanted.
        theirs.finish(claim, make_outcome(curves={"valid_error": ([0], [99.0])}))
        assert store.load_round("slow-or-fast").studies[0].trials[claim.number].state is State.RUNNING
        ours.close()
    assert [path.name for path in filled.parent.iterdir()] == ["runs.db"]


# Tracking


def test_launches_form_a_chain_of_adopted_configurations(filled, plan):
    study = plan.studies()[0].name
    with Store(filled) as store:
        first = store.record_launch(plan.name, study=study, number=0, adopted=True, decision="lower by far",
                                    evidence={"gain": np.float64(0.25), "values": np.array([1, 2])})
        second = store.record_launch(plan.name, study=study, number=2, adopted=False, decision="within variance",
                                     evidence={})
        third = store.record_launch(plan.name, study=study, number=1, adopted=True, decision="better", evidence={})
        assert store.launches() == [first, second, third]
        with pytest.raises(InputError, match="no trial 77"):
            store.record_launch(plan.name, study=study, number=77, adopted=True, decision="", evidence={})
    assert [launch.predecessor for launch in (first, second, third)] == [None, 1, 1]
    assert [launch.adopted for launch in (first, second, third)] == [True, False, True]
    assert first.evidence == {"gain": 0.25, "values": [1, 2]}
    assert first.params == plan.studies()[0].params()[0]


def test_spreadsheet_has_a_row_for_each_study(filled, plan, tmp_path):
    target = tmp_path / "sheet" / "tracking.csv"
    target.parent.mkdir()
    with Store(filled) as store:
        store.export_csv(target)
        (info,) = store.rounds()
    with target.open(newline="", encoding="utf-8") as file:
        slow, fast = csv.DictReader(file)
    assert (slow["study"], fast["study"]) == ("slow-or-fast/speed=slow", "slow-or-fast/speed=fast")
    assert [slow[c] for c in ("trials", "complete", "infeasible", "failed", "unfinished")] == ["6", "1", "1", "1", "3"]
    assert [slow[c] for c in ("metric", "best", "best_trial", "best_step")] == ["valid_error", "0.25", "0", "4"]
    assert json.loads(slow["best_params"]) == plan.studies()[0].params()[0]
    assert fast["best"] == ""
    assert slow["reproduce"] == info.command
    assert load_plan(target.parent / slow["configuration"]) == plan
    if info.changes:
        assert (target.parent / slow["uncommitted_changes"]).read_text() == info.changes


def test_spreadsheet_that_cannot_be_written(filled, tmp_path):
    with Store(filled) as store, pytest.raises(InputError, match=r"cannot be written"):
        store.export_csv(tmp_path / "nowhere" / "tracking.csv")
    with Store(filled) as store, pytest.raises(InputError, match=r"/proc/.*cannot be written"):
        store.export_csv("/proc/tracking.csv")

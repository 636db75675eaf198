"""Whatever ends a run, the next one finishes it with the results of an undisturbed run, bit for bit."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from refplay.study.plan_toml import dump_plan
from refplay.study.record import State
from refplay.study.runner import run
from refplay.study.store import Store

SCRIPT = """
import sys
from refplay.study import load_plan, run
if __name__ == "__main__":
    run(load_plan("plan.toml"), store="runs.db", workers=2, folder=sys.argv[1])
"""
PATIENCE = 60  # seconds for what takes one or two when the machine is idle


@pytest.fixture
def launch(tmp_path, objectives_folder):
    """Start a run of a plan in a process of its own, in a session of its own; kill what is left in the end."""
    started = []

    def start(plan):
        (tmp_path / "plan.toml").write_text(dump_plan(plan))
        (tmp_path / "start_study.py").write_text(SCRIPT)
        process = subprocess.Popen([sys.executable, "start_study.py", str(objectives_folder)], cwd=tmp_path,
                                   stderr=subprocess.PIPE, text=True, start_new_session=True)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def undisturbed(tmp_path, objectives, results):
    def of(plan):
        function = getattr(objectives, plan.objective.partition(":")[2])
        with ThreadPoolExecutor(4) as executor:
            return results(run(plan, function, store=tmp_path / "undisturbed.db", executor=executor))

    return of


def wait_until(condition, process):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it takes too long"
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.002)


def calls(tmp_path):
    path = tmp_path / "runs.trials" / "slow-or-fast" / "calls.txt"
    return path.read_text().splitlines() if path.exists() else []


def running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"


def test_kill_9_at_several_moments(tmp_path, make_plan, results, launch, undisturbed):
    plan = make_plan(objective="study_objectives:descend_slowly", steps=20)
    moments = [lambda: (tmp_path / "runs.db").exists(),  # as soon as it is there, perhaps without its tables
               lambda: len(calls(tmp_path)) >= 5, lambda: len(calls(tmp_path)) >= 14]
    for moment in moments:
        process = launch(plan)
        wait_until(moment, process)
        process.kill()
        process.wait()
    with Store(tmp_path / "runs.db") as store:  # readable at any time
        states = Counter(t.state for s in store.load_round(plan.name).studies for t in (*s.trials, *s.reruns))
    assert states[State.COMPLETE] + states[State.INFEASIBLE] >= 3
    assert states[State.RUNNING] + states[State.PENDING] > 0
    workers = {int(line.split()[-1]) for line in calls(tmp_path)}
    deadline = time.monotonic() + PATIENCE
    while any(map(running, workers)):
        assert time.monotonic() < deadline, "workers outlive the run that started them"
        time.sleep(0.02)
    last = launch(plan)
    assert last.wait(PATIENCE) == 0, last.communicate()[1]
    with Store(tmp_path / "runs.db") as store:
        assert results(store.load_round(plan.name)) == undisturbed(plan)
    assert not list(tmp_path.glob("runs.db-*"))  # no lock of a dead run is left


def test_kill_9_and_on_from_a_checkpoint(tmp_path, make_plan, results, launch, undisturbed):
    plan = make_plan(objective="study_objectives:descend_from_checkpoint", steps=60, trials=3, reruns=0)
    folder = tmp_path / "runs.trials" / "slow-or-fast"
    for trial in ("speed=slow/0", "speed=slow/2"):
        process = launch(plan)
        wait_until((folder / trial / "checkpoint.json").exists, process)
        process.kill()
        process.wait()
    last = launch(plan)
    assert last.wait(PATIENCE) == 0, last.communicate()[1]
    with Store(tmp_path / "runs.db") as store:
        round_ = store.load_round(plan.name)
    assert results(round_) == undisturbed(plan)
    assert (folder / "speed=slow" / "resumed.txt").exists()  # or the test has tested nothing
    assert round_.studies[0].trials[0].folder == str(folder / "speed=slow" / "0")


def test_ctrl_c_leaves_all_resumable_and_is_quiet(tmp_path, make_plan, results, launch, undisturbed):
    plan = make_plan(objective="study_objectives:descend_slowly", steps=60)  # not over before the signal
    process = launch(plan)
    wait_until(lambda: len(calls(tmp_path)) >= 5, process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the run and all its workers
    _, errors = process.communicate(timeout=PATIENCE)
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert errors.count("Traceback") == 1  # the workers have nothing to say
    with Store(tmp_path / "runs.db") as store:
        states = Counter(trial.state for study in store.load_round(plan.name).studies for trial in study.trials)
    assert State.RUNNING not in states
    assert states[State.PENDING] > 0
    assert not list(tmp_path.glob("runs.db-*"))
    assert not any(running(int(line.split()[-1])) for line in calls(tmp_path))
    last = launch(plan)
    assert last.wait(PATIENCE) == 0, last.communicate()[1]
    with Store(tmp_path / "runs.db") as store:
        assert results(store.load_round(plan.name)) == undisturbed(plan)


def test_two_runs_at_once_share_the_work(tmp_path, make_plan, results, launch, undisturbed):
    plan = make_plan(objective="study_objectives:descend_slowly", steps=60)
    runs = [launch(plan), launch(plan)]
    for process in runs:
        assert process.wait(PATIENCE) == 0, process.communicate()[1]
    begun = Counter(tuple(line.split()[:3]) for line in calls(tmp_path))
    assert set(begun.values()) == {1}
    assert len(begun) == 16
    with Store(tmp_path / "runs.db") as store:
        assert results(store.load_round(plan.name)) == undisturbed(plan)

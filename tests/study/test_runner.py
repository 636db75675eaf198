"""A run: same results on any executor, bad input before anything is written, crashes that cost one trial."""

import os
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing

import pytest

from refplay.errors import InputError
from refplay.study.record import State
from refplay.study.runner import run
from refplay.study.store import Store


@pytest.fixture
def threads():
    with ThreadPoolExecutor(3) as executor:
        yield executor


def test_results_are_the_same_bit_for_bit_on_any_number_of_workers(tmp_path, make_plan, results, objectives,
                                                                   objectives_folder, threads):
    plan = make_plan()
    one = run(plan, store=tmp_path / "one.db", workers=1, folder=objectives_folder)
    two = run(plan, store=tmp_path / "two.db", workers=2, folder=objectives_folder)
    in_threads = run(plan, objectives.descend, store=tmp_path / "threads.db", executor=threads)
    assert results(one) == results(two) == results(in_threads)
    slow, fast = one.studies
    assert {trial.state for trial in slow.trials} == {State.COMPLETE}
    assert {trial.state for trial in fast.trials} == {State.COMPLETE, State.INFEASIBLE}  # the plan reaches divergence
    for study in one.studies:
        best = study.ranked("valid_error")[0]
        assert [(trial.number, trial.rerun, trial.params) for trial in study.reruns] == [
            (best.number, rerun, best.params) for rerun in (1, 2)]
        seeds = {trial.seed for trial in (*study.trials, *study.reruns)}
        assert len(seeds) == 8
        assert len({trial.best("valid_error").value for trial in (best, *study.reruns)}) == 3
    assert {path.name for path in tmp_path.iterdir()} == {"one.db", "two.db", "threads.db"}


def test_results_follow_from_the_seed(tmp_path, make_plan, results, objectives, threads):
    first = run(make_plan(), objectives.descend, store=tmp_path / "a.db", executor=threads)
    second = run(make_plan(seed=12), objectives.descend, store=tmp_path / "b.db", executor=threads)
    assert not set(map(repr, results(first).values())) & set(map(repr, results(second).values()))


def test_progress_counts_every_study_to_its_end(tmp_path, make_plan, objectives, threads):
    told = []
    round_ = run(make_plan(), objectives.descend, store=tmp_path / "runs.db", executor=threads,
                 progress=lambda *line: told.append(line))
    for study in round_.studies:
        lines = [line[1:] for line in told if line[0] == study.name]
        assert lines[0] == (0, 8, None)
        assert [done for done, _, _ in lines] == sorted(done for done, _, _ in lines)
        assert lines[-1] == (8, 8, study.ranked("valid_error")[0].best("valid_error").value)


def test_a_crashing_objective_fails_its_trials_only(tmp_path, make_plan, objectives, threads):
    round_ = run(make_plan(), objectives.crash_odd, store=tmp_path / "runs.db", executor=threads)
    for study in round_.studies:
        assert [trial.state is State.FAILED for trial in study.trials] == [False, True] * 3
        assert "RuntimeError: the objective has a bug in trial 3" in study.trials[3].reason
        assert "crash_odd" in study.trials[3].reason
        assert study.ranked("valid_error")[0].number % 2 == 0


def test_studies_without_a_complete_trial_have_no_repetitions(tmp_path, make_plan, objectives, threads):
    told = []
    plan = make_plan(trials=2)
    round_ = run(plan, objectives.give_up, store=tmp_path / "runs.db", executor=threads,
                 progress=lambda *line: told.append(line))
    assert {trial.state for study in round_.studies for trial in study.trials} == {State.FAILED}
    assert [study.reruns for study in round_.studies] == [(), ()]
    assert told[-1][1:] == (2, 2, None)
    again = run(plan, objectives.give_up, store=tmp_path / "runs.db", executor=threads)
    assert [trial.reason for study in again.studies for trial in study.trials] == [
        trial.reason for study in round_.studies for trial in study.trials]


def test_hand_written_and_together_plans_run(tmp_path, make_plan, objectives, threads):
    listed = make_plan(name="listed", nuisance={}, configurations=[
        {"speed": "slow", "learning_rate": 0.1}, {"speed": "fast", "learning_rate": 0.2},
        {"speed": "fast", "learning_rate": 0.3}])
    together = make_plan(name="together", together=True, trials=5)
    slow, fast = run(listed, objectives.descend, store=tmp_path / "runs.db", executor=threads).studies
    (both,) = run(together, objectives.descend, store=tmp_path / "runs.db", executor=threads).studies
    assert [trial.params["learning_rate"] for trial in (*slow.trials, *fast.trials)] == [0.1, 0.2, 0.3]
    assert {trial.params["speed"] for trial in both.trials} == {"slow", "fast"}
    with Store(tmp_path / "runs.db") as store:
        assert [info.name for info in store.rounds()] == ["listed", "together"]


def test_a_together_plan_repeats_the_best_trial_of_each_scientific_value(tmp_path, make_plan, objectives, threads):
    told = []
    plan = make_plan(together=True, trials=8)
    done = run(plan, objectives.descend, store=tmp_path / "runs.db", executor=threads,
               progress=lambda *line: told.append(line))
    (both,) = done.studies
    slow, fast = sorted(done.contenders(), key=lambda part: part.name, reverse=True)
    assert (slow.name, fast.name) == ("slow-or-fast/speed=slow", "slow-or-fast/speed=fast")
    assert (slow.scientific, fast.scientific) == ({"speed": "slow"}, {"speed": "fast"})
    for part in (slow, fast):
        best = part.ranked("valid_error")[0]
        assert [(trial.number, trial.rerun, trial.params) for trial in part.reruns] == [
            (best.number, rerun, best.params) for rerun in (1, 2)]
    assert len(both.reruns) == 4
    assert {line[2] for line in told} == {12}
    assert told[-1][1] == 12
    told.clear()
    run(plan, objectives.descend, store=tmp_path / "runs.db", executor=threads, progress=lambda *l: told.append(l))
    assert told == []  # all is there: nothing is started


def test_a_scientific_value_without_a_complete_trial_has_no_repetitions(tmp_path, make_plan, threads):
    def only_slow(trial):
        if trial["speed"] == "fast":
            raise FloatingPointError("diverged")
        trial.report(1, valid_error=1 / (1 + trial.number))

    told = []
    done = run(make_plan(together=True, trials=8), only_slow, store=tmp_path / "runs.db", executor=threads,
               progress=lambda *line: told.append(line))
    assert {(trial.params["speed"], trial.rerun) for trial in done.studies[0].reruns} == {("slow", 1), ("slow", 2)}
    assert told[-1][1:3] == (10, 10)


def test_worker_processes_have_one_kernel_thread(tmp_path, make_plan, objectives_folder, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    plan = make_plan(objective="study_objectives:environment", trials=2, reruns=0)
    round_ = run(plan, store=tmp_path / "runs.db", workers=2, folder=objectives_folder)
    for study in round_.studies:
        for trial in study.trials:
            assert trial.best("valid_error").value == 5  # variables that say 1
            assert trial.best("process").value != os.getpid()
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert "NUMBA_NUM_THREADS" not in os.environ


# A worker that dies


@pytest.mark.parametrize(("objective", "victim", "how"), [
    ("exit_on_two", 2, "worker process died with exit code 3"),
    ("killed_on_one", 1, "worker process died of SIGKILL (out of memory?)"),
])
def test_a_trial_that_kills_its_worker_fails_and_the_others_go_on(tmp_path, make_plan, results, objectives,
                                                                  objectives_folder, threads, objective, victim, how):
    changes = {"scientific": {}, "nuisance": make_plan().nuisance["speed"]["slow"].domains}
    plan = make_plan(objective=f"study_objectives:{objective}", **changes)
    round_ = run(plan, store=tmp_path / "runs.db", workers=2, folder=objectives_folder)
    (study,) = round_.studies
    assert [trial.number for trial in study.trials if trial.state is State.FAILED] == [victim]
    assert study.trials[victim].reason == how
    other = run(make_plan(**changes), objectives.descend, store=tmp_path / "other.db", executor=threads)
    found, undisturbed = results(round_), results(other)
    assert len(found) == 8
    for number in set(range(6)) - {victim}:
        assert found[plan.name, number, 0] == undisturbed[plan.name, number, 0]


def test_a_broken_pool_of_the_user_leaves_the_round_resumable(tmp_path, make_plan, objectives):
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context
    plan = make_plan()
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as executor, pytest.raises(BrokenProcessPool):
        run(plan, objectives.exit_on_two, store=tmp_path / "runs.db", executor=executor)
    with Store(tmp_path / "runs.db") as store:
        states = {trial.state for study in store.load_round(plan.name).studies for trial in study.trials}
    assert State.RUNNING not in states
    assert State.PENDING in states


# A round that goes on changed


def failing_where(best_fails):
    def train(trial):
        if best_fails and trial["learning_rate"] < 0.01:
            (trial.folder / "checkpoint").write_text("of the bug")
            raise RuntimeError("a bug")
        assert not (trial.folder / "checkpoint").exists()  # a trial that is tried again begins from nothing
        trial.report(1, valid_error=trial["learning_rate"] + 1e-6 * trial.generator("noise").random())
    train.__qualname__ = "train"
    return train


@pytest.mark.parametrize("together", [False, True])
def test_failed_trials_tried_again_give_the_results_of_an_undisturbed_run(tmp_path, make_plan, results, threads,
                                                                          together):
    plan, path = make_plan(together=together, trials=10), tmp_path / "runs.db"
    undisturbed = run(plan, failing_where(False), store=tmp_path / "other.db", executor=threads)
    first = run(plan, failing_where(True), store=path, executor=threads)
    assert any(trial.state is State.FAILED for trial in first.studies[0].trials)
    assert first.studies[0].reruns
    assert {t.number for t in first.studies[0].reruns} != {t.number for t in undisturbed.studies[0].reruns}
    as_it_was = run(plan, failing_where(False), store=path, executor=threads)
    assert results(as_it_was) == results(first)
    mended = run(plan, failing_where(False), store=path, executor=threads, retry_failed=True)
    assert results(mended) == results(undisturbed)
    assert results(run(plan, failing_where(True), store=path, executor=threads, retry_failed=True)) == results(mended)
    left = {folder.name for folder in (tmp_path / "runs.trials").rglob("*-rerun*")}
    assert left == {f"{t.number}-rerun{t.rerun}" for study in mended.studies for t in study.reruns}


def test_a_resumed_round_may_have_more_repetitions_and_not_fewer(tmp_path, make_plan, results, objectives, threads):
    run(make_plan(), objectives.descend, store=tmp_path / "runs.db", executor=threads)
    more = run(make_plan(reruns=4), objectives.descend, store=tmp_path / "runs.db", executor=threads)
    assert results(more) == results(run(make_plan(reruns=4), objectives.descend, store=tmp_path / "other.db",
                                        executor=threads))
    assert more.plan.reruns == 4
    with pytest.raises(InputError, match=r"with another reruns \(4, not 2\)"):
        run(make_plan(), objectives.descend, store=tmp_path / "runs.db", executor=threads)


# Bad input


def refused(tmp_path, message, *arguments, **options):
    with pytest.raises(InputError, match=message) as caught:
        run(*arguments, store=tmp_path / "runs.db", **options)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("objective", "message"), [
    ("clasifier", "'clasifier' is neither built in nor.*did you mean 'classifier'"),
    ("study_objectives:", "neither built in"),
    ("no_such_module:train", "there is no module 'no_such_module' in "),
    ("study_objectives.sub:train", "importing study_objectives.sub fails|there is no module"),
    ("study_objectives:descnd", "has no function 'descnd'; did you mean 'descend'"),
    ("study_objectives:not_a_function", "not_a_function is not a function but 3"),
])
def test_an_objective_that_is_not_there_is_named_before_anything_is_written(tmp_path, make_plan, threads, objectives,
                                                                            objectives_folder, objective, message):
    refused(tmp_path, message, make_plan(objective=objective), executor=threads, folder=objectives_folder)


def test_an_objective_whose_module_does_not_import(tmp_path_factory, tmp_path, make_plan):
    folder = tmp_path_factory.mktemp("modules")
    (folder / "needs_more_study.py").write_text("import not_installed_anywhere\n")
    (folder / "ends_at_once_study.py").write_text("import os; os._exit(1)\n")
    refused(tmp_path, "No module named 'not_installed_anywhere'; install", make_plan(), "needs_more_study:train",
            folder=folder, workers=1)
    refused(tmp_path, "a worker process dies when it loads it", make_plan(), "ends_at_once_study:train", folder=folder,
            workers=1)


def test_an_objective_that_cannot_be_pickled_names_both_ways_out(tmp_path, make_plan):
    lock = threading.Lock()
    refused(tmp_path, r"cannot be sent to worker processes.*module.*ThreadPoolExecutor", make_plan(),
            lambda trial: lock.acquire())
    refused(tmp_path, "neither a function", make_plan(), 3)
    refused(tmp_path, "workers = 0", make_plan(), workers=0)


def test_any_callable_runs_in_threads(tmp_path, make_plan, threads):
    lock = threading.Lock()

    def train(trial):
        with lock:
            trial.report(1, valid_error=trial["learning_rate"])

    round_ = run(make_plan(), train, store=tmp_path / "runs.db", executor=threads)
    assert round_.studies[0].ranked("valid_error")[0].best("valid_error").step == 1


def test_an_input_error_of_the_objective_ends_the_run_and_leaves_nothing(tmp_path, make_plan, objectives, threads):
    refused(tmp_path, "no folder /data/cifar; give the path", make_plan(), objectives.no_data, executor=threads)
    # A store that was there keeps what it had.
    run(make_plan(), objectives.descend, store=tmp_path / "runs.db", executor=threads)
    with pytest.raises(InputError, match="no folder /data/cifar"):
        run(make_plan(name="second"), objectives.no_data, store=tmp_path / "runs.db", executor=threads)
    with Store(tmp_path / "runs.db") as store:
        assert [(info.name, info.finished) for info in store.rounds()] == [("slow-or-fast", 16)]
    assert not (tmp_path / "runs.trials" / "second").exists()


def test_a_store_that_cannot_be_made(make_plan, objectives, threads, tmp_path):
    with pytest.raises(InputError, match=r"/proc/runs\.db cannot be opened"):
        run(make_plan(), objectives.descend, store="/proc/runs.db", executor=threads)
    with pytest.raises(InputError, match="there is no folder"):
        run(make_plan(), objectives.descend, store=tmp_path / "nowhere" / "runs.db", executor=threads)

    def slow(trial):
        raise AssertionError

    slow.prepare = lambda plan: pytest.fail("prepared for a store that cannot be")
    with pytest.raises(InputError, match=r"/proc/runs\.db cannot be opened"):
        run(make_plan(), slow, store="/proc/runs.db", executor=threads)


def test_resume_must_be_wanted_and_the_plan_the_same(tmp_path, make_plan, objectives, threads):
    options = {"store": tmp_path / "runs.db", "executor": threads}
    run(make_plan(), objectives.descend, **options)
    with pytest.raises(InputError, match=r"already has a round 'slow-or-fast'.*--resume"):
        run(make_plan(), objectives.descend, resume=False, **options)
    with pytest.raises(InputError, match=r"with another steps \(200, not 300\)"):
        run(make_plan(steps=300), objectives.descend, **options)
    with pytest.raises(InputError, match="with another objective"):
        run(make_plan(), objectives.crash_odd, **options)


def test_a_finished_round_is_read_without_any_worker(tmp_path, make_plan, results, objectives, threads):
    first = run(make_plan(), objectives.descend, store=tmp_path / "runs.db", executor=threads)
    with ThreadPoolExecutor(1) as closed:
        pass
    again = run(make_plan(), objectives.descend, store=tmp_path / "runs.db", executor=closed)
    assert results(again) == results(first)


def test_a_script_without_a_main_guard_is_told_so(tmp_path):
    (tmp_path / "train_study.py").write_text(
        "import refplay.study as s\n"
        "def train(trial): trial.report(1, valid_error=1.0)\n"
        "s.run(s.Plan(name='n', goal='g', trials=2, reruns=0), train, workers=1)\n")
    done = subprocess.run([sys.executable, "train_study.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert 'if __name__ == "__main__":' in done.stderr.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["train_study.py"]


FROM_STDIN = """import sys
from refplay import InputError, LogUniform, Plan, run
def train(trial): trial.report(1, valid_error=1.0)
objective = "study_objectives:descend" if sys.argv[1] == "named" else train
plan = Plan(name="n", goal="g", trials=2, reruns=0, nuisance={"learning_rate": LogUniform(1e-3, 1e-1)})
try:
    (study,) = run(plan, objective, workers=1, folder=sys.argv[2]).studies
    print(len(study.ranked("valid_error")))
except InputError as error:
    print(error)
"""


@pytest.mark.parametrize(("how", "objective", "said"), [
    ("-", "named", "cannot load a program from <stdin>; put it in a file"),
    ("-", "own", "cannot load a program from <stdin>; put it in a file"),
    ("-c", "own", "'train' is defined in an interactive session"),
    ("-c", "named", "2\n"),
])
def test_a_program_that_has_no_file_is_told_so_before_any_process_starts(tmp_path, objectives_folder, how, objective,
                                                                         said):
    code = [FROM_STDIN] if how == "-c" else []
    done = subprocess.run([sys.executable, how, *code, objective, str(objectives_folder)], cwd=tmp_path, timeout=60,
                          input="" if code else FROM_STDIN, capture_output=True, text=True, check=False)
    assert said in done.stdout
    assert done.stderr == ""


def test_a_full_disk_in_the_middle_leaves_the_store_readable_and_resumable(tmp_path, make_plan, results, objectives,
                                                                           objectives_folder, threads):
    plan = make_plan()
    code = ("import resource, sys; from refplay.study import load_plan, run\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))\n"
            "if __name__ == '__main__': run(load_plan('plan.toml'), store='runs.db', workers=1, folder=sys.argv[1])\n")
    from refplay.study.plan_toml import dump_plan
    (tmp_path / "plan.toml").write_text(dump_plan(plan))
    (tmp_path / "limited_study.py").write_text(code)
    done = subprocess.run([sys.executable, "limited_study.py", str(objectives_folder)], cwd=tmp_path, text=True,
                          capture_output=True, timeout=60)
    assert done.returncode == 1
    assert "InputError: store" in done.stderr
    assert "disk is full" in done.stderr
    with closing(sqlite3.connect(tmp_path / "runs.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with Store(tmp_path / "runs.db") as store:
        finished = store.rounds()[0].finished
    assert 0 < finished < 16
    resumed = run(plan, objectives.descend, store=tmp_path / "runs.db", executor=threads)
    assert results(resumed) == results(run(plan, objectives.descend, store=tmp_path / "other.db", executor=threads))

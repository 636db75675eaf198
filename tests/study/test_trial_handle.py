"""What an objective gets, what its reports become, and how its end is judged."""

import errno
import math

import numpy as np
import pytest
import torch

from refplay import seeds
from refplay.errors import InputError
from refplay.study.record import State
from refplay.study.trial import Assignment, Trial, run_trial

PARAMS = {"optimizer": "adam", "width": 16, "optimizer.adam.learning_rate": 0.25, "optimizer.adam.beta1": 0.9}


def assign(tmp_path, **changes):
    folder = str(tmp_path / "3-rerun1")
    return Assignment("round/optimizer=adam", 3, 1, 77, PARAMS, 50, "valid_error", folder)._replace(**changes)


def run(tmp_path, objective, **changes):
    return run_trial(objective, assign(tmp_path, **changes), ())


def test_handle_shows_its_place_and_its_hyperparameters(tmp_path):
    trial = Trial(assign(tmp_path))
    assert (trial.study, trial.number, trial.rerun, trial.seed, trial.steps) == ("round/optimizer=adam", 3, 1, 77, 50)
    assert trial["beta1"] == trial["optimizer.adam.beta1"] == 0.9
    assert trial["width"] == 16
    assert "beta1" in trial
    assert "momentum" not in trial
    assert trial.get("momentum") is None
    assert trial.get("beta1", 0.5) == 0.9
    assert dict(trial.params) == PARAMS
    with pytest.raises(KeyError, match=r"no hyperparameter 'beta2'.*beta1"):
        trial["beta2"]
    assert trial.generator("init").random() == seeds.generator(77, "init").random()
    assert not (tmp_path / "3-rerun1").exists()
    assert trial.folder.is_dir()


def test_reports_become_curves(tmp_path):
    def objective(trial):
        trial.report(0, valid_error=np.float32(0.5))
        trial.report(np.int64(2), valid_error=torch.tensor(0.1), train_loss=3)
        trial.report(5, train_loss=True, valid_error=math.inf)

    outcome = run(tmp_path, objective)
    assert outcome.state is State.COMPLETE
    assert outcome.reason == ""
    assert outcome.curves == {"valid_error": ([0, 2, 5], [0.5, float(np.float32(0.1)), math.inf]),
                              "train_loss": ([2, 5], [3.0, 1.0])}
    assert outcome.seconds > 0
    assert not outcome.has_folder


@pytest.mark.parametrize(("value", "text"), [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf")])
def test_a_train_loss_that_is_not_finite_is_infeasible(tmp_path, value, text):
    def objective(trial):
        trial.report(7, train_loss=1.0, valid_error=0.5)
        trial.report(8, train_loss=value)
        raise AssertionError("the report ends the trial")

    outcome = run(tmp_path, objective)
    assert (outcome.state, outcome.reason) == (State.INFEASIBLE, f"train_loss is {text} at step 8")
    assert outcome.curves["train_loss"][0] == [7, 8]


def test_an_objective_that_swallows_the_divergence_is_infeasible_all_the_same(tmp_path):
    def objective(trial):
        try:
            trial.report(8, train_loss=math.nan, valid_error=0.1)
        except FloatingPointError:
            return

    assert run(tmp_path, objective).state is State.INFEASIBLE


class Stepped(FloatingPointError):
    step = 12


@pytest.mark.parametrize(("error", "reason"), [
    (FloatingPointError("the gradient norm is inf"), "the gradient norm is inf (last report at step 4)"),
    (Stepped("loss exploded"), "loss exploded (at step 12)"),
    (Stepped("step 12: loss is nan"), "step 12: loss is nan"),
    (OverflowError(), "OverflowError (last report at step 4)"),
])
def test_floating_point_errors_are_infeasible_with_step_and_reason(tmp_path, error, reason):
    def objective(trial):
        trial.report(4, valid_error=0.5)
        raise error

    outcome = run(tmp_path, objective)
    assert (outcome.state, outcome.reason) == (State.INFEASIBLE, reason)


@pytest.mark.parametrize("error", [RuntimeError("boom"), ZeroDivisionError("boom"), SystemExit("boom"),
                                   PermissionError(errno.EACCES, "boom")])
def test_any_other_exception_is_a_failure_with_its_traceback(tmp_path, error):
    def objective(trial):
        trial.report(4, valid_error=0.5)
        raise error

    outcome = run(tmp_path, objective)
    assert outcome.state is State.FAILED
    assert "boom" in outcome.reason
    assert "in objective" in outcome.reason
    assert "in _attempt" not in outcome.reason  # the frames of refplay are of no use to the reader
    assert outcome.curves["valid_error"] == ([4], [0.5])


@pytest.mark.parametrize("error", [InputError("no data"), KeyboardInterrupt()])
def test_what_a_person_has_to_mend_is_no_result(tmp_path, error):
    def objective(trial):
        raise error

    with pytest.raises(type(error)):
        run(tmp_path, objective)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_no_result(tmp_path, code):
    def objective(trial):
        raise OSError(code, "no room")

    with pytest.raises(InputError, match=r"disk filled up during trial 3 of round/optimizer=adam.*no room.*resume"):
        run(tmp_path, objective)


def test_a_warmup_may_lengthen_training(tmp_path):
    outcome = run(tmp_path, lambda trial: trial.report(trial.steps + 10, valid_error=0.5))
    assert (outcome.state, outcome.curves) == (State.COMPLETE, {"valid_error": ([60], [0.5])})


def test_an_objective_without_the_metric_has_failed(tmp_path):
    outcome = run(tmp_path, lambda trial: trial.report(1, valid_eror=0.5))
    assert outcome.state is State.FAILED
    assert outcome.reason == ("the objective never reported 'valid_error', the plan's metric, but 'valid_eror': "
                              "report it, or plan with metric = one of those")
    silent = run(tmp_path, lambda trial: None)
    assert silent.state is State.FAILED
    assert "never reported 'valid_error', the plan's metric or anything else: call trial.report" in silent.reason


def test_a_metric_that_is_never_finite_is_infeasible(tmp_path):
    outcome = run(tmp_path, lambda trial: trial.report(1, valid_error=math.nan))
    assert (outcome.state, outcome.reason) == (State.INFEASIBLE, "valid_error was never finite")


@pytest.mark.parametrize(("reports", "message"), [
    ([(-1, {"a": 1.0})], "step of 0 or more"),
    ([(1, {})], "at least one metric"),
    ([(1.5, {"a": 1.0})], "float"),
    ([(3, {"a": 1.0}), (3, {"a": 1.0})], "a was reported at step 3 and now at 3"),
    ([(3, {"a": 1.0}), (2, {"a": 1.0})], "a was reported at step 3 and now at 2"),
    ([(3, {"a": "high"})], "a = 'high' is not a number"),
    ([(3, {"a": None})], "a = None is not a number"),
    ([(3, {"a": torch.ones(2)})], "is not a number"),
])
def test_reports_that_make_no_curve_are_bugs_of_the_objective(tmp_path, reports, message):
    trial = Trial(assign(tmp_path))
    *before, (step, metrics) = reports
    for earlier, fine in before:
        trial.report(earlier, **fine)
    with pytest.raises((ValueError, TypeError), match=message):
        trial.report(step, **metrics)


def interrupted(tmp_path, *reports, cut=0):
    """An attempt that ends without an outcome, as when its process is killed; `cut` bytes never reached the disk."""
    trial = Trial(assign(tmp_path))
    folder = trial.folder
    for step, metrics in reports:
        trial.report(step, **metrics)
    trial.close()
    if cut:
        with (folder / "reports.jsonl").open("r+b") as journal:
            journal.truncate(journal.seek(0, 2) - cut)


def test_a_trial_that_goes_on_from_a_checkpoint_keeps_what_came_before_it(tmp_path):
    interrupted(tmp_path, *[(step, {"valid_error": 1 / step, "train_loss": 2 / step}) for step in range(1, 9)])

    def objective(trial):  # its checkpoint was of step 5
        assert trial.folder.is_dir()
        for step in range(6, 11):
            trial.report(step, valid_error=1 / step)

    outcome = run(tmp_path, objective)
    assert outcome.curves["valid_error"] == (list(range(1, 11)), [1 / step for step in range(1, 11)])
    assert outcome.curves["train_loss"] == ([1, 2, 3, 4, 5], [2 / step for step in range(1, 6)])
    assert outcome.has_folder


def test_a_trial_that_starts_again_forgets_all(tmp_path):
    interrupted(tmp_path, (1, {"a": 0.1, "b": 1.0}), (2, {"a": 0.2}))

    def objective(trial):
        trial.report(1, a=0.3)  # before it looks at its folder
        assert trial.folder.is_dir()
        trial.report(2, a=0.4)

    assert run(tmp_path, objective, metric="a").curves == {"a": ([1, 2], [0.3, 0.4])}


@pytest.mark.parametrize("cut", [0, 1, 4, 11])
def test_several_attempts_and_a_line_cut_by_a_kill(tmp_path, cut):
    interrupted(tmp_path, (1, {"a": 0.1}), (2, {"a": 0.2}), (3, {"a": 0.3}))
    interrupted(tmp_path, (3, {"a": 0.33}), (4, {"a": math.inf}), (5, {"a": 0.5}), cut=cut)

    def objective(trial):  # from a checkpoint of step 4
        assert trial.folder.is_dir()
        trial.report(5, a=0.55)

    assert run(tmp_path, objective, metric="a").curves == {"a": ([1, 2, 3, 4, 5], [0.1, 0.2, 0.33, math.inf, 0.55])}


def test_killed_after_the_last_checkpoint(tmp_path):
    interrupted(tmp_path, (1, {"valid_error": 0.1}), (2, {"valid_error": 0.2}))
    outcome = run(tmp_path, lambda trial: trial.folder)
    assert (outcome.state, outcome.curves) == (State.COMPLETE, {"valid_error": ([1, 2], [0.1, 0.2])})

"""The built-in workload: what a plan may give it, and one line for everything else, before any trial runs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refplay.data import load_dataset
from refplay.errors import InputError
from refplay.kernels import load
from refplay.nn import FAMILIES, BatchNorm, Network
from refplay.optim import RULES
from refplay.procedures.workloads import DEFAULTS, build, classifier, evaluate_on_test, prepare
from refplay.search.space import LogUniform
from refplay.study.plan import Plan
from refplay.study.record import State, TrialRecord
from refplay.study.trial import Assignment, Trial
from refplay.train import Training, best_checkpoint, evaluate, list_checkpoints, load_weights

NEEDED = {"inverse_sqrt": {"timescale": 7}, "exponential": {"end_factor": 0.1},
          "piecewise": {"boundaries": [3], "factors": [0.1]}}  # fmt: skip


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"learning_rate": "fast"}, "learning_rate = 'fast'"),
        ({"learning_rate": True}, "learning_rate = True"),
        ({"optimizer": "adamw"}, "unknown optimizer 'adamw'; choose one of sgd"),
        ({"optimizer": {}}, "unknown optimizer {}"),
        ({"optimizer": "adam", "beta1": "x"}, "beta1 = 'x'"),
        ({"momentum": 1.0}, "momentum = 1.0"),
        ({"model": ["mlp"]}, r"unknown model \['mlp'\]"),
        ({"width": "wide"}, "width is 'wide'"),
        ({"width": 64.0}, "width is 64.0; it must be a whole number"),
        ({"width": float("nan")}, "width is nan"),
        ({"depth": True}, "depth is True"),
        ({"depth": 1, "residual": "inside"}, "unknown residual form 'inside'"),
        ({"activation": 3}, "unknown activation 3"),
        ({"dropout": "x"}, "dropout rate is 'x'"),
        ({"dropout": 1.0}, "dropout rate is 1.0"),
        ({"model": "resnet", "strides": 2}, "strides is 2"),
        ({"model": "resnet", "strides": "12"}, "strides is '12'"),
        ({"model": "resnet", "strides": [1, "a"]}, r"strides\[1\] is 'a'"),
        ({"model": "resnet", "zero_init": "yes"}, "zero_init is 'yes'"),
        ({"schedule": "exponential"}, "schedule = 'exponential' needs end_factor"),
        ({"schedule": "piecewise"}, "schedule = 'piecewise' needs boundaries"),
        ({"schedule": "piecewise", "boundaries": 3, "factors": [0.1]}, "boundaries = 3"),
        ({"schedule": "inverse_sqrt", "timescale": 0.5}, "timescale = 0.5"),
        ({"batch_size": "64"}, "batch_size = '64'"),
        ({"batch_size": 1198}, "batch_size = 1198 is above the 1197 training examples"),
        ({"batch_size": 100, "normalization": "batch"}, "batch size 100 is not a multiple of ghost size 64"),
        ({"weight_decay": "x"}, "weight_decay = 'x'"),
        ({"decoupled": "yes"}, "decoupled = 'yes'"),
        ({"label_smoothing": "x"}, "label_smoothing = 'x'"),
        ({"clip_threshold": "x"}, "clip_threshold = 'x'"),
        ({"polyak_decay": "x"}, "polyak_decay = 'x'"),
        ({"evaluation_batch": 100.5}, "evaluation_batch = 100.5"),
        ({"data": "no-such-folder"}, "no data set 'no-such-folder'"),
        ({"data_seed": 1.5}, "data_seed = 1.5"),
        ({"data_seed": -1}, "data_seed = -1"),
        ({"keep": 0}, "keep = 0"),
    ],
)
def test_a_bad_value_is_one_line_that_names_it(params: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        build(params, steps=10)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine", *NEEDED])
def test_every_schedule_lasts_as_long_as_the_trial(schedule: str) -> None:
    workload = build({"schedule": schedule, "learning_rate": 0.2, "warmup_steps": 4} | NEEDED.get(schedule, {}), 10)
    rates = [workload.training.learning_rates()(step) for step in range(workload.training.total_steps + 1)]
    assert len(rates) == 15
    assert rates[0] == 0.0
    assert rates[4] == max(rates) == 0.2
    end = {"constant": 0.2, "linear": 0.0, "cosine": 0.0, "inverse_sqrt": 0.2 * (7 / 17) ** 0.5}.get(schedule, 0.02)
    assert rates[-1] == pytest.approx(end, abs=1e-15)


@pytest.mark.parametrize("rule", sorted(RULES))
def test_every_hyperparameter_reaches_its_rule_and_no_other(rule: str) -> None:
    given = {"momentum": 0.7, "rho": 0.8, "beta1": 0.6, "beta2": 0.95, "epsilon": 1e-3}
    workload = build({"optimizer": rule} | given, steps=10)
    assert workload.training.rule == rule
    assert set(workload.training.hyperparameters) == set(RULES[rule].hyperparameters)
    assert all(given[name] == value for name, value in workload.training.hyperparameters.items())
    assert workload.used & set(given) == set(RULES[rule].hyperparameters)


def test_what_is_given_reaches_the_model_and_the_training() -> None:
    params = {"model": "resnet", "width": 4, "strides": [1, 2], "ghost_size": 32, "batch_size": 96,
              "weight_decay": 1e-3, "decoupled": True, "label_smoothing": 0.2, "clip_threshold": 2.0,
              "polyak_decay": 0.9, "warmup_steps": 3, "evaluate_every": 5, "evaluation_batch": 128, "keep": 2,
              "data_seed": 1}  # fmt: skip
    workload = build(params, steps=10)
    model = FAMILIES["resnet"]((8, 8, 1), 10, width=4, strides=(1, 2), ghost_size=32)
    assert workload.model == model
    assert BatchNorm(32) in model.layers
    for name, value in params.items():
        if hasattr(workload.training, name):
            assert getattr(workload.training, name) == value, name
    assert isinstance(workload.training, Training)
    assert (workload.training.total_steps, workload.keep) == (13, 2)
    assert workload.used == frozenset(params) | frozenset(DEFAULTS)
    assert not (workload.data.train.y == build({}, 10).data.train.y).all()  # another split


def plan(**changes: Any) -> Plan:
    """Return a plan for the reference backend, which has nothing to compile."""
    fixed = {"width": 8, "backend": "numpy"} | changes.pop("fixed", {})
    settings: dict[str, Any] = {
        "name": "p", "goal": "?", "scientific": {"optimizer": ["nesterov", "adam"]}, "objective": "classifier",
        "nuisance": {"learning_rate": LogUniform(1e-3, 1e-1)}, "trials": 2, "steps": 12,
    }  # fmt: skip
    return Plan(**(settings | changes), fixed=fixed)


def test_a_plan_that_can_run_is_prepared() -> None:
    prepare(plan(fixed={"beta1": 0.8, "schedule": "cosine"}))  # beta1 has an effect under one of the two optimizers


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fixed": {"dropuot": 0.1}}, "plan 'p' gives 'dropuot', which nothing in its trials uses; .*dropout"),
        ({"fixed": {"rho": 0.9}}, "gives 'rho', which nothing in its trials uses"),
        ({"scientific": {"batch_size": [64, 5000]}}, "batch_size = 5000 is above"),  # not in the first study
        ({"fixed": {"backend": "cuda"}}, "backend: no kernel backend named 'cuda'"),
        ({"fixed": {"data": "missing"}}, "no data set 'missing'"),
    ],
)
def test_a_plan_that_cannot_run_is_refused_before_its_first_trial(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepare(plan(**changes))


def test_the_best_checkpoint_is_what_is_tested(tmp_path: Path) -> None:
    """The trial's parameters are those of a space with conditions; the test error is recounted example by example."""
    params = {"optimizer": "adam", "optimizer.adam.learning_rate": 0.05, "model": "convnet", "width": 4,
              "normalization": "batch", "ghost_size": 32, "polyak_decay": 0.8, "evaluate_every": 4,
              "backend": "numpy"}  # fmt: skip
    trial = Trial(Assignment("s", 0, 0, 7, params, 12, "valid_error", str(tmp_path)))
    classifier(trial)
    best = best_checkpoint(tmp_path)
    assert {c.step for c in list_checkpoints(tmp_path)} == {4, 8, 12}
    record = TrialRecord("s", 0, params, State.COMPLETE, 7, folder=str(tmp_path))
    found = evaluate_on_test(record, steps=12)

    data = load_dataset("digits")
    network = Network(FAMILIES["convnet"]((8, 8, 1), 10, width=4, normalization="batch"), load("numpy"), seed=7)
    load_weights(network, best.path)
    answers = [int(network.logits(x[np.newaxis]).argmax()) for x in data.test.x]
    assert found.error == np.mean(answers != data.test.y)
    assert best.metric == evaluate(network, data.valid).error


def test_a_first_trial_that_diverges_at_once_does_not_stop_the_others() -> None:
    prepare(plan(scientific={"optimizer": ["sgd"]}, nuisance={}, fixed={"learning_rate": 1e30}))

"""A plan that exists can run: whatever cannot is refused with one line that names the field and the mend."""

import numpy as np
import pytest

from refplay.errors import InputError
from refplay.search.space import Choice, Integer, LogUniform, OneMinusLogUniform, Space, Uniform
from refplay.study.plan import Plan

RATE = LogUniform(1e-4, 1e-1)
BASE = {"name": "n", "goal": "g"}
OPTIMIZER = {"scientific": {"optimizer": ["nesterov", "adam"]}}


@pytest.mark.parametrize(("changes", "named"), [
    ({"name": ""}, ["name", "empty"]),
    ({"name": 3}, ["name = 3"]),
    ({"name": "a/b"}, ["name 'a/b'", "'/'"]),
    ({"name": "a\nb"}, ["unprintable"]),
    ({"name": "x" * 101}, ["100 characters"]),
    ({"goal": "  "}, ["goal", "question"]),
    ({"metric": ""}, ["metric", "valid_error"]),
    ({"objective": None}, ["objective = None"]),
    ({"trials": 0}, ["trials = 0", "1 or more"]),
    ({"trials": 2.0}, ["trials = 2.0", "whole"]),
    ({"trials": True}, ["trials = True"]),
    ({"steps": 0}, ["steps = 0"]),
    ({"steps": "400"}, ["steps = '400'"]),
    ({"reruns": -1}, ["reruns = -1"]),
    ({"seed": -1}, ["seed = -1"]),
    ({"seed": 2**63}, ["seed"]),
    ({"mode": "explore"}, ["mode = 'explore'", "did you mean 'exploration'"]),
    ({"search": "haltom"}, ["search = 'haltom'", "did you mean 'halton'"]),
    ({"together": 1}, ["together = 1", "true or false"]),
    ({"notes": None}, ["notes = None"]),
    ({"scientific": ["optimizer"]}, ["scientific", "table"]),
    ({"scientific": {"optimizer": "adam"}}, ["scientific 'optimizer'", "list"]),
    ({"scientific": {"optimizer": []}}, ["scientific 'optimizer'", "at least one"]),
    ({"scientific": {"optimizer": ["adam", "adam"]}}, ["scientific 'optimizer'", "duplicate"]),
    ({"scientific": {"depth": [1, "1"]}}, ["scientific 'depth'", "alike"]),
    ({"scientific": {"depth": [[1, 2]]}}, ["scientific 'depth'", "[1, 2]"]),
    ({"scientific": {"steps": [100, 200]}}, ["scientific 'steps'", "length of training"]),
    ({"scientific": {"my width": [1]}}, ["scientific", "'my width'", "identifier"]),
    ({"fixed": {"epochs": 3}}, ["fixed 'epochs'", "`steps`"]),
    ({"fixed": {"width": None}}, ["fixed 'width'", "None"]),
    ({"fixed": {"width": float("nan")}}, ["fixed 'width'", "finite"]),
    ({"nuisance": {"max_train_steps": Integer(1, 9)}}, ["nuisance 'max_train_steps'"]),
    ({"nuisance": {"learning_rate": 0.1}}, ["nuisance 'learning_rate'", "`fixed`"]),
    ({"nuisance": {"optimzer": {"adam": Space(learning_rate=RATE)}}, **OPTIMIZER}, ["'optimzer'", "mean 'optimizer'"]),
    ({"nuisance": {"optimizer": {"adan": Space(learning_rate=RATE)}}, **OPTIMIZER}, ["'adan'", "mean 'adam'"]),
    ({"nuisance": {"optimizer": {"adam": RATE}}, **OPTIMIZER}, ["optimizer = 'adam'", "Space("]),
    ({"configurations": [{"num_epochs": 3}]}, ["configurations[0] 'num_epochs'", "length of training"]),
])
def test_bad_field_is_named_with_its_mend(changes, named):
    with pytest.raises(InputError) as caught:
        Plan(**{**BASE, **changes})
    message = str(caught.value)
    assert "\n" not in message
    for text in named:
        assert text in message


@pytest.mark.parametrize(("changes", "name"), [
    ({"scientific": {"width": [1, 2]}, "fixed": {"width": 1}}, "width"),
    ({"scientific": {"width": [1, 2]}, "nuisance": {"width": Integer(1, 2)}}, "width"),
    ({"fixed": {"learning_rate": 0.1}, "nuisance": {"learning_rate": RATE}}, "learning_rate"),
    ({"fixed": {"beta1": 0.9}, "nuisance": {"optimizer": {"adam": Space(beta1=RATE)}}, **OPTIMIZER}, "beta1"),
    ({"nuisance": {"rate": RATE, "optimizer": {"adam": Space(rate=RATE)}}, **OPTIMIZER}, "rate"),
    ({"fixed": {"width": 2}, "nuisance": {"norm": Choice(["none", "batch"], when={"batch": Space(width=RATE)})}},
     "width"),
])
def test_a_hyperparameter_has_one_role(changes, name):
    with pytest.raises(InputError, match=f"'{name}' has two roles"):
        Plan(**{**BASE, **changes})


def test_two_active_parents_cannot_both_own_a_name():
    # trial["rate"] would have two meanings where optimizer="adam" and dropout=True.
    with pytest.raises(InputError, match="'rate' has two roles"):
        Plan(**BASE, scientific={"optimizer": ["adam"], "dropout": [True, False]},
             nuisance={"optimizer": {"adam": Space(rate=RATE)}, "dropout": {True: Space(rate=RATE)}})


def test_equal_names_under_values_of_one_parent_are_different_hyperparameters():
    plan = Plan(**BASE, **OPTIMIZER, nuisance={"optimizer": {
        "nesterov": Space(learning_rate=LogUniform(1e-3, 1)), "adam": Space(learning_rate=LogUniform(1e-5, 1e-2))}})
    assert plan.roles() == {"optimizer": "scientific", "optimizer.nesterov.learning_rate": "nuisance",
                            "optimizer.adam.learning_rate": "nuisance"}
    ranges = [study.space.domains["learning_rate"] for study in plan.studies()]
    assert ranges == [LogUniform(1e-3, 1), LogUniform(1e-5, 1e-2)]


def test_every_hyperparameter_has_its_role():
    plan = Plan(**BASE, scientific={"width": [16, 32]}, fixed={"batch_size": 64},
                nuisance={"norm": Choice(["none", "batch"], when={"batch": Space(epsilon=LogUniform(1e-8, 1e-2))})})
    assert plan.roles() == {"width": "scientific", "norm": "nuisance", "norm.batch.epsilon": "nuisance",
                            "batch_size": "fixed"}


def test_numpy_values_become_plain_ones():
    plan = Plan(**BASE, scientific={"width": np.array([16, 32])}, fixed={"rate": np.float32(0.5)}, trials=np.int64(3))
    values = (*plan.scientific["width"], plan.fixed["rate"], plan.trials)
    assert [type(value) for value in values] == [int, int, float, int]


def test_a_plan_cannot_be_changed():
    with pytest.raises(AttributeError):
        Plan(**BASE).trials = 3


@pytest.mark.parametrize(("changes", "message"), [
    ({"configurations": [{"lr": 0.1}], "nuisance": {"lr": RATE}}, "not both"),
    ({"configurations": {"lr": 0.1}}, "list of tables"),
    ({"configurations": [0.1]}, r"configurations\[0\]"),
    ({"configurations": [{"lr": [0.1]}]}, r"configurations\[0\] 'lr'"),
    ({"configurations": [{"lr": 0.1, "width": 2}], "fixed": {"width": 2}}, "'width', which is fixed"),
    ({"configurations": [{"lr": 0.1}], **OPTIMIZER}, r"configurations\[0\].* no value to the scientific 'optimizer'"),
    ({"configurations": [{"optimizer": "adan"}], **OPTIMIZER}, "'adan'.*did you mean 'adam'"),
    ({"configurations": [{"optimizer": "adam"}], **OPTIMIZER}, "no configuration for .*nesterov"),
    ({"configurations": [{"lr": 0.1}, {"momentum": 0.1}]}, r"\['lr', 'momentum'\]"),
    ({"configurations": [{"epochs": 1}]}, "length of training"),
])
def test_bad_hand_written_trials_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        Plan(**{**BASE, **changes})


def test_hand_written_trials_are_split_by_scientific_value():
    plan = Plan(**BASE, **OPTIMIZER, fixed={"width": 8}, configurations=[
        {"optimizer": "adam", "beta1": 0.9}, {"optimizer": "nesterov", "momentum": 0.5},
        {"optimizer": "adam", "beta1": 0.8}, {"optimizer": "adam", "beta1": 0.9}])
    nesterov, adam = plan.studies()
    assert nesterov.params() == [{"optimizer": "nesterov", "width": 8, "momentum": 0.5}]
    assert [values["beta1"] for values in adam.params()] == [0.9, 0.8, 0.9]
    assert adam.space == Space(beta1=Choice([0.9, 0.8]))
    assert adam.trials == 3


def test_hand_written_trials_together():
    plan = Plan(**BASE, scientific={"width": [8, 16]}, together=True, configurations=[
        {"width": 16, "lr": 0.1}, {"width": 8, "lr": 0.2}])
    (study,) = plan.studies()
    assert study.params() == [{"width": 16, "lr": 0.1}, {"width": 8, "lr": 0.2}]
    assert study.scientific == {}


def test_one_study_for_each_combination():
    plan = Plan(**BASE, scientific={"optimizer": ["nesterov", "adam"], "dropout": [False, True]}, trials=5,
                nuisance={"weight_decay": RATE, "optimizer": {"adam": Space(beta1=OneMinusLogUniform(1e-2, 1))},
                          "dropout": {True: Space(rate=Uniform(0.1, 0.6))}}, fixed={"width": 8})
    assert [(study.name, list(study.space.domains)) for study in plan.studies()] == [
        ("n/optimizer=nesterov,dropout=false", ["weight_decay"]),
        ("n/optimizer=nesterov,dropout=true", ["weight_decay", "rate"]),
        ("n/optimizer=adam,dropout=false", ["weight_decay", "beta1"]),
        ("n/optimizer=adam,dropout=true", ["weight_decay", "beta1", "rate"])]
    study = plan.studies()[3]
    params = study.params()
    assert len(params) == 5
    assert all(values.keys() == {"optimizer", "dropout", "width", "weight_decay", "beta1", "rate"} for values in params)
    assert {(values["optimizer"], values["dropout"], values["width"]) for values in params} == {("adam", True, 8)}
    assert len({values["rate"] for values in params}) == 5
    assert params == study.params()
    other = Plan(**BASE, seed=1, nuisance=plan.nuisance, scientific=plan.scientific, fixed=plan.fixed, trials=5)
    assert params != other.studies()[3].params()


def test_studies_of_one_plan_use_different_points_and_seeds(make_plan):
    first, second = make_plan(nuisance={"learning_rate": RATE}).studies()
    assert [a["learning_rate"] for a in first.params()] != [b["learning_rate"] for b in second.params()]
    seeds = {spec.trial_seed(number, rerun) for spec in (first, second) for number in range(20) for rerun in range(3)}
    assert len(seeds) == 120


def test_together_samples_each_scientific_value_uniformly():
    plan = Plan(**BASE, **OPTIMIZER, together=True, trials=200, fixed={"width": 8},
                nuisance={"weight_decay": RATE, "optimizer": {"adam": Space(beta1=OneMinusLogUniform(1e-2, 1))}})
    (study,) = plan.studies()
    params = study.params()
    assert study.name == "n"
    assert study.scientific == {}
    # The coordinate of the choice is base 2 of a Halton sequence: its halves differ by at most one point in 200.
    assert abs(sum(values["optimizer"] == "adam" for values in params) - 100) <= 1
    assert all(("optimizer.adam.beta1" in values) == (values["optimizer"] == "adam") for values in params)


def test_grid_in_more_than_two_dimensions_is_refused():
    plan = Plan(**BASE, search="grid", nuisance={"a": Uniform(0, 1), "b": Uniform(0, 1), "c": Uniform(0, 1)})
    with pytest.raises(InputError, match="grid"):
        plan.studies()[0].params()


def test_no_hyperparameter_at_all_gives_equal_trials():
    (study,) = Plan(**BASE, fixed={"width": 2}, trials=3).studies()
    assert study.params() == [{"width": 2}] * 3

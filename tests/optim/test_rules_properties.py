"""The table of rules, initial states, and hyperparameters that are refused. What rules imply: tests/verify."""

import numpy as np
import pytest

from refplay.errors import InputError
from refplay.optim import RULES

ARRAYS_OF_STATE = {"sgd": {}, "momentum": {"v": 0}, "nesterov": {"v": 0}, "rmsprop": {"v": 1, "m": 0},
                   "adam": {"m": 0, "v": 0}, "nadam": {"m": 0, "v": 0}}


def run(name, kernels, course, rates=None, **hyperparameters):
    theta, gradients, default = course
    theta, rule = kernels.asarray(theta.copy()), RULES[name]
    state = rule.init(theta, kernels)
    for g, lr in zip(gradients, rates or default, strict=True):
        state = rule.update(theta, kernels.asarray(g.copy()), state, lr=lr, **hyperparameters, kernels=kernels)
    return kernels.to_host(theta)


# OPT1: every rule offers all of its hyperparameters.


def test_table_of_rules():
    assert {name: rule.tunable for name, rule in RULES.items()} == {
        "sgd": ("learning_rate",),
        "momentum": ("learning_rate", "momentum"),
        "nesterov": ("learning_rate", "momentum"),
        "rmsprop": ("learning_rate", "momentum", "rho", "epsilon"),
        "adam": ("learning_rate", "beta1", "beta2", "epsilon"),
        "nadam": ("learning_rate", "beta1", "beta2", "epsilon"),
    }


@pytest.mark.parametrize("rule", RULES.values(), ids=lambda rule: rule.name)
def test_defaults_are_those_of_the_table(rule, oracle, course):
    explicit = run(rule.name, oracle, course, **rule.hyperparameters)
    np.testing.assert_array_equal(run(rule.name, oracle, course), explicit)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_initial_state(name, dtype, kernels):
    theta = kernels.asarray(np.full(5, 3, dtype))
    state = RULES[name].init(theta, kernels)._asdict()
    assert state.pop("t", 0) == 0
    assert {key: kernels.to_host(value).tolist() for key, value in state.items()} == {
        key: [value] * 5 for key, value in ARRAYS_OF_STATE[name].items()}
    assert all(value.dtype == dtype for value in state.values())


@pytest.mark.parametrize("name", RULES)
def test_step_writes_into_the_arrays_that_it_was_given_and_keeps_the_gradient(name, kernels):
    theta, g = kernels.asarray(np.ones(5)), kernels.asarray(np.full(5, 2.0))
    before = RULES[name].init(theta, kernels)
    after = RULES[name].update(theta, g, before, lr=0.1, kernels=kernels)
    assert type(after) is type(before)
    assert all(getattr(after, key) is getattr(before, key) for key in ARRAYS_OF_STATE[name])
    assert getattr(after, "t", 1) == 1
    assert (kernels.to_host(g) == 2).all()
    assert (kernels.to_host(theta) < 1).all()


# Hyperparameters out of range.

BAD = [(name, key, value) for name, rule in RULES.items() for key in rule.tunable
       for value in ((-0.1, float("nan"), float("inf"), "0.1", None, True) if key in ("learning_rate", "epsilon") else
                     (-0.1, 1.0, 1.5, float("nan"), "0.9", None, True))]  # fmt: skip


@pytest.mark.parametrize(("name", "key", "value"), BAD)
def test_bad_hyperparameter_is_named_and_nothing_is_written(name, key, value, oracle):
    theta = np.ones(3)
    state = RULES[name].init(theta, oracle)
    keywords = {"lr": 0.1} | {"lr" if key == "learning_rate" else key: value}
    with pytest.raises(InputError, match=rf"^{key} = .*; give ") as caught:
        RULES[name].update(theta, np.ones(3), state, **keywords, kernels=oracle)
    assert "\n" not in str(caught.value)
    assert (theta == 1).all()


@pytest.mark.parametrize("value", [0.0, np.float32(0.25), np.float64(0.25), 0])
def test_zero_and_numpy_numbers_are_fine(value, oracle):
    theta = np.ones(3)
    RULES["sgd"].update(theta, np.ones(3), RULES["sgd"].init(theta, oracle), lr=value, kernels=oracle)
    np.testing.assert_array_equal(theta, 1 - float(value))


def test_hyperparameters_are_keyword_only(oracle):
    theta = np.ones(3)
    for rule in RULES.values():
        with pytest.raises(TypeError, match="positional"):
            rule.update(theta, np.ones(3), rule.init(theta, oracle), 0.1)

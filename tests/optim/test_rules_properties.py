"""Special cases, quadratics in closed form, initial states, and hyperparameters that are refused."""

import numpy as np
import pytest

from refplay.errors import InputError
from refplay.optim import RULES

EPS = np.finfo(np.float64).eps
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


# OPT3: the special cases.


@pytest.mark.parametrize("name", ["momentum", "nesterov"])
def test_no_momentum_is_sgd_bitwise(name, kernels, course):
    np.testing.assert_array_equal(run(name, kernels, course, momentum=0.0), run("sgd", kernels, course))


def test_nadam_without_beta1_is_adam_without_beta1(kernels, course):
    both = [run(name, kernels, course, beta1=0.0, beta2=0.8, epsilon=0.1) for name in ("adam", "nadam")]
    np.testing.assert_array_equal(*both)


def test_adam_with_large_epsilon_approaches_momentum(oracle, course):
    # With the rate lr * epsilon / ((1 - beta1) b) Adam's step is lr * (momentum's v) * epsilon / (sqrt(v) + epsilon):
    # the difference must shrink like 1 / epsilon.
    expected = run("momentum", oracle, course, momentum=0.7)
    b = [np.sqrt(1 - 0.8 ** (t + 1)) / (1 - 0.7 ** (t + 1)) for t in range(12)]
    difference = []
    for epsilon in (1e2, 1e4, 1e6):
        rates = [lr * epsilon / (1 - 0.7) / b_t for lr, b_t in zip(course[2], b, strict=True)]
        theta = run("adam", oracle, course, rates, beta1=0.7, beta2=0.8, epsilon=epsilon)
        difference.append(np.abs(theta - expected).max())
    assert difference[2] < 1e-5
    assert 90 < difference[0] / difference[1] < 110  # 100 but for terms of second order: sqrt(v) / epsilon < 2%
    assert 90 < difference[1] / difference[2] < 110


def test_first_step_of_rmsprop_with_tiny_gradients(kernels):
    # v_0 = 1: lr g / sqrt(rho + epsilon), proportional to g; from v_0 = 0 it would be lr / sqrt(1 - rho) = 3.16 lr.
    theta = kernels.asarray(np.zeros(3))
    g = np.array([1e-9, -2e-9, 4e-9])
    rule = RULES["rmsprop"]
    rule.update(theta, kernels.asarray(g), rule.init(theta, kernels), lr=0.5, rho=0.9, epsilon=0.07, kernels=kernels)
    # g^2 is 1e-17 beside rho, below the rounding of rho: what is left is some six roundings
    np.testing.assert_allclose(kernels.to_host(theta), -0.5 * g / np.sqrt(0.97), rtol=8 * EPS)


# Quadratics: on the loss h x^2 / 2 each rule is a linear recurrence whose solution has a closed form.


def trajectory(name, kernels, h, lr, steps, **hyperparameters):
    theta, rule = kernels.asarray(np.array([1.5])), RULES[name]
    state, path = rule.init(theta, kernels), [1.5]
    for _ in range(steps):
        g = kernels.asarray(h * kernels.to_host(theta))
        state = rule.update(theta, g, state, lr=lr, **hyperparameters, kernels=kernels)
        path.append(float(kernels.to_host(theta)[0]))
    return np.array(path)


@pytest.mark.parametrize(("h", "lr"), [(2.0, 0.1), (3.0, 0.5), (0.3, 1.7)])
def test_sgd_on_a_quadratic(h, lr, kernels):
    path = trajectory("sgd", kernels, h, lr, 30)
    # |1 - lr h| <= 1 here, so errors do not grow: three roundings a step
    np.testing.assert_allclose(path, 1.5 * (1 - lr * h) ** np.arange(31), rtol=0, atol=3 * 31 * 1.5 * EPS)


# z^2 - trace z + determinant = 0: the eigenvalues of the iteration matrix (Polyak 1964 for the heavy ball).
POLYNOMIAL = {"momentum": lambda q, gamma: (1 + gamma - q, gamma),
              "nesterov": lambda q, gamma: ((1 + gamma) * (1 - q), gamma * (1 - q))}
FIRST = {"momentum": lambda q, gamma: 1 - q, "nesterov": lambda q, gamma: 1 - q * (1 + gamma)}


@pytest.mark.parametrize(("h", "lr", "gamma"), [(2.0, 0.3, 0.6), (2.0, 0.01, 0.6), (1.0, 0.05, 0.95), (2.0, 0.7, 0.4)])
@pytest.mark.parametrize("name", ["momentum", "nesterov"])
def test_momentum_on_a_quadratic(name, h, lr, gamma, kernels):
    trace, determinant = POLYNOMIAL[name](lr * h, gamma)
    root = np.sqrt(complex(trace**2 - 4 * determinant))
    z1, z2 = (trace + root) / 2, (trace - root) / 2
    assert max(abs(z1), abs(z2)) < 1
    a = (FIRST[name](lr * h, gamma) - z2) / (z1 - z2)  # from theta_0 and theta_1; the other coefficient is 1 - a
    t = np.arange(41)
    expected = 1.5 * (a * z1**t + (1 - a) * z2**t).real
    path = trajectory(name, kernels, h, lr, 40, momentum=gamma)
    # Six roundings a step on each side, kept by a stable recurrence and magnified by at most 1 / |z1 - z2|.
    np.testing.assert_allclose(path, expected, rtol=0, atol=12 * 41 * 1.5 * EPS * max(1, abs(a)) / abs(z1 - z2))


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

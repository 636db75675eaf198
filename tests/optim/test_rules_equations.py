"""The six rules against their equations, evaluated with 50 digits; and the mistakes that this must tell apart.

The equations are written out here from the playbook in mpmath, one scalar parameter at a time. Each has knobs for the
mistakes and framework habits that are known; a knob that is turned must lead far away from what the rule computes,
else these settings could not see it.
"""

import mpmath
import numpy as np
import pytest
from mpmath import mpf, sqrt

from refplay.optim import RULES

HYPERPARAMETERS = {
    "sgd": {},
    "momentum": {"momentum": 0.7},
    "nesterov": {"momentum": 0.7},
    "rmsprop": {"momentum": 0.7, "rho": 0.8, "epsilon": 0.1},
    "adam": {"beta1": 0.7, "beta2": 0.8, "epsilon": 0.1},
    "nadam": {"beta1": 0.7, "beta2": 0.8, "epsilon": 0.1},
}


def sgd(theta, gradients, rates):
    for g, lr in zip(gradients, rates, strict=True):
        theta = theta - lr * g
    return theta


def momentum(theta, gradients, rates, momentum, dampening=0, rate_inside=False):
    v = mpf(0)
    for g, lr in zip(gradients, rates, strict=True):
        v = momentum * v + (1 - dampening) * g * (lr if rate_inside else 1)
        theta = theta - (1 if rate_inside else lr) * v
    return theta


def nesterov(theta, gradients, rates, momentum, old_velocity=False):
    v = mpf(0)
    for g, lr in zip(gradients, rates, strict=True):
        before, v = v, momentum * v + g
        theta = theta - lr * (momentum * (before if old_velocity else v) + g)
    return theta


def rmsprop(theta, gradients, rates, momentum, rho, epsilon, v_0=1, outside=False, rate_outside=False, old_v=False):
    v, m = mpf(v_0), mpf(0)
    for g, lr in zip(gradients, rates, strict=True):
        before, v = v, rho * v + (1 - rho) * g**2
        used = before if old_v else v
        scaled = g / (sqrt(used) + epsilon) if outside else g / sqrt(used + epsilon)
        m = momentum * m + (1 if rate_outside else lr) * scaled
        theta = theta - (lr if rate_outside else 1) * m
    return theta


def adam(theta, gradients, rates, beta1, beta2, epsilon, nesterov=False, shift=1, first=True, second=True,
         place="before the correction", swapped=False, apart=False):
    m, v = mpf(0), mpf(0)
    for t, (g, lr) in enumerate(zip(gradients, rates, strict=True)):
        old, m = m, beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        c1 = 1 - beta1 ** (t + shift) if first else mpf(1)
        c2 = 1 - beta2 ** (t + shift) if second else mpf(1)
        numerator = m
        if nesterov:
            numerator = beta1 * (old if swapped else m) + (1 - beta1) * g
        if apart:  # as optax: each term of the numerator with a correction of its own
            numerator = c1 * (beta1 * m / (1 - beta1 ** (t + 2)) + (1 - beta1) * g / (1 - beta1 ** (t + 1)))
        step = {
            "before the correction": lambda n, c1=c1, c2=c2, v=v: n / (sqrt(v) + epsilon) * sqrt(c2) / c1,
            "after the correction": lambda n, c1=c1, c2=c2, v=v: n / c1 / (sqrt(v / c2) + epsilon),
            "inside the root": lambda n, c1=c1, c2=c2, v=v: n / sqrt(v + epsilon) * sqrt(c2) / c1,
            "epsilon-hat without its root": lambda n, c1=c1, c2=c2, v=v: n / (sqrt(v) + c2 * epsilon) * sqrt(c2) / c1,
        }[place](numerator)
        theta = theta - lr * step
    return theta


def nadam(*args, **keywords):
    return adam(*args, **keywords, nesterov=True)


EQUATIONS = {"sgd": sgd, "momentum": momentum, "nesterov": nesterov, "rmsprop": rmsprop, "adam": adam, "nadam": nadam}

ADAM_MUTANTS = [
    {"shift": 2}, {"first": False}, {"second": False}, {"first": False, "second": False},
    {"place": "after the correction"}, {"place": "inside the root"}, {"place": "epsilon-hat without its root"},
]  # fmt: skip
MUTANTS = {
    "momentum": [{"dampening": mpf("0.7")}, {"rate_inside": True}],
    "nesterov": [{"old_velocity": True}],
    "rmsprop": [{"v_0": 0}, {"outside": True}, {"rate_outside": True}, {"old_v": True}],
    "adam": ADAM_MUTANTS,
    "nadam": [*ADAM_MUTANTS, {"swapped": True}, {"apart": True}],
}


def run(rule, kernels, course, dtype):
    """Return theta after all steps of the course, as float64."""
    theta, gradients, rates = course
    theta = kernels.asarray(theta.astype(dtype))
    state = rule.init(theta, kernels)
    for g, lr in zip(gradients, rates, strict=True):
        state = rule.update(theta, kernels.asarray(g.astype(dtype)), state, lr=lr, **HYPERPARAMETERS[rule.name],
                            kernels=kernels)
    return kernels.to_host(theta).astype(np.float64)


def truth(name, course, dtype, **mutation):
    """The same by the equations with 50 digits, from the same rounded inputs."""
    theta, gradients, rates = course
    hyperparameters = {key: mpf(value) for key, value in HYPERPARAMETERS[name].items()}
    with mpmath.workdps(50):
        columns = zip(theta.astype(dtype).tolist(), gradients.astype(dtype).T.tolist(), strict=True)
        return np.array([
            float(EQUATIONS[name](mpf(start), [mpf(g) for g in column], [mpf(lr) for lr in rates], **hyperparameters,
                                  **mutation)) for start, column in columns])  # fmt: skip


def tolerance(dtype, course):
    # A step takes at most 12 roundings and moves theta by at most lr * 2 / (1 - 0.7) * 2 here: gradients |g| <= 2, so
    # velocities |v| <= 2 / 0.3, and Nesterov adds less than the same again. An error lives on for all 12 steps.
    theta, _, rates = course
    reach = np.abs(theta).max() + sum(rates) * 2 / 0.3 * 2
    return 12 * len(rates) * np.finfo(dtype).eps * reach


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", EQUATIONS)
def test_rule_follows_its_equation(name, dtype, kernels, course):
    error = np.abs(run(RULES[name], kernels, course, dtype) - truth(name, course, dtype))
    assert (error <= tolerance(dtype, course)).all(), error


@pytest.mark.parametrize(("name", "mutation"), [(name, m) for name, all_of in MUTANTS.items() for m in all_of])
def test_known_mistakes_would_be_seen(name, mutation, oracle, course):
    difference = np.abs(run(RULES[name], oracle, course, "float32") - truth(name, course, "float32", **mutation))
    assert difference.max() > 5 * tolerance("float32", course)


# Steps that can be done by hand: the settings make every root rational.
BY_HAND = [
    ("sgd", 0.5, {}, [3.0], [5 - 1.5]),
    ("momentum", 0.5, {"momentum": 0.75}, [4.0, 2.0], [5 - 2, 3 - 0.5 * (3 + 2)]),
    ("nesterov", 0.5, {"momentum": 0.75}, [4.0, 2.0], [5 - 0.5 * 7, 1.5 - 0.5 * (0.75 * 5 + 2)]),
    # v = 3/4 + 9/4 = 3, sqrt(3 + 1) = 2, m = 3/4; then g^2 = 3 keeps v = 9/4 + 3/4 = 3, and m = 3/8 + sqrt(3)/4
    ("rmsprop", 0.5, {"momentum": 0.5, "rho": 0.75, "epsilon": 1.0}, [3.0, np.sqrt(3)],
     [5 - 0.75, 4.25 - (0.375 + np.sqrt(3) / 4)]),
    # m = 2, v = 4, b = (1/2) / (1/2) = 1; then g = 2: m = 2, v = 4, b = sqrt(7)/4 / (3/4) = sqrt(7)/3
    ("adam", 1.0, {"beta1": 0.5, "beta2": 0.75, "epsilon": 2.0}, [4.0, 2.0], [5 - 0.5, 4.5 - np.sqrt(7) / 6]),
    ("nadam", 1.0, {"beta1": 0.5, "beta2": 0.75, "epsilon": 2.0}, [4.0, 2.0], [5 - 0.75, 4.25 - np.sqrt(7) / 6]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "lr", "hyperparameters", "gradients", "expected"), BY_HAND)
def test_steps_done_by_hand(name, lr, hyperparameters, gradients, expected, kernels):
    theta = kernels.asarray(np.array([5.0]))
    state = RULES[name].init(theta, kernels)
    for g, after in zip(gradients, expected, strict=True):
        state = RULES[name].update(theta, kernels.asarray(np.array([g])), state, lr=lr, **hyperparameters,
                                   kernels=kernels)
        # six roundings on values of at most 5 and the rounding of the expected value
        assert abs(kernels.to_host(theta)[0] - after) <= 8 * 5 * np.finfo(np.float64).eps

"""Wrong optimizers, each with one planted bug: every one is caught, and nearly all are told the term.

The bugs are written here by hand in NumPy, apart from the table and the edits by which the verifier explains them.
"""

from types import SimpleNamespace

import numpy as np
import pytest

from refplay.verify import assert_matches
from refplay.verify.identify import identify
from refplay.verify.report import explain, terms

KEEP = 0.05  # weight decay of the two bugs that have it


def optimizer(update, **start):
    """Make of update(s, theta, g, lr) a factory of `step`; s holds hyperparameters, moments and t (1 first)."""
    def factory(lr, momentum=0.9, rho=0.9, beta1=0.9, beta2=0.999, epsilon=1e-8):
        s = SimpleNamespace(gamma=momentum, rho=rho, b1=beta1, b2=beta2, eps=epsilon, m=0.0, v=0.0, t=0)
        vars(s).update(start)

        def step(theta, g, lr):
            s.t += 1
            return update(s, theta, g, lr)

        return step

    return factory


def moments(s, g):
    s.m = s.b1 * s.m + (1 - s.b1) * g
    s.v = s.b2 * s.v + (1 - s.b2) * g**2


def correction(s):
    return np.sqrt(1 - s.b2**s.t) / (1 - s.b1**s.t)


def adam_step(s, theta, lr):
    return theta - lr * s.m / (np.sqrt(s.v) + s.eps) * correction(s)


def sgd(s, theta, g, lr):
    return theta - lr * g


def momentum(s, theta, g, lr):
    s.v = s.gamma * s.v + g
    return theta - lr * s.v


def nesterov(s, theta, g, lr):
    s.v = s.gamma * s.v + g
    return theta - lr * (s.gamma * s.v + g)


def rmsprop(s, theta, g, lr):
    s.v = s.rho * s.v + (1 - s.rho) * g**2
    s.m = s.gamma * s.m + lr * g / np.sqrt(s.v + s.eps)
    return theta - s.m


def adam(s, theta, g, lr):
    moments(s, g)
    return adam_step(s, theta, lr)


def nadam(s, theta, g, lr):
    moments(s, g)
    return theta - lr * (s.b1 * s.m + (1 - s.b1) * g) / (np.sqrt(s.v) + s.eps) * correction(s)


RIGHT = {"sgd": (sgd, {}), "momentum": (momentum, {}), "nesterov": (nesterov, {}), "rmsprop": (rmsprop, {"v": 1.0}),
         "adam": (adam, {}), "nadam": (nadam, {})}


def sign_error(s, theta, g, lr):
    return theta + lr * g


def rate_applied_twice(s, theta, g, lr):
    return theta - lr * (lr * g)


def momentum_not_accumulated(s, theta, g, lr):
    v = s.gamma * s.v + g  # never stored
    return theta - lr * v


def stale_momentum(s, theta, g, lr):
    old, s.v = s.v, s.gamma * s.v + g
    return theta - lr * old


def momentum_of_one_minus_gamma(s, theta, g, lr):
    s.v = (1 - s.gamma) * s.v + g
    return theta - lr * s.v


def nesterov_forgets_the_gradient(s, theta, g, lr):
    s.v = s.gamma * s.v + g
    return theta - lr * s.gamma * s.v


def rmsprop_from_absolute_values(s, theta, g, lr):
    s.v = s.rho * s.v + (1 - s.rho) * abs(g)
    s.m = s.gamma * s.m + lr * g / np.sqrt(s.v + s.eps)
    return theta - s.m


def rmsprop_without_root(s, theta, g, lr):
    s.v = s.rho * s.v + (1 - s.rho) * g**2
    s.m = s.gamma * s.m + lr * g / (s.v + s.eps)
    return theta - s.m


def rmsprop_epsilon_outside(s, theta, g, lr):
    s.v = s.rho * s.v + (1 - s.rho) * g**2
    s.m = s.gamma * s.m + lr * g / (np.sqrt(s.v) + s.eps)
    return theta - s.m


def rmsprop_shares_swapped(s, theta, g, lr):
    s.v = (1 - s.rho) * s.v + s.rho * g**2
    s.m = s.gamma * s.m + lr * g / np.sqrt(s.v + s.eps)
    return theta - s.m


def adam_m_uncorrected(s, theta, g, lr):
    moments(s, g)
    return theta - lr * s.m / (np.sqrt(s.v) + s.eps) * np.sqrt(1 - s.b2**s.t)


def adam_v_uncorrected(s, theta, g, lr):
    moments(s, g)
    return theta - lr * s.m / (np.sqrt(s.v) + s.eps) / (1 - s.b1**s.t)


def adam_uncorrected(s, theta, g, lr):
    moments(s, g)
    return theta - lr * s.m / (np.sqrt(s.v) + s.eps)


def adam_betas_swapped(s, theta, g, lr):
    s.b1, s.b2 = (s.b2, s.b1) if s.t == 1 else (s.b1, s.b2)
    return adam(s, theta, g, lr)


def adam_epsilon_squared(s, theta, g, lr):
    moments(s, g)
    return theta - lr * s.m / (np.sqrt(s.v) + s.eps**2) * correction(s)


def adam_epsilon_in_the_root(s, theta, g, lr):
    moments(s, g)
    return theta - lr * s.m / np.sqrt(s.v + s.eps) * correction(s)


def adam_starts_at_step_two(s, theta, g, lr):
    s.t += s.t == 1
    return adam(s, theta, g, lr)


def adam_corrects_as_at_the_first_step(s, theta, g, lr):
    s.t = 1
    return adam(s, theta, g, lr)


def adam_moves_before_the_moments(s, theta, g, lr):
    after = adam_step(s, theta, lr)
    moments(s, g)
    return after


def adam_decay_into_v(s, theta, g, lr):
    s.m = s.b1 * s.m + (1 - s.b1) * g
    s.v = s.b2 * s.v + (1 - s.b2) * (g + KEEP * theta)**2
    return adam_step(s, theta, lr)


def adam_decay_misses_m(s, theta, g, lr):
    s.m = s.b1 * s.m + (1 - s.b1) * g
    s.v = s.b2 * s.v + (1 - s.b2) * (g - KEEP * theta)**2
    return adam_step(s, theta, lr)


def adam_gradient_not_squared(s, theta, g, lr):
    s.m = s.b1 * s.m + (1 - s.b1) * g
    s.v = s.b2 * s.v + (1 - s.b2) * g
    return adam_step(s, theta, lr)


def adam_v_not_rooted(s, theta, g, lr):
    moments(s, g)
    return theta - lr * s.m / (s.v + s.eps) * correction(s)


def adam_sums_m(s, theta, g, lr):
    s.m = s.b1 * s.m + g
    s.v = s.b2 * s.v + (1 - s.b2) * g**2
    return adam_step(s, theta, lr)


def adam_with_a_fixed_beta2(s, theta, g, lr):
    s.b2 = 0.999
    return adam(s, theta, g, lr)


def adam_squares_m(s, theta, g, lr):
    s.m = s.b1 * s.m + (1 - s.b1) * g
    s.v = s.b2 * s.v + (1 - s.b2) * s.m**2
    return adam_step(s, theta, lr)


def adam_never_forgets(s, theta, g, lr):  # AMSGrad
    moments(s, g)
    s.top = np.maximum(getattr(s, "top", 0), s.v)
    return theta - lr * s.m / (np.sqrt(s.top) + s.eps) * correction(s)


def adam_clips_each_value(s, theta, g, lr):
    return adam(s, theta, np.clip(g, -1, 1), lr)


def nadam_with_the_old_m(s, theta, g, lr):
    old = s.m
    moments(s, g)
    return theta - lr * (s.b1 * old + (1 - s.b1) * g) / (np.sqrt(s.v) + s.eps) * correction(s)


def nadam_adds_the_whole_gradient(s, theta, g, lr):
    moments(s, g)
    return theta - lr * (s.b1 * s.m + g) / (np.sqrt(s.v) + s.eps) * correction(s)


def nadam_looks_ahead_by_beta2(s, theta, g, lr):
    moments(s, g)
    return theta - lr * (s.b2 * s.m + (1 - s.b1) * g) / (np.sqrt(s.v) + s.eps) * correction(s)


# rule it claims to be, bug, what it starts from, words of the term ("" where none is expected)
BUGS = [
    ("sgd", sign_error, {}, "update of theta: theta = kept + lr * g"),
    ("sgd", rate_applied_twice, {}, "lr"),
    ("momentum", momentum_not_accumulated, {}, "momentum buffer v: v = fresh"),
    ("momentum", stale_momentum, {}, "old_v"),
    ("momentum", momentum_of_one_minus_gamma, {}, "1 - momentum"),
    ("nesterov", nesterov_forgets_the_gradient, {}, "update of theta: theta = kept - lr * (momentum * v)"),
    ("rmsprop", rmsprop, {"v": 0.0}, "initial v: 0, not 1"),
    ("rmsprop", rmsprop_from_absolute_values, {"v": 1.0}, "second moment v: v = rho * v + (1 - rho) * abs(g)"),
    ("rmsprop", rmsprop_without_root, {"v": 1.0}, "denominator: d = s + epsilon"),
    ("rmsprop", rmsprop_epsilon_outside, {"v": 1.0}, "epsilon: outside of the root"),
    ("rmsprop", rmsprop_shares_swapped, {"v": 1.0}, "1 - rho"),
    ("adam", adam_m_uncorrected, {}, "bias correction of m: c_m = 1"),
    ("adam", adam_v_uncorrected, {}, "bias correction of v: c_v = 1"),
    ("adam", adam_uncorrected, {}, "bias correction: none"),
    ("adam", adam_betas_swapped, {}, "beta1 and beta2 swapped"),
    ("adam", adam_epsilon_squared, {}, "d = sqrt(v) + epsilon ** 2"),
    ("adam", adam_epsilon_in_the_root, {}, "epsilon: in the root"),
    ("adam", adam_starts_at_step_two, {}, "index of the step: (t + 2)"),
    ("adam", adam_corrects_as_at_the_first_step, {}, "index of the step"),
    ("adam", adam_moves_before_the_moments, {}, "order: theta moves before the state is updated"),
    ("adam", adam_decay_into_v, {}, "weight_decay"),
    ("adam", adam_decay_misses_m, {}, ""),
    ("adam", adam_gradient_not_squared, {}, "second moment v"),
    ("adam", adam_v_not_rooted, {}, "denominator: d = v + epsilon"),
    ("adam", adam_sums_m, {}, "first moment m: m = beta1 * m + g"),
    ("adam", adam_with_a_fixed_beta2, {}, "beta2, wherever it stands: 0.999"),
    ("adam", adam_squares_m, {}, "second moment v: v = beta2 * v + (1 - beta2) * m ** 2"),
    ("adam", adam_never_forgets, {}, ""),
    ("adam", adam_clips_each_value, {}, ""),
    ("nadam", nadam_with_the_old_m, {}, "old_m"),
    ("nadam", nadam_adds_the_whole_gradient, {}, "numerator (look-ahead)"),
    ("nadam", nadam_looks_ahead_by_beta2, {}, "momentum of the look-ahead: mu_next = beta2"),
]
NAMED = {bug for _, bug, _, words in BUGS if words}


@pytest.mark.parametrize("rule", RIGHT)
def test_the_right_ones_match(rule):
    update, start = RIGHT[rule]
    assert_matches(optimizer(update, **start), rule)
    assert identify(optimizer(update, **start)).found.rule == rule


def test_the_catalogue_is_large_enough():
    assert len({bug for _, bug, _, _ in BUGS}) >= 15
    assert len(NAMED) >= 12


@pytest.mark.parametrize(("rule", "bug", "start", "words"), BUGS, ids=[f"{bug.__name__}" for _, bug, _, _ in BUGS])
def test_a_planted_bug_is_caught_and_named(rule, bug, start, words):
    settings = {"weight_decay": KEEP} if "decay" in bug.__name__ else {}
    verdict = identify(optimizer(bug, **start), rule, "playbook", settings)
    assert not verdict.matches
    assert verdict.nearest.rule == rule
    assert f"is not {rule} in the playbook dialect" in explain(verdict) or verdict.problem
    assert words in " / ".join(terms(verdict)), explain(verdict)
    assert bool(words) == bool(terms(verdict)), explain(verdict)

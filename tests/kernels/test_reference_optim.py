"""The six rules against closed forms evaluated with 40 digits, against PyTorch, and against known wrong versions.

A recursion such as m <- beta m + (1 - beta) g has the closed form m_T = (1 - beta) sum_k beta^(T-1-k) g_k + beta^T m_0.
The expected values here are such sums, not the recursions of the kernels written again.
"""

import inspect
import types

import mpmath
import numpy as np
import pytest
import torch

from refplay.kernels.numpy_ref import optim

# No value is neutral: no rate of 0 or 1, no epsilon too small to show.
GAMMA, RHO, BETA1, BETA2, EPSILON = 0.8, 0.7, 0.9, 0.96, 0.05
SCALARS = {
    "sgd": (),
    "momentum": (GAMMA,),
    "nesterov": (GAMMA,),
    "rmsprop": (GAMMA, RHO, EPSILON),
    "adam": (BETA1, BETA2, EPSILON),
    "nadam": (BETA1, BETA2, EPSILON),
}
STATE = {"sgd": [], "momentum": [0], "nesterov": [0], "rmsprop": [1, 0], "adam": [0, 0], "nadam": [0, 0]}  # at t = 0
STEPS = 12


def _rates():
    """Return a learning rate for every step, no two alike: where it stands in the equation matters."""
    return [0.1 / (t + 1) ** 0.5 for t in range(STEPS)]


def _run(rules, name, theta, gradients, rates, dtype):
    """Return theta and the state after a step for each gradient."""
    theta = theta.astype(dtype)
    state = [np.full_like(theta, start) for start in STATE[name]]
    for t, (g, lr) in enumerate(zip(gradients, rates, strict=True)):
        index = (t,) if name in ("adam", "nadam") else ()
        getattr(rules, name)(theta, g.astype(dtype), *state, *index, lr, *SCALARS[name])
    return [theta, *state]


def _average(decay, values, start):
    """Return decay^T start + sum_k decay^(T-1-k) values_k."""
    T = len(values)
    return decay**T * start + sum((decay ** (T - 1 - k) * values[k] for k in range(T)), mpmath.mpf(0))


def _closed_form(name, theta, g, lr):
    """Return theta and the state after steps with the scalar gradients g, as sums over the past, with 40 digits."""
    T = len(g)
    gamma, rho, beta1, beta2, epsilon = (mpmath.mpf(s) for s in (GAMMA, RHO, BETA1, BETA2, EPSILON))
    if name == "sgd":
        return [theta - sum(lr[t] * g[t] for t in range(T))]
    if name in ("momentum", "nesterov"):
        v = [_average(gamma, g[: t + 1], 0) for t in range(T)]
        steps = v if name == "momentum" else [gamma * v[t] + g[t] for t in range(T)]
        return [theta - sum(lr[t] * steps[t] for t in range(T)), v[-1]]
    if name == "rmsprop":
        v = [_average(rho, [(1 - rho) * x**2 for x in g[: t + 1]], 1) for t in range(T)]
        m = [_average(gamma, [lr[k] * g[k] / mpmath.sqrt(v[k] + epsilon) for k in range(t + 1)], 0) for t in range(T)]
        return [theta - sum(m), v[-1], m[-1]]
    m = [_average(beta1, [(1 - beta1) * x for x in g[: t + 1]], 0) for t in range(T)]
    v = [_average(beta2, [(1 - beta2) * x**2 for x in g[: t + 1]], 0) for t in range(T)]
    for t in range(T):
        b = mpmath.sqrt(1 - beta2 ** (t + 1)) / (1 - beta1 ** (t + 1))
        numerator = m[t] if name == "adam" else beta1 * m[t] + (1 - beta1) * g[t]
        theta -= lr[t] * numerator / (mpmath.sqrt(v[t]) + epsilon) * b
    return [theta, m[-1], v[-1]]


def _hold_against_closed_form(rules, name, dtype, assert_close):
    rng = np.random.default_rng(5)
    theta, gradients, rates = rng.normal(size=4), rng.normal(0.5, 1.5, (STEPS, 4)), _rates()
    theta, gradients = theta.astype(dtype), gradients.astype(dtype)
    got = _run(rules, name, theta, gradients, rates, dtype)
    with mpmath.workdps(40):
        columns = [
            _closed_form(name, mpmath.mpf(float(theta[i])), [mpmath.mpf(float(x)) for x in gradients[:, i]], rates)
            for i in range(4)
        ]
        expected = [np.array([float(x) for x in row]) for row in zip(*columns, strict=True)]
    # About ten roundings in a step, of values no larger than the largest gradient squared.
    tolerance = 10 * STEPS * np.finfo(dtype).eps * max(1.0, np.abs(gradients).max() ** 2)
    for a, e in zip(got, expected, strict=True):
        assert_close(a, e, tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SCALARS)
def test_rule_is_its_equation_in_closed_form(name, dtype, assert_close):
    _hold_against_closed_form(optim, name, dtype, assert_close)


# The mistakes that frameworks and first drafts make; each must be found, in the narrower dtype too.
MUTANTS = [
    ("sgd", "theta - np.float64(lr) * g", "theta + np.float64(lr) * g"),
    ("momentum", "gamma * v + g", "gamma * v + (1 - gamma) * g"),
    ("momentum", "gamma * v + g\n    theta[...] = theta - lr * v", "gamma * v + lr * g\n    theta[...] = theta - v"),
    ("nesterov", "lr * (gamma * v + g)", "lr * v"),
    ("nesterov", "lr * (gamma * v + g)", "lr * (v + g)"),
    ("rmsprop", "np.sqrt(v + epsilon)", "(np.sqrt(v) + epsilon)"),
    ("rmsprop", "(1 - rho) * g**2", "g**2"),
    ("rmsprop", "m[...] = gamma * m + lr / np.sqrt(v + epsilon) * g\n    theta[...] = theta - m",
     "m[...] = gamma * m + g / np.sqrt(v + epsilon)\n    theta[...] = theta - lr * m"),
    ("adam", "bias_correction(int(t), beta1, beta2)", "bias_correction(int(t) + 1, beta1, beta2)"),
    ("adam", "bias_correction(int(t), beta1, beta2)", "bias_correction(int(t), 0.0, beta2)"),
    ("adam", "bias_correction(int(t), beta1, beta2)", "bias_correction(int(t), beta1, 0.0)"),
    ("adam", "np.sqrt(v) + epsilon", "np.sqrt(v + epsilon)"),
    ("adam", "np.sqrt(v) + epsilon", "np.sqrt(v) + epsilon * np.sqrt(1 - beta2 ** (t + 1))"),
    ("adam", "(1 - beta2) * g**2", "(1 - beta2) * abs(g)"),
    ("nadam", "beta1 * m + (1 - beta1) * g) /", "m) /"),
    ("nadam", "beta1 * m + (1 - beta1) * g) /", "m + (1 - beta1) / beta1 * g) /"),
    ("nadam", "lr * b * (", "lr * b * (1 - beta1 ** (t + 1)) / (1 - beta1 ** (t + 2)) * ("),
]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "right", "wrong"), MUTANTS)
def test_a_wrong_rule_is_found(name, right, wrong, dtype, assert_close):
    lines = inspect.getsource(getattr(optim, name))
    assert right in lines
    mutant = types.ModuleType(optim.__name__)
    mutant.__dict__.update(vars(optim))
    exec(lines.replace(right, wrong), mutant.__dict__)
    with pytest.raises(AssertionError):
        _hold_against_closed_form(mutant, name, dtype, assert_close)


# One step from chosen states with the gradient 4: the numbers come out even. State as given, then what is left of
# theta = 10 and of the state.
BY_HAND = [
    ("sgd", [], (0.5,), [8.0]),
    ("momentum", [2.0], (0.5, 0.5), [7.5, 5.0]),  # v = 1 + 4
    ("nesterov", [2.0], (0.5, 0.5), [6.75, 5.0]),  # theta = 10 - (2.5 + 4) / 2
    ("rmsprop", [2.0, 6.0], (1.5, 0.5, 0.5, 7.0), [5.5, 9.0, 4.5]),  # v = 1 + 8, m = 3 + 1.5 / sqrt(9 + 7) * 4
    # m = 1 + 2, v = 1 + 8, and at t = 1 b = sqrt(3/4) / (3/4), so theta = 10 - 3 / (3 + 1) * 2 / sqrt(3)
    ("adam", [2.0, 2.0], (1, 1.0, 0.5, 0.5, 1.0), [10 - 1.5 / 3**0.5, 3.0, 9.0]),
    ("nadam", [2.0, 2.0], (1, 1.0, 0.5, 0.5, 1.0), [10 - 1.75 / 3**0.5, 3.0, 9.0]),  # (1.5 + 2) in place of 3
]


@pytest.mark.parametrize(("name", "state", "arguments", "expected"), BY_HAND, ids=SCALARS.keys())
def test_rule_in_numbers_worked_by_hand(reference, assert_close, name, state, arguments, expected):
    theta, g, arrays = np.array([10.0]), np.array([4.0]), [np.array([s]) for s in state]
    assert getattr(reference, name)(theta, g, *arrays, *arguments) is None
    got = [array[0] for array in (theta, *arrays)]
    assert_close(got, expected, 4 * np.finfo(np.float64).eps * 10)
    assert g[0] == 4


def test_first_step_of_rmsprop_and_adam(reference, assert_close):
    """From v = 1, RMSProp first moves by lr at a gradient of 1; Adam without epsilon moves by lr at any gradient."""
    theta, eps = np.zeros(1), np.finfo(np.float64).eps
    reference.rmsprop(theta, np.ones(1), np.ones(1), np.zeros(1), 0.1, 0.9, 0.9, 0.0)
    assert_close(theta, [-0.1], 4 * eps)
    theta = np.zeros(2)
    reference.adam(theta, np.array([1e-3, -50.0]), np.zeros(2), np.zeros(2), 0, 0.1, 0.9, 0.99, 0.0)
    assert_close(theta, [-0.1, 0.1], 16 * eps)


def test_correction_of_adam_is_gone_after_a_million_steps(reference, assert_close):
    theta, m, v = np.zeros(1), np.array([2.0]), np.array([16.0])
    reference.adam(theta, np.array([2.0]), m, v, 10**6, 0.1, 0.9, 0.75, 1.0)  # v = 12 + 1, b = 1
    assert_close(theta, [-0.2 / (13**0.5 + 1)], 4 * np.finfo(np.float64).eps)


def _pytorch(optimizer, theta, gradients, rates, state=None, **hyperparameters):
    parameter = torch.nn.Parameter(torch.tensor(theta))
    rule = optimizer([parameter], lr=rates[0], **hyperparameters)
    rule.state[parameter].update(state or {})
    for g, lr in zip(gradients, rates, strict=True):
        rule.param_groups[0]["lr"] = lr
        parameter.grad = torch.tensor(g)
        rule.step()
    return parameter.detach().numpy()


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov"])
def test_sgd_and_momentum_are_those_of_pytorch(rng, assert_close, name):
    theta, gradients = rng.normal(size=5), rng.normal(size=(STEPS, 5))
    settings = {} if name == "sgd" else {"momentum": GAMMA, "nesterov": name == "nesterov"}
    expected = _pytorch(torch.optim.SGD, theta, gradients, _rates(), **settings)
    got = _run(optim, name, theta, gradients, _rates(), "float64")[0]
    assert_close(got, expected, 20 * STEPS * np.finfo(np.float64).eps * np.abs(gradients).max())


def test_adam_is_that_of_pytorch_with_epsilon_hat(rng, assert_close):
    theta, gradients = rng.normal(size=5), rng.normal(size=(STEPS, 5))
    expected = _pytorch(torch.optim.Adam, theta, gradients, _rates(), betas=(BETA1, BETA2), eps=EPSILON)
    got, m, v = theta.copy(), np.zeros(5), np.zeros(5)
    for t, (g, lr) in enumerate(zip(gradients, _rates(), strict=True)):
        epsilon_hat = EPSILON * (1 - BETA2 ** (t + 1)) ** 0.5
        optim.adam(got, g, m, v, t, lr, BETA1, BETA2, epsilon_hat)
    assert_close(got, expected, 20 * STEPS * np.finfo(np.float64).eps * np.abs(gradients).max())
    unadjusted = _run(optim, "adam", theta, gradients, _rates(), "float64")[0]
    assert np.abs(unadjusted - expected).max() > 1e-3  # the two epsilons are not the same thing


def test_rmsprop_is_that_of_pytorch_where_their_differences_vanish(rng, assert_close):
    """Without epsilon, at a constant learning rate and from v = 1, which PyTorch starts at 0."""
    theta, gradients, rates = rng.normal(size=5), rng.normal(size=(STEPS, 5)), [0.1] * STEPS
    start = {"step": torch.tensor(0.0), "square_avg": torch.ones(5, dtype=torch.float64),
             "momentum_buffer": torch.zeros(5, dtype=torch.float64)}  # fmt: skip
    settings = {"alpha": RHO, "momentum": GAMMA, "eps": 0.0}
    expected = _pytorch(torch.optim.RMSprop, theta, gradients, rates, start, **settings)
    got, v, m = theta.copy(), np.ones(5), np.zeros(5)
    for g in gradients:
        optim.rmsprop(got, g, v, m, 0.1, GAMMA, RHO, 0.0)
    assert_close(got, expected, 20 * STEPS * np.finfo(np.float64).eps * np.abs(gradients).max())
    as_published = _pytorch(torch.optim.RMSprop, theta, gradients, rates, **settings)
    assert np.abs(got - as_published).max() > 1e-2

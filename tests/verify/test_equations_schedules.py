"""Schedules, warmup, clipping, decay and averaging against the equations in their docstrings, with 50 digits."""

import inspect
import math

import numpy as np
import pytest
from mpmath import mpf, workdps

from refplay.kernels import load
from refplay.optim import (
    SCHEDULES,
    add_l2_gradient,
    clip_by_norm,
    decay_weights,
    init_average,
    linear,
    update_average,
    with_warmup,
)
from refplay.verify.equations import equations

EPS = np.finfo(np.float64).eps
SCHEDULE_ARGUMENTS = {
    "constant": [{"base": 0.3}],
    "linear": [{"base": 0.3, "decay_steps": 400, "end_factor": 0.15},
               {"base": 7.0, "decay_steps": 1, "end_factor": 0.0}],
    "cosine": [{"base": 0.3, "decay_steps": 400, "end_factor": 0.15},
               {"base": 2.0, "decay_steps": 999, "end_factor": 0.0}],
    "exponential": [{"base": 0.3, "decay_steps": 400, "end_factor": 0.15},
                    {"base": 0.3, "decay_steps": 7, "end_factor": 1e-6}],
    "inverse_sqrt": [{"base": 0.3, "timescale": 30}, {"base": 0.3, "timescale": 1}],
    "piecewise": [{"base": 0.3, "boundaries": [7, 20, 333], "factors": [0.2, 0.7, 0.01]},
                  {"base": 0.3, "boundaries": [1], "factors": [0.0]}, {"base": 0.3, "boundaries": [], "factors": []}],
}  # fmt: skip
STEPS = [*range(60), *range(60, 1000, 7), 332, 333, 399, 400, 401, 10**6]


def test_every_schedule_is_here():
    assert set(SCHEDULE_ARGUMENTS) == set(SCHEDULES)


@pytest.mark.parametrize(("name", "arguments"), [(n, a) for n, all_of in SCHEDULE_ARGUMENTS.items() for a in all_of])
def test_schedule_is_its_equation(name, arguments):
    """Within four roundings and those that f^(t/T) and cos(pi t/T) magnify: by ln f, and by pi; relative to the base.

    The base is the largest rate, and the terms that cancel near the end of a cosine are as large.
    """
    schedule, program = SCHEDULES[name](**arguments), equations(name)
    roundings = 4 + abs(math.log(arguments["end_factor"])) if name == "exponential" else 4 + math.pi
    for t in STEPS:
        truth = program.evaluate(t=t, **arguments)["eta_{t}"]
        with workdps(50):
            assert abs(mpf(schedule(t)) - truth) <= roundings * EPS * arguments["base"], t


@pytest.mark.parametrize("warmup_steps", [0, 1, 9])
def test_warmup_is_its_equation(warmup_steps):
    after = linear(0.3, decay_steps=40, end_factor=0.15)
    schedule, program = with_warmup(after, warmup_steps, 0.3), equations("with_warmup")
    shifted = equations("linear")

    def h(t):
        return shifted.evaluate(t=int(t), base=0.3, decay_steps=40, end_factor=0.15)["eta_{t}"]

    for t in range(60):
        truth = program.evaluate(t=t, schedule=h, warmup_steps=warmup_steps, base=0.3)["eta_{t}"]
        with workdps(50):
            assert abs(mpf(schedule(t)) - truth) <= 4 * EPS * 0.3, t


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1e-30, 1e-4, 1.0, 1e15])
@pytest.mark.parametrize("threshold", [1e-6, 0.8, 1e12, math.inf])
def test_clipping_is_its_equation(backend, dtype, size, threshold):
    """The norm is summed in double precision: n roundings. Two more, and that of lambda/n to the dtype, for g'.

    In float64 the squares leave the range at 1e154: such a norm is infinite and clips nothing, as the docstring tells.
    """
    kernels, n = load(backend), 37
    g = (size * np.random.default_rng(20263).normal(0.4, 1.0, n)).astype(dtype)
    clipped = kernels.asarray(g.copy())
    norm = clip_by_norm(clipped, threshold, kernels=kernels)
    truth = equations("clip_by_norm").evaluate(g=g, threshold=threshold)
    with workdps(50):
        assert abs(mpf(norm) - truth["n"]) <= n * EPS * truth["n"]
        for ours, exact in zip(kernels.to_host(clipped), truth["g'"], strict=True):
            assert abs(mpf(float(ours)) - exact) <= (n * EPS + 2 * float(np.finfo(dtype).eps)) * abs(exact)


@pytest.mark.parametrize("scale", [1 - 1e-9, 1.0, 1 + 1e-9])
def test_clipping_at_the_edge(scale):
    """Just below, at and just above the norm, 5: the equation decides as the code does."""
    g = np.array([3.0, -4.0])
    assert clip_by_norm(g, 5.0 * scale, kernels=load("numpy")) == 5.0
    truth = equations("clip_by_norm").evaluate(g=[3.0, -4.0], threshold=5.0 * scale)["g'"]
    np.testing.assert_allclose(g, [float(x) for x in truth], rtol=4 * EPS)
    assert (abs(g[0]) < 3) == (scale < 1)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_decay_and_averaging_are_their_equations(backend, dtype):
    """Three roundings, of terms that may cancel, and those of two scalars."""
    kernels, eps = load(backend), float(np.finfo(dtype).eps)
    x, y = np.random.default_rng(20264).normal(0.5, 2, (2, 19)).astype(dtype)
    g, shrunk = kernels.asarray(y.copy()), kernels.asarray(x.copy())
    add_l2_gradient(kernels.asarray(x), g, 0.3, kernels=kernels)
    decay_weights(shrunk, 0.2, 0.3, kernels=kernels)
    average = init_average(kernels.asarray(x), kernels)
    update_average(kernels.asarray(y), average, decay=0.7, kernels=kernels)
    for ours, function, symbol, arguments in [
        (g, add_l2_gradient, "g'", {"theta": x, "g": y, "weight_decay": 0.3}),
        (shrunk, decay_weights, "theta_{d}", {"theta": x, "lr": 0.2, "weight_decay": 0.3}),
        (average.theta, update_average, "a_{t + 1}", {"theta": y, "average": x, "decay": 0.7}),
    ]:
        truth = [float(value) for value in equations(function).evaluate(**arguments)[symbol]]
        assert (abs(kernels.to_host(ours) - np.array(truth)) <= 5 * eps * (abs(x) + abs(y))).all(), symbol


@pytest.mark.parametrize("function", [*SCHEDULES.values(), with_warmup, clip_by_norm], ids=lambda f: f.__name__)
def test_every_argument_has_a_symbol_in_the_docstring(function):
    assert set(equations(function).symbols) == set(inspect.signature(function).parameters) - {"kernels"}

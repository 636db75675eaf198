"""What the tests of the equations share: gradients of all kinds, runs of the kernels, and their exact errors.

And Keras' backend, which it reads when it is imported, and which is TensorFlow unless it is told otherwise.
"""

import os
from collections import Counter
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from mpmath import mpf, workdps
from numpy.typing import NDArray

from refplay.kernels import load
from refplay.optim import RULES
from refplay.verify.equations import Equations
from refplay.verify.rounding import magnitudes

os.environ.setdefault("KERAS_BACKEND", "jax")

SEED = 20263
BACKENDS = ("numpy", "numba")
MUTANTS: Counter = Counter()  # what became of changed equations: caught, refused, unnoticed
COPIES = 5  # of the vector of families: longer than the registers, and an odd rest


class Trace(NamedTuple):
    """Steps of one rule, each of each backend from one state. Arrays are [steps, P], by name (theta, m, v)."""

    dtype: str
    hyperparameters: dict[str, float]
    families: tuple[str, ...]  # P
    t: list[int]  # which steps of the run: all of them, or some
    g: NDArray
    lr: list[float]
    before: dict[str, NDArray]
    after: dict[str, dict[str, NDArray]]  # backend first


def gradients(rule: str, dtype: str, steps: int) -> tuple[NDArray, NDArray, tuple[str, ...]]:
    """Return theta_0 [P], gradients [steps, P] and the name of the family in each column."""
    rng = np.random.default_rng(SEED)
    # Adaptive rules square the gradient, and momentum of 0.99 makes a hundred times of it: both have to stay finite.
    huge = {"float32": (1e32, 1e18), "float64": (1e290, 1e150)}[dtype][rule in ("rmsprop", "adam", "nadam")]
    denormal = 1000 * float(np.finfo(dtype).smallest_subnormal)
    sign = rng.choice([-1.0, 1.0], (3, steps))
    alternating = np.where(np.arange(steps) % 2 == 0, 1.0, -1.0)
    table = {
        "random": (1.3, rng.normal(0.2, 1.3, steps)),
        "random over five powers of ten": (-40.0, 10.0 ** rng.uniform(-4, 1, steps) * sign[0]),
        "zero": (-0.6, np.zeros(steps)),
        "constant": (2.0, np.full(steps, 0.7)),
        "denormal": (0.0, denormal * rng.uniform(0.5, 3, steps) * sign[1]),
        "huge": (1.0, huge * rng.uniform(0.5, 3, steps) * sign[2]),
        "sparse": (-1.7, np.where(rng.uniform(size=steps) < 0.03, rng.normal(0, 2, steps), 0.0)),
        "alternating": (0.9, 1.1 * alternating),
        "alternating beside a drift": (1.0, alternating + 0.3),
    }
    theta, columns = zip(*table.values(), strict=True)
    return np.array(theta, dtype), np.stack(columns, axis=1).astype(dtype), tuple(table)


def learning_rates(steps: int) -> list[float]:
    """Return a learning rate for every step, no two neighbours alike: a cosine with jumps."""
    t = np.arange(steps)
    return (0.1 * (0.55 + 0.45 * np.cos(np.pi * t / steps)) * np.where(t % 50 == 7, 3.0, 1.0)).tolist()


def vectors(theta, state):
    return {"theta": theta.copy()} | {k: v.copy() for k, v in state._asdict().items() if isinstance(v, np.ndarray)}


@cache
def run(name: str, dtype: str, steps: int, corner: tuple[tuple[str, float], ...]) -> Trace:
    """Let every backend take every step from the same state, which is where Numba came to by the step before.

    But for theta: of three steps one starts from where the last one led, one from theta_0, and one from 0, after which
    theta is the update and nothing else.
    """
    rule, hyperparameters, rates = RULES[name], dict(corner), learning_rates(steps)
    theta, g, families = gradients(name, dtype, steps)
    start, wide = np.tile(theta, COPIES), np.tile(g, (1, COPIES))
    theta, state = start, rule.init(start, load("numpy"))
    before, after = [], {backend: [] for backend in BACKENDS}
    for t, lr in enumerate(rates):
        before.append(vectors(theta, state))
        for backend in BACKENDS:
            new = theta.copy()
            carried = type(state)(*(x.copy() if isinstance(x, np.ndarray) else x for x in state))
            carried = rule.update(new, wide[t], carried, lr=lr, **hyperparameters, kernels=load(backend))
            after[backend].append(vectors(new, carried))
        theta, state = (start, 0 * start, new)[t % 3], carried
    taken = {backend: narrow(records) for backend, records in after.items()}
    return Trace(dtype, hyperparameters, families, list(range(steps)), g, rates, narrow(before), taken)


def narrow(records: list[dict[str, NDArray]]) -> dict[str, NDArray]:
    """Return [steps, P] by name, of one copy; all copies are equal bit for bit, wherever in the vector they lie."""
    stacked = {key: np.stack([record[key] for record in records]) for key in records[0]}
    for key, values in stacked.items():
        by_copy = np.split(values, COPIES, axis=1)
        for other in by_copy[1:]:
            np.testing.assert_array_equal(other, by_copy[0])
        stacked[key] = by_copy[0]
    return stacked


def exact(equations: Equations, trace: Trace) -> dict[str, list]:
    """Return what the equations make of each state of the trace: [steps][P] mpf by name."""
    out: dict[str, list] = {"theta": []} | {name: [] for name in equations.state}
    for i, (t, lr) in enumerate(zip(trace.t, trace.lr, strict=True)):
        state = {name: trace.before[name][i] for name in equations.state}
        theta, state = equations.step(trace.before["theta"][i], trace.g[i], state, t, lr=lr, **trace.hyperparameters)
        for name, values in {"theta": theta, **state}.items():
            out[name].append(values)
    return out


def errors(trace: Trace, truth: dict[str, list], backend: str) -> dict[str, NDArray]:
    """Return |kernel - exact|, [steps, P] by name: subtracted with 50 digits, then rounded."""
    with workdps(50):
        return {
            name: np.array([[abs(float(mpf(float(a)) - e)) for a, e in zip(*row, strict=True)]
                            for row in zip(trace.after[backend][name], rows, strict=True)])
            for name, rows in truth.items()
        }  # fmt: skip


def ulp(x: NDArray, dtype: str) -> NDArray:
    """Return the distance of neighbours in the dtype at |x|."""
    return np.spacing(np.abs(np.array(x, np.float64)).astype(dtype)).astype(np.float64)


def allowed(equations: Equations, trace: Trace, truth: dict[str, list] | None) -> dict[str, NDArray]:
    """Return the largest error that a step may have, [steps, P] by name.

    float64: 1e-13 of the sum of absolute terms (`refplay.verify.rounding`). float32: 4 ulp of that for the state; and
    for theta 4 ulp of that of its update, and, unless it starts from zero, the half ulp of theta itself that the
    subtraction costs even if the update is exact.
    """
    t, lr = np.array(trace.t)[:, None], np.array(trace.lr)[:, None]
    state = {name: trace.before[name] for name in equations.state}
    size = magnitudes(equations, trace.before["theta"], trace.g, state, t, trace.dtype, lr=lr, **trace.hyperparameters)
    if trace.dtype == "float64":
        return {name: 1e-13 * values for name, values in size.items()}
    update = size["theta"] - np.abs(trace.before["theta"].astype(np.float64))
    limits = {name: 4 * ulp(values, trace.dtype) for name, values in size.items()}
    subtraction = np.where(trace.before["theta"] != 0, ulp(truth["theta"], trace.dtype) / 2, 0.0)
    return limits | {"theta": 4 * ulp(update, trace.dtype) + subtraction}


@pytest.fixture(scope="session")
def tools():
    """The functions above, for test files do not import each other."""

    class Tools(NamedTuple):
        run: object = run
        exact: object = exact
        errors: object = errors
        allowed: object = allowed
        ulp: object = ulp
        mutants: Counter = MUTANTS

    return Tools()


def pytest_terminal_summary(terminalreporter):
    """Report how many changed equations were tried, and what became of them."""
    if MUTANTS:
        fates = ", ".join(f"{count} {outcome}" for outcome, count in MUTANTS.most_common())
        terminalreporter.write_line(f"mutants of equations: {MUTANTS.total()} tried, {fates}")

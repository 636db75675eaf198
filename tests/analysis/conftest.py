"""Synthetic studies whose truth is known: the objective is a function of the hyperparameters, chosen by the test."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from refplay.search.space import Space
from refplay.study.record import Curve, State, Study, TrialRecord


def _curve(values: Sequence[float], every: int = 10) -> Curve:
    return Curve(every * np.arange(1, len(values) + 1), np.asarray(values, dtype=np.float64))


def _trial(number: int, params: dict[str, Any], value: float | None, *, state: State | None = None, rerun: int = 0,
           curves: dict[str, Sequence[float]] | None = None, reason: str = "") -> TrialRecord:
    # value None: infeasible. The objective stands in the middle of a short curve, not at its end.
    given = {name: _curve(values) for name, values in (curves or {}).items()}
    if value is not None:
        given.setdefault("valid_error", _curve([value + 0.3, value, value + 0.1]))
    state = state or (State.COMPLETE if value is not None else State.INFEASIBLE)
    return TrialRecord("s", number, params, state, number, given, reason, rerun)


def _study(space: Space, points: np.ndarray, objective: Callable[[dict[str, Any]], float | None], *, name: str = "s",
           reruns: Sequence[float | None] = (), scientific: dict[str, Any] | None = None) -> Study:
    params = [space.from_unit(point) for point in points]
    trials = tuple(_trial(i, {**(scientific or {}), **p}, objective(p)) for i, p in enumerate(params))
    study = Study(name, scientific or {}, space, trials)
    ranked = study.ranked("valid_error")
    best = ranked[0] if ranked else trials[0]
    again = tuple(_trial(best.number, best.params, value, rerun=i + 1) for i, value in enumerate(reruns))
    return Study(name, scientific or {}, space, trials, again)


@pytest.fixture(name="make_trial", scope="session")
def make_trial_fixture() -> Callable[..., TrialRecord]:
    """A trial with an objective value (None: infeasible) or with whole curves."""
    return _trial


@pytest.fixture(name="make_study", scope="session")
def make_study_fixture() -> Callable[..., Study]:
    """A study at given points of the unit cube, with an objective of the hyperparameters (None: infeasible)."""
    return _study


@pytest.fixture(name="halton", scope="session")
def halton_fixture() -> Callable[[int, int, int], np.ndarray]:
    """Scrambled Halton points from SciPy: float64[n, d]."""
    from scipy.stats import qmc

    return lambda n, d, seed: qmc.Halton(d, seed=seed).random(n)

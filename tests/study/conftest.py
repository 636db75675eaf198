"""Plans and the objectives of study_objectives.py for the tests of studies."""

import importlib.util
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from refplay.search.space import LogUniform, Space
from refplay.study.claims import Claims
from refplay.study.plan import Plan
from refplay.study.record import State
from refplay.study.store import Store
from refplay.study.trial import Outcome

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def objectives_folder():
    return HERE


@pytest.fixture(scope="session")
def objectives():
    """The module of objectives, imported under the name that worker processes know it by."""
    if "study_objectives" not in sys.modules:
        spec = importlib.util.spec_from_file_location("study_objectives", HERE / "study_objectives.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules["study_objectives"] = module
        spec.loader.exec_module(module)
    return sys.modules["study_objectives"]


@pytest.fixture
def make_plan():
    """A plan of two studies whose learning rates reach into divergence (above 1), with any field replaced."""

    def make(**changes):
        fields = {"name": "slow-or-fast", "goal": "Which range of the learning rate is better?",
                  "scientific": {"speed": ["slow", "fast"]},
                  "nuisance": {"speed": {"slow": Space(learning_rate=LogUniform(1e-3, 1e-1)),
                                         "fast": Space(learning_rate=LogUniform(1e-1, 8.0))}},
                  "fixed": {"width": 16}, "objective": "study_objectives:descend", "trials": 6, "steps": 200,
                  "reruns": 2, "seed": 11}
        return Plan(**{**fields, **changes})

    return make


@pytest.fixture
def results():
    """What must be equal, bit for bit, between two runs of one plan."""

    def of(round_):
        return {(t.study, t.number, t.rerun): (t.state, t.seed, t.params, t.reason if t.state != "failed" else "",
                                               {name: (curve.steps.tobytes(), curve.values.tobytes())
                                                for name, curve in t.curves.items()})
                for study in round_.studies for t in (*study.trials, *study.reruns)}

    return of


@pytest.fixture(scope="session")
def make_outcome():
    """What a worker hands back."""

    def make(state=State.COMPLETE, curves=None, reason=""):
        return Outcome(state, reason, curves or {"valid_error": ([1, 4], [0.5, 0.25])}, 1.5, False)

    return make


@pytest.fixture
def plan(make_plan):
    return make_plan()


@pytest.fixture
def filled(tmp_path, plan, make_outcome):
    """A store with one round whose first study has a complete, an infeasible and a failed trial."""
    path = tmp_path / "runs.db"
    with Store(path, create=True) as store:
        round_id = store.create_round(plan, "m:f", [spec.params() for spec in plan.studies()])
        with closing(Claims(store, round_id, "valid_error")) as claims:
            diverged, crashed = {"train_loss": ([3], [np.nan])}, {"train_loss": ([3], [0.5])}
            claims.finish(claims.claim(), make_outcome())
            claims.finish(claims.claim(), make_outcome(State.INFEASIBLE, diverged, "train_loss is nan"))
            claims.finish(claims.claim(), make_outcome(State.FAILED, crashed, "Traceback"))
    return path

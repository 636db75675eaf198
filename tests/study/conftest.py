"""Plans and the objectives of study_objectives.py for the tests of studies."""

import importlib.util
import sys
from pathlib import Path

import pytest

from refplay.search.space import LogUniform, Space
from refplay.study.plan import Plan

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

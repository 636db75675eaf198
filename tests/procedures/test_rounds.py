"""Launches: decided on reruns, recorded either way, chained from round to round."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from refplay.analysis import learn
from refplay.procedures.rounds import launch
from refplay.search.space import LogUniform
from refplay.study.plan import Plan
from refplay.study.record import Round
from refplay.study.runner import run
from refplay.study.store import Store
from refplay.study.trial import Trial

PLAN = Plan(name="first", goal="Which level is lower?", scientific={"level": [0.5, 0.3]},
            nuisance={"learning_rate": LogUniform(1e-3, 1.0)}, objective="unused:here", trials=4, steps=3, reruns=4)


def objective(trial: Trial) -> None:
    """An error that is known: its level, a parabola in log learning rate, and noise of 0.01 from the seed."""
    noise = 0.01 * trial.generator("noise").standard_normal()
    for step in range(1, trial.steps + 1):
        trial.report(step, valid_error=trial["level"] + 0.01 * (np.log10(trial["learning_rate"]) + 1.5) ** 2 + noise)


def play(plan: Plan, store: Path) -> Round:
    with ThreadPoolExecutor(1) as executor:
        return run(plan, objective, store=store, executor=executor)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "rounds.db"


def test_a_round_leaves_its_four_parts(store: Path) -> None:
    done = play(PLAN, store)
    assert {finding.topic for finding in learn(done)} >= {"boundary", "sampling", "variance", "adoption"}
    recorded, decision = launch(done, store) or pytest.fail("nothing was launched")
    assert decision is not None
    assert decision.verdict == "adopt"
    with Store(store) as opened:
        assert opened.load_round("first").plan.goal == PLAN.goal
        assert opened.launches() == [recorded]
    assert recorded.adopted
    assert recorded.study == "first/level=0.3"
    assert recorded.params["level"] == 0.3
    assert recorded.predecessor is None
    assert recorded.evidence["difference"] == pytest.approx(-0.2, abs=0.05)


def test_a_later_round_must_beat_the_configuration_that_was_launched(store: Path) -> None:
    first, _ = launch(play(PLAN, store), store) or pytest.fail("nothing was launched")
    worse = replace(PLAN, name="worse", scientific={"level": [0.6, 0.4]})
    kept, decision = launch(play(worse, store), store) or pytest.fail("nothing was launched")
    assert decision is not None
    assert decision.baseline == "first/level=0.3"
    assert (kept.adopted, kept.predecessor) == (False, first.id)
    better = replace(PLAN, name="better", scientific={"level": [0.1]})
    third, _ = launch(play(better, store), store) or pytest.fail("nothing was launched")
    assert (third.adopted, third.predecessor, third.params["level"]) == (True, first.id, 0.1)


def test_a_round_of_one_study_is_launched_and_beaten_like_any_other(store: Path) -> None:
    together = replace(PLAN, together=True, trials=8)
    first, decision = launch(play(together, store), store) or pytest.fail("nothing was launched")
    assert decision is not None
    assert (decision.candidate, decision.verdict) == ("first/level=0.3", "adopt")
    assert (first.study, first.params["level"], first.adopted) == ("first", 0.3, True)
    worse = replace(together, name="worse", scientific={"level": [0.6, 0.4]})
    kept, decision = launch(play(worse, store), store) or pytest.fail("nothing was launched")
    assert decision is not None
    assert (decision.candidate, decision.baseline) == ("worse/level=0.4", "first/level=0.3")
    assert (kept.adopted, kept.predecessor, kept.params["level"]) == (False, first.id, 0.4)


def test_one_decision_is_recorded_once(store: Path) -> None:
    done = play(PLAN, store)
    once, again = launch(done, store, test_error=0.25), launch(done, store)
    assert once is not None
    assert again is not None
    assert once[0] == again[0]
    assert again[0].evidence["test_error"] == 0.25


def test_a_first_round_of_one_study_gives_the_first_configuration(store: Path) -> None:
    done = play(replace(PLAN, scientific={}, fixed={"level": 0.5}), store)
    recorded, decision = launch(done, store) or pytest.fail("nothing was launched")
    assert decision is None
    assert recorded.adopted
    assert "first configuration" in recorded.decision


def test_nothing_complete_is_nothing_to_launch(store: Path) -> None:
    def diverging(trial: Trial) -> None:
        raise FloatingPointError("the loss is nan")

    with ThreadPoolExecutor(1) as executor:
        done = run(PLAN, diverging, store=store, executor=executor)
    assert launch(done, store) is None
    with Store(store) as opened:
        assert opened.launches() == []

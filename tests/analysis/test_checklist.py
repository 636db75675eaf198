"""The checklist runs over whatever a store can hold, in the order of the playbook, for any metric that was reported."""

import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refplay.analysis import Finding, learn
from refplay.search.space import Choice, Integer, LogUniform, OneMinusLogUniform, Space, Uniform
from refplay.study.plan import Plan
from refplay.study.record import Curve, Round, State, Study, TrialRecord

OWN = {"sgd": Space(learning_rate=LogUniform(1e-3, 1e0), momentum=OneMinusLogUniform(1e-3, 1.0)),
       "adam": Space(learning_rate=LogUniform(1e-4, 1e-1))}
PLAN = Plan(name="p", goal="which?", scientific={"optimizer": ["sgd", "adam"]}, fixed={"width": 64, "beta2": 0.99},
            nuisance={"dropout": Uniform(0.0, 0.5), "depth": Integer(1, 3), "optimizer": OWN})
TOGETHER = Plan(name="t", goal="which?", scientific={"optimizer": ["sgd", "adam"]}, together=True,
                nuisance={"dropout": Uniform(0.0, 0.5), "optimizer": OWN})
ALONE = Plan(name="a", goal="tune", mode="exploitation",
             nuisance={"norm": Choice(["batch", "layer"]), "width": Integer(8, 64, log=True)})
LISTED = Plan(name="l", goal="try", configurations=[{"width": 8}, {"width": 16}, {"width": 12}])
METRICS = ("valid_error", "train_loss", "valid_loss")

_values = st.floats(allow_nan=True, allow_infinity=True) | st.floats(0, 1) | st.sampled_from([0.0, 0.1, 0.25])


@st.composite
def _curves(draw):
    length = draw(st.integers(0, 14))
    return {name: Curve(draw(st.sampled_from([0, 1])) + 7 * np.arange(length),
                        np.array(draw(st.lists(_values, min_size=length, max_size=length)), dtype=np.float64))
            for name in draw(st.lists(st.sampled_from(METRICS), unique=True))}


@st.composite
def _trials(draw, spec, rerun=False):
    trials = []
    for number in range(draw(st.integers(0, 3 if rerun else 12))):
        d = len(spec.space.dimensions)
        point = draw(st.lists(st.floats(0, 1), min_size=d, max_size=d))
        params = {**spec.scientific, **spec.fixed, **spec.space.from_unit(point)}
        if draw(st.integers(0, 9)) == 0:  # as imported: a value outside its range, of another kind, or missing
            name = draw(st.sampled_from(sorted(params)))
            params[name] = draw(st.sampled_from([None, "text", -1.0, 1e300, math.inf]))
        state = draw(st.sampled_from([State.COMPLETE] * 6 + list(State)))
        trials.append(TrialRecord(spec.name, number, params, state, number, draw(_curves()),
                                  draw(st.sampled_from(["", "nan at step 3", "Traceback\n  ValueError: x\n"])),
                                  int(rerun) * (number + 1)))
    if rerun:
        return tuple(replace(t, number=draw(st.integers(0, 2))) for t in trials)
    return tuple(trials)


@st.composite
def _rounds(draw):
    plan = draw(st.sampled_from([PLAN, TOGETHER, ALONE, LISTED]))
    studies = [Study(spec.name, spec.scientific, spec.space, draw(_trials(spec)), draw(_trials(spec, rerun=True)))
               for spec in plan.studies()]
    return Round(plan, tuple(studies[:draw(st.integers(0, len(studies)))]))


@pytest.mark.filterwarnings("error")
@settings(max_examples=150, deadline=None, derandomize=True,
          suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(_rounds(), st.sampled_from([None, *METRICS]))
def test_learning_never_raises_and_always_speaks_in_whole_sentences(round, metric):
    for finding in learn(round, metric=metric):
        assert isinstance(finding, Finding)
        assert finding.verdict in ("good", "attention", "note")
        assert finding.seen.endswith(".") or finding.topic == "failed"
        assert finding.action == "" or finding.action.endswith(".")
        assert finding.action or finding.verdict != "attention"
        assert finding.section
        assert finding.study in {s.name for s in round.studies} | {round.plan.name}


def _round(make_study, halton, objective, *, plan=PLAN, trials=24, reruns=(0.1, 0.11, 0.09)):
    return Round(plan, tuple(
        make_study(spec.space, halton(trials, len(spec.space.dimensions), spec.index), objective, name=spec.name,
                   scientific=spec.scientific, reruns=reruns) for spec in plan.studies()))


def _error(params):
    return abs(math.log10(params["learning_rate"]) + 2) + 0.1 * abs(params["dropout"] - 0.25)


def test_the_questions_come_in_the_order_of_the_playbook(make_study, halton):
    findings = learn(_round(make_study, halton, _error))
    first = [f.topic for f in findings if f.study == "p/optimizer=sgd"]
    assert first == ["boundary", "sampling", "feasibility", "overfitting", "steps", "desiderata", "variance"]
    whole = [f.topic for f in findings if f.study == "p"]
    assert whole == ["isolation", "fairness", "roles", "roles", "variance", "adoption"]


def test_another_metric_needs_no_rerun(make_study, halton):
    # The validation error prefers wide networks, the training loss narrow ones: both are in the same curves.
    study = make_study(ALONE.studies()[0].space, halton(24, 2, 0), lambda p: 1 / p["width"])
    losses = [Curve(np.array([5, 9]), np.array([99.0, t.params["width"]])) for t in study.trials]
    trials = tuple(replace(t, curves=t.curves | {"train_loss": loss})
                   for t, loss in zip(study.trials, losses, strict=True))
    round = Round(ALONE, (replace(study, trials=trials),))
    for metric, edge in ((None, "high"), ("train_loss", "low")):
        (finding,) = [f for f in learn(round, metric=metric) if f.topic == "boundary"]
        assert (finding.hyperparameter, finding.numbers["edge"]) == ("width", edge)
    assert learn(replace(round, plan=replace(ALONE, metric="train_loss"))) == learn(round, metric="train_loss")


def test_a_metric_that_nobody_reported_is_said_with_those_that_were(make_study, halton):
    findings = learn(_round(make_study, halton, _error), metric="valid_accuracy")
    (finding,) = [f for f in findings if f.topic == "trials" and f.study == "p/optimizer=sgd"]
    assert finding.verdict == "attention"
    assert "reported were valid_error" in finding.seen


def test_an_empty_and_an_all_infeasible_round_have_something_to_say(make_study, halton):
    empty = Round(PLAN, tuple(Study(s.name, s.scientific, s.space, ()) for s in PLAN.studies()))
    assert [f.topic for f in learn(empty) if f.verdict == "attention" and f.topic == "trials"] == ["trials"] * 2
    assert all("resume" in f.action for f in learn(empty) if f.topic == "trials")
    lost = learn(_round(make_study, halton, lambda p: None, reruns=()))
    trials = [f for f in lost if f.topic == "trials"]
    assert ["(of 24 trials: 24 infeasible)" in f.seen for f in trials] == [True, True]
    assert not any("resume" in f.action for f in trials)  # they are finished: resuming changes nothing
    crashed = tuple(replace(s, trials=tuple(replace(t, state=State.FAILED) for t in s.trials))
                    for s in _round(make_study, halton, _error, reruns=()).studies)
    assert not any(f.topic == "fairness" for f in learn(Round(PLAN, crashed)))  # nobody had a chance
    assert sum(f.topic == "feasibility" and f.verdict == "attention" for f in lost) == 2


def test_nothing_is_said_about_the_density_of_a_hand_written_list(make_trial):
    (spec, *_) = LISTED.studies()
    trials = tuple(make_trial(i, params, 0.1 + 0.2 * i) for i, params in enumerate(spec.params()))
    findings = learn(Round(LISTED, (Study(spec.name, spec.scientific, spec.space, trials),)))
    assert "sampling" not in {f.topic for f in findings}
    (desired,) = [f for f in findings if f.topic == "desiderata"]
    assert "Sampling: a hand-written list" in desired.seen
    assert "run more trials" not in desired.action


def test_the_import_of_the_analysis_is_light():
    code = "import sys, refplay.analysis; sys.exit(any(m in sys.modules for m in ('scipy', 'numba', 'matplotlib')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_learning_leaves_the_round_as_it_was(make_study, halton):
    round = _round(make_study, halton, _error)
    before = repr(round)
    assert learn(round) == learn(round)
    assert repr(round) == before

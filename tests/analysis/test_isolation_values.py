"""The best trial of every value and bucket is found, and an unfair comparison is called unfair."""

import math

import numpy as np
import pytest

from refplay.analysis.isolation import isolate, isolation
from refplay.search.space import Choice, Integer, LogUniform, Space
from refplay.study.plan import Plan
from refplay.study.record import Round, State, Study

SPACE = Space(weight_decay=LogUniform(1e-6, 1e-2), learning_rate=LogUniform(1e-4, 1e-1))
PLAN = Plan(name="p", goal="which?", scientific={"optimizer": ["sgd", "adam"]}, trials=12,
            nuisance={"weight_decay": LogUniform(1e-6, 1e-2), "learning_rate": LogUniform(1e-4, 1e-1)})


def _error(params):
    return abs(math.log10(params["learning_rate"]) + 2.5) + 0.1 * abs(math.log10(params["weight_decay"]) + 4)


def _round(make_study, halton, plan=PLAN, trials=(12, 12), spaces=(SPACE, SPACE), offsets=(0.0, 0.5)):
    studies = []
    for i, (n, space, offset, value) in enumerate(zip(trials, spaces, offsets, ["sgd", "adam"], strict=True)):
        studies.append(make_study(space, halton(n, len(space.dimensions), i), lambda p, o=offset: _error(p) + o,
                                  name=f"p/{value}", scientific={"optimizer": value}))
    return Round(plan, tuple(studies))


def test_across_studies_every_scientific_value_has_its_best_trial(make_study, halton):
    round = _round(make_study, halton)
    sgd, adam = isolate(round, "optimizer")
    assert (sgd.value, adam.value, sgd.trials, adam.trials) == ("sgd", "adam", 12, 12)
    for row, study in zip((sgd, adam), round.studies, strict=True):
        values = [t.best("valid_error").value for t in study.trials]
        assert row.best == min(values)
        assert row.trial.number == int(np.argmin(values))


def test_a_continuous_hyperparameter_is_bucketed_on_its_own_scale(make_study, halton):
    study = make_study(SPACE, halton(64, 2, 0), _error)
    rows = isolate(study, "weight_decay", buckets=4)
    decades = (-6, -5, -4, -3)
    assert [(row.low, row.high) for row in rows] == [pytest.approx((10.0**e, 10.0 ** (e + 1))) for e in decades]
    assert [row.value for row in rows] == pytest.approx([10.0 ** (e + 0.5) for e in (-6, -5, -4, -3)])
    assert sum(row.trials for row in rows) == 64
    for row in rows:
        inside = [t for t in study.trials if row.low <= t.params["weight_decay"] < row.high]
        assert row.trials == len(inside)
        assert row.best == min(t.best("valid_error").value for t in inside)


def test_buckets_without_a_feasible_trial_keep_their_count(make_study, halton):
    study = make_study(SPACE, halton(64, 2, 0), lambda p: None if p["learning_rate"] > 1e-2 else _error(p))
    last = isolate(study, "learning_rate", buckets=3)[-1]
    assert last.trial is None
    assert math.isnan(last.best)
    assert last.trials > 10


def test_options_keep_their_order_and_integers_are_bucketed(make_study, halton):
    space = Space(norm=Choice(["none", "batch", "layer"]), depth=Integer(1, 4))
    study = make_study(space, halton(48, 2, 0), lambda p: 1 / p["depth"] + (p["norm"] == "batch"))
    assert [row.value for row in isolate(study, "norm")] == ["none", "batch", "layer"]
    assert [(row.value, row.best) for row in isolate(study, "depth", buckets=4)] == [
        (d, pytest.approx(1 / d)) for d in (1, 2, 3, 4)]


def test_an_unknown_name_gives_nothing_and_no_bucket_is_refused(make_study, halton):
    study = make_study(SPACE, halton(8, 2, 0), _error)
    assert isolate(study, "beta1") == []
    with pytest.raises(ValueError, match="buckets"):
        isolate(study, "learning_rate", buckets=0)


def test_equal_names_with_other_ranges_are_other_hyperparameters(make_study, halton):
    wide = Space(weight_decay=LogUniform(1e-6, 1e-2), learning_rate=LogUniform(1e-3, 1e1))
    round = _round(make_study, halton, spaces=(SPACE, wide))
    assert {row.trial.study for row in isolate(round, "learning_rate")} == {"s"}
    assert sum(row.trials for row in isolate(round, "learning_rate")) == 12
    assert sum(row.trials for row in isolate(round, "weight_decay")) == 24


def test_a_fair_comparison_is_good(make_study, halton):
    comparison, fair = isolation(_round(make_study, halton), "valid_error")
    assert (comparison.topic, comparison.numbers["values"]) == ("isolation", ["sgd", "adam"])
    assert comparison.numbers["best"] == sorted(comparison.numbers["best"])
    assert (fair.topic, fair.verdict) == ("fairness", "good")
    assert fair.numbers["steps"] == {"p/sgd": 30, "p/adam": 30}


def test_fewer_trials_for_one_value_are_unfair_and_a_lost_one_is_not(make_study, halton):
    assert isolation(_round(make_study, halton, trials=(12, 8)), "valid_error")[-1].verdict == "attention"
    assert isolation(_round(make_study, halton, trials=(12, 11)), "valid_error")[-1].verdict == "good"


def test_other_lengths_of_training_are_unfair(make_study, make_trial, halton):
    round = _round(make_study, halton)
    longer = make_trial(99, {"optimizer": "adam"}, None, curves={"valid_error": [0.5] * 9}, state=State.COMPLETE)
    adam = round.studies[1]
    adam = Study(adam.name, adam.scientific, adam.space, (*adam.trials[:-1], longer))
    finding = isolation(Round(PLAN, (round.studies[0], adam)), "valid_error")[-1]
    assert finding.verdict == "attention"
    assert finding.numbers["steps"] == {"p/sgd": 30, "p/adam": 90}


def test_other_ranges_of_a_shared_hyperparameter_are_unfair(make_study, halton):
    narrow = Space(weight_decay=LogUniform(1e-6, 1e-5), learning_rate=LogUniform(1e-4, 1e-1))
    finding = isolation(_round(make_study, halton, spaces=(SPACE, narrow)), "valid_error")[-1]
    assert finding.verdict == "attention"
    assert "weight_decay was searched over different ranges" in finding.seen


def test_conditional_hyperparameters_may_differ_but_their_number_is_said(make_study, halton):
    own = {"sgd": Space(learning_rate=LogUniform(1e-3, 1e0)),
           "adam": Space(learning_rate=LogUniform(1e-4, 1e-1), beta1=LogUniform(0.1, 0.9))}
    plan = Plan(name="p", goal="which?", scientific={"optimizer": ["sgd", "adam"]}, trials=12,
                nuisance={"weight_decay": LogUniform(1e-6, 1e-2), "optimizer": own})
    spaces = tuple(Space(weight_decay=LogUniform(1e-6, 1e-2), **own[value].domains) for value in ("sgd", "adam"))
    finding = isolation(_round(make_study, halton, plan, spaces=spaces), "valid_error")[-1]
    assert finding.verdict == "note"
    assert finding.numbers["dimensions"] == {"p/sgd": 2, "p/adam": 3}


def test_nothing_is_compared_without_scientific_hyperparameters(make_study, halton):
    plan = Plan(name="p", goal="tune", nuisance={"learning_rate": LogUniform(1e-4, 1e-1)})
    assert isolation(Round(plan, (make_study(SPACE, halton(8, 2, 0), _error),)), "valid_error") == []

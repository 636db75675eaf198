"""Infeasible trials are counted, explained by the hyperparameter that makes them so, and never by chance."""

import math

import numpy as np
import pytest

from refplay.analysis.feasibility import LEVEL, effective_rate_auc, feasibility, infeasible_fraction, separator
from refplay.search.space import Choice, Integer, LogUniform, OneMinusLogUniform, Space, Uniform
from refplay.study.record import State, Study

SPACE = Space(learning_rate=LogUniform(1e-4, 1e0), momentum=OneMinusLogUniform(1e-3, 1.0), dropout=Uniform(0.0, 0.5),
              activation=Choice(["relu", "tanh", "gelu"]))


def test_the_separating_hyperparameter_and_its_split_are_found(make_study, halton):
    study = make_study(SPACE, halton(30, 4, 0), lambda p: None if p["learning_rate"] > 0.03 else 0.1 + p["dropout"])
    kept = max(t.params["learning_rate"] for t in study.trials if t.feasible)
    bad = sum(not t.feasible for t in study.trials)
    found = separator(study, "valid_error")
    assert (found.hyperparameter, found.side, found.auc, found.split) == ("learning_rate", "high", 1.0, kept)
    assert (found.excluded, found.lost, found.best_lost) == (bad, 0, False)
    assert found.probability < 1e-4
    (finding,) = feasibility(study, "valid_error")
    assert finding.verdict == "attention"
    assert finding.numbers["fraction"] == infeasible_fraction(study) == bad / 30
    assert f"set the upper limit of learning_rate to {kept:.4g}" in finding.action


def test_a_suspected_stability_limit_is_not_narrowed_away(make_study, halton):
    study = make_study(SPACE, halton(30, 4, 0), lambda p: None if p["learning_rate"] > 0.03 else 1 / p["learning_rate"])
    (finding,) = feasibility(study, "valid_error")
    assert finding.hyperparameter == "learning_rate"
    assert "Do not narrow learning_rate yet" in finding.action


def test_the_area_is_that_of_scikit_learn(make_study, halton):
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(3)
    noisy = make_study(SPACE, halton(40, 4, 1),
                       lambda p: None if math.log10(p["learning_rate"]) + rng.standard_normal() > -2 else 0.1)
    tied = make_study(Space(depth=Integer(1, 4)), halton(40, 1, 1),
                      lambda p: None if p["depth"] + rng.standard_normal() > 2.5 else 0.1)
    for study, name in ((noisy, "learning_rate"), (tied, "depth")):
        found = separator(study, "valid_error")
        labels = [t.state is State.INFEASIBLE for t in study.trials]
        assert found.hyperparameter == name
        assert found.auc == pytest.approx(roc_auc_score(labels, [t.params[name] for t in study.trials]), rel=1e-12)


def test_a_low_side_and_an_option_are_found_too(make_study, halton):
    low = make_study(SPACE, halton(40, 4, 0), lambda p: None if p["dropout"] < 0.2 else 0.5 - p["dropout"])
    found = separator(low, "valid_error")
    assert (found.hyperparameter, found.side) == ("dropout", "low")
    option = make_study(SPACE, halton(40, 4, 0), lambda p: None if p["activation"] == "tanh" else 0.1)
    found = separator(option, "valid_error")
    assert (found.hyperparameter, found.side, found.split) == ("activation", "option", "tanh")
    (finding,) = feasibility(option, "valid_error")
    assert "activation=tanh" in finding.action


def test_narrowing_is_not_proposed_where_the_best_trial_would_be_lost(make_study, halton):
    rates = np.sort([SPACE.from_unit(p)["learning_rate"] for p in halton(40, 4, 0)])

    def objective(params):  # most large rates diverge; the largest that does not is the best of all
        rate = params["learning_rate"]
        return None if rates[20] < rate < rates[-1] else 1 / rate

    (finding,) = feasibility(make_study(SPACE, halton(40, 4, 0), objective), "valid_error")
    assert finding.hyperparameter == "learning_rate"
    assert "do not narrow" in finding.action


def test_a_product_that_separates_better_is_proposed_as_parameter(make_study, halton):
    space = Space(learning_rate=LogUniform(1e-4, 1e0), momentum=OneMinusLogUniform(1e-4, 1.0))
    study = make_study(space, halton(60, 2, 0),
                       lambda p: None if p["learning_rate"] / (1 - p["momentum"]) > 1 else 1 - p["momentum"])
    assert effective_rate_auc(study) == 1.0
    (finding,) = feasibility(study, "valid_error")
    assert "learning_rate / (1 - momentum)" in finding.action
    assert effective_rate_auc(make_study(Space(dropout=Uniform(0.0, 0.5)), halton(9, 1, 0), lambda p: 0.1)) is None


def test_infeasibility_at_random_is_rarely_explained(make_study, halton):
    rng = np.random.default_rng(4)
    found = [separator(make_study(SPACE, halton(30, 4, seed), lambda p: None if rng.random() < 0.4 else rng.random()),
                       "valid_error") is not None for seed in range(150)]
    assert np.mean(found) <= LEVEL + 3 * math.sqrt(LEVEL * (1 - LEVEL) / 150)


def test_few_infeasible_trials_are_a_note_and_none_is_good(make_study, halton):
    some = make_study(SPACE, halton(30, 4, 0), lambda p: None if p["learning_rate"] > 0.4 else 0.1)
    (finding,) = feasibility(some, "valid_error")
    assert (finding.verdict, finding.action) == ("note", "")
    assert 0 < finding.numbers["infeasible"] < 10
    (finding,) = feasibility(make_study(SPACE, halton(30, 4, 0), lambda p: 0.1), "valid_error")
    assert (finding.verdict, finding.numbers["infeasible"]) == ("good", 0)


def test_a_study_without_a_feasible_trial_asks_for_a_cautious_run(make_study, halton):
    (finding,) = feasibility(make_study(SPACE, halton(8, 4, 0), lambda p: None), "valid_error")
    assert finding.verdict == "attention"
    assert finding.numbers["fraction"] == 1
    assert "bug" in finding.action


def test_failed_trials_are_bugs_and_do_not_count_as_infeasible(make_study, make_trial, halton):
    good = make_study(SPACE, halton(6, 4, 0), lambda p: 0.1)
    trace = "Traceback (most recent call last):\n  File \"train.py\", line 3, in f\nKeyError: 'learning_rat'\n"
    crashed = tuple(make_trial(6 + i, {}, None, state=State.FAILED, reason=trace) for i in range(2))
    feasible, failed = feasibility(Study("s", {}, SPACE, good.trials + crashed), "valid_error")
    assert feasible.numbers == {"infeasible": 0, "finished": 6, "fraction": 0.0}
    assert (failed.topic, failed.verdict, failed.numbers["numbers"]) == ("failed", "attention", [6, 7])
    assert "KeyError: 'learning_rat'" in failed.seen
    assert failed.seen.endswith("(at train.py, line 3, in f)")
    assert failed.seen.startswith("2 of 8 trials failed")
    assert "--retry-failed" in failed.action  # a run that goes on without it leaves them as they are

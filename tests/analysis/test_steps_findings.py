"""The length of training is judged by where the best checkpoints of the better trials stood."""

import numpy as np
import pytest

from refplay.analysis.steps import best_steps, settled_at, steps, still_improving
from refplay.search.space import LogUniform, Space
from refplay.study.record import State, Study

SD = 0.002


def _study(make_trial, curves):
    trials = [make_trial(i, {}, None, curves={"valid_error": c}, state=State.COMPLETE) for i, c in enumerate(curves)]
    return Study("s", {}, Space(learning_rate=LogUniform(1e-4, 1e-1)), tuple(trials))


def _lowest_at(fraction, best, m=40):
    # A curve that falls to `best` at a fraction of training and stays a little above it elsewhere.
    values = best + 0.01 + 0.3 * np.exp(-40 * np.arange(1, m + 1) / m)
    values[round(fraction * m) - 1] = best
    return values


def test_best_steps_are_fractions_of_training_from_the_best_trial_on(make_trial):
    study = _study(make_trial, [_lowest_at(0.5, 0.3), _lowest_at(0.1, 0.1), _lowest_at(1.0, 0.2)])
    assert best_steps(study, "valid_error").tolist() == [0.1, 1.0, 0.5]
    assert best_steps(study, "other").tolist() == []


def test_the_first_of_equal_values_is_the_best_step(make_trial):
    assert best_steps(_study(make_trial, [[0.5, 0.2, 0.2, 0.3]]), "valid_error").tolist() == [0.5]


def test_best_steps_all_in_the_first_tenth_mean_far_too_many_steps(make_trial):
    (finding,) = steps(_study(make_trial, [_lowest_at(0.1, 0.1 + 0.01 * i) for i in range(8)]), "valid_error")
    assert (finding.verdict, finding.numbers["early"], finding.numbers["trials"]) == ("attention", 4, 4)
    assert "too long" in finding.action


def test_one_later_best_step_is_enough_not_to_say_so(make_trial):
    curves = [_lowest_at(0.3, 0.1), *(_lowest_at(0.1, 0.11 + 0.01 * i) for i in range(7))]
    (finding,) = steps(_study(make_trial, curves), "valid_error")
    assert "too long" not in finding.action


def test_best_steps_in_the_last_quarter_mean_train_longer(make_trial):
    falling = [0.1 + 0.01 * i + np.linspace(0.4, 0.0, 40) for i in range(8)]
    (finding,) = steps(_study(make_trial, falling), "valid_error")
    assert (finding.verdict, finding.numbers["late"], finding.numbers["improving"]) == ("attention", 4, 3)
    assert "re-tune" in finding.action
    assert "settled" not in finding.seen  # what still improves has not


def test_late_best_steps_of_curves_that_settled_promise_little(make_trial):
    curves = [_lowest_at(0.8 + 0.05 * (i % 4), 0.1 + 0.01 * i) for i in range(8)]
    (finding,) = steps(_study(make_trial, curves), "valid_error")
    assert (finding.verdict, finding.numbers["late"], finding.numbers["improving"]) == ("attention", 4, 0)
    assert "though little" in finding.action
    assert "half of them had settled" in finding.seen


def test_too_few_trials_to_judge_by_say_where_they_stood(make_trial):
    (finding,) = steps(_study(make_trial, [_lowest_at(0.5, 0.1), _lowest_at(0.9, 0.2)]), "valid_error")
    assert finding.verdict == "note"
    assert finding.seen.startswith("2 complete trials, with the best checkpoint at 50% and 90% of training: too few")


def test_three_late_ones_of_four_are_within_chance(make_trial):
    # P(Binomial(4, 1/4) >= 3) = 13 / 256 = 0.051
    curves = [_lowest_at(f, 0.1 + 0.01 * i) for i, f in enumerate((0.9, 0.4, 0.8, 1.0))]
    (finding,) = steps(_study(make_trial, curves), "valid_error")
    assert (finding.verdict, finding.numbers["late"]) == ("good", 3)


def test_slow_trials_of_the_worse_half_do_not_ask_for_more_steps(make_trial):
    curves = [_lowest_at(0.4, 0.1 + 0.01 * i) for i in range(6)] + [np.linspace(0.9, 0.6, 40)] * 6
    (finding,) = steps(_study(make_trial, curves), "valid_error")
    assert finding.verdict != "attention"
    assert finding.numbers["late"] == 0


def test_best_steps_at_random_places_rarely_ask_for_more_steps(make_trial):
    # Flat noisy curves: the best step is uniform over training, so a quarter of them lies in the last quarter.
    rng = np.random.default_rng(6)
    found = [steps(_study(make_trial, 0.1 + SD * rng.standard_normal((24, 40))), "valid_error") for _ in range(150)]
    flagged = [finding.verdict == "attention" for (finding,) in found]
    assert np.mean(flagged) <= 0.05  # P(Binomial(12, 1/4) >= 9) = 0.0004


def test_three_trials_are_too_few(make_trial):
    (finding,) = steps(_study(make_trial, [_lowest_at(0.1, 0.1)] * 3), "valid_error")
    assert finding.verdict == "note"
    assert steps(_study(make_trial, []), "valid_error") == []


@pytest.mark.parametrize("seed", range(5))
def test_a_curve_that_still_falls_is_told_from_one_that_has_settled(make_trial, seed):
    noise = SD * np.random.default_rng(seed).standard_normal(40)
    t = np.arange(1, 41) / 40
    falling = make_trial(0, {}, None, curves={"valid_error": 0.5 - 0.4 * t + noise})
    settled = make_trial(0, {}, None, curves={"valid_error": 0.1 + 0.5 * np.exp(-25 * t) + noise})
    assert still_improving(falling, "valid_error") is True
    assert still_improving(settled, "valid_error") is False
    assert settled_at(falling, "valid_error") > 0.85
    assert 0.1 < settled_at(settled, "valid_error") < 0.4


def test_short_curves_are_not_judged(make_trial):
    trial = make_trial(0, {}, 0.1)
    assert still_improving(trial, "valid_error") is None
    assert settled_at(trial, "valid_error") is None


def test_a_study_that_saturated_early_may_take_fewer_steps(make_trial):
    rng = np.random.default_rng(1)
    t = np.arange(1, 41) / 40
    curves = [0.1 + 0.01 * i + 0.5 * np.exp(-25 * t) + SD * rng.standard_normal(40) for i in range(12)]
    (finding,) = steps(_study(make_trial, curves), "valid_error")
    assert (finding.verdict, finding.numbers["improving"]) == ("note", 0)
    assert "not compute-bound" in finding.action

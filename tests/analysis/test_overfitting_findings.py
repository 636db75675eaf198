"""A validation curve that rises is found; noise, slow progress, divergence and too few evaluations are not."""

import math

import numpy as np
import pytest

from refplay.analysis.curves import LEVEL, overfits, overfitting, rising_loss
from refplay.analysis.noise import noise, threshold
from refplay.search.space import Choice, Space, Uniform
from refplay.study.record import Curve, State, Study

SD = 0.003


def _study(make_trial, curves, params=None, space=None):
    trials = [make_trial(i, params[i] if params else {}, None, curves=c, state=State.COMPLETE)
              for i, c in enumerate(curves)]
    return Study("s", {}, space or Space(dropout=Uniform(0.0, 0.5)), tuple(trials))


def _falling(m, speed=20.0, final=0.05):
    return final + 0.9 * np.exp(-speed * np.arange(1, m + 1) / m)


def _rising(m, rise=0.05):
    t = np.arange(1, m + 1) / m
    return _falling(m) + rise * np.maximum(t - 0.3, 0) / 0.7


@pytest.mark.parametrize("m", [8, 12, 20, 40, 100])
@pytest.mark.parametrize("speed", [4.0, 20.0])  # still falling at the end; flat from a fifth on
def test_noise_around_a_falling_curve_is_rarely_called_overfitting(make_trial, m, speed):
    rng = np.random.default_rng(m)
    runs = 600
    found = [overfits(make_trial(0, {}, None, curves={"valid_error": _falling(m, speed) + SD * rng.standard_normal(m)}),
                      "valid_error") is not None for _ in range(runs)]
    assert np.mean(found) <= LEVEL + 3 * math.sqrt(LEVEL * (1 - LEVEL) / runs)


def test_counts_of_a_small_validation_set_are_rarely_called_overfitting(make_trial):
    rng = np.random.default_rng(1)
    runs = 600
    found = [overfits(make_trial(0, {}, None, curves={"valid_error": rng.binomial(300, 0.03, 25) / 300}),
                      "valid_error") is not None for _ in range(runs)]
    assert np.mean(found) <= LEVEL + 3 * math.sqrt(LEVEL * (1 - LEVEL) / runs)


def test_one_more_wrong_example_at_the_end_is_not_overfitting(make_trial):
    # 3 wrong of 300 in all but the last evaluations, then 4: the scatter of the curve is nearly zero, and yet...
    counts = np.array([30, 9, 5, *[3] * 13, *[4] * 4])
    assert overfits(make_trial(0, {}, None, curves={"valid_error": counts / 300}), "valid_error") is None
    counts[-4:] = 9
    assert overfits(make_trial(0, {}, None, curves={"valid_error": counts / 300}), "valid_error") is not None


@pytest.mark.parametrize("m", [20, 40, 100])
def test_a_rise_of_many_noise_deviations_is_found(make_trial, m):
    rng = np.random.default_rng(m)
    for _ in range(50):  # of 24 trials: the level that a whole study is judged at
        trial = make_trial(3, {}, None, curves={"valid_error": _rising(m) + SD * rng.standard_normal(m)})
        found = overfits(trial, "valid_error", LEVEL / 24)
        assert found is not None
        assert found.final > found.lowest
        assert 10 * m * 0.05 <= found.step <= 10 * m * 0.6  # the curve turns at three tenths


def test_a_rise_that_does_not_matter_or_ends_is_not_overfitting(make_trial):
    smooth = _falling(40) + 0.0005 * np.arange(40) / 40  # noise-free: 1% of the minimum
    assert overfits(make_trial(0, {}, None, curves={"valid_error": smooth}), "valid_error") is None
    hump = _falling(40)
    hump[15:20] += 0.2  # a spike in the middle that heals
    assert overfits(make_trial(0, {}, None, curves={"valid_error": hump}), "valid_error") is None


def test_a_training_loss_that_rises_too_is_instability_and_not_overfitting(make_trial):
    rng = np.random.default_rng(0)
    valid = _rising(40) + SD * rng.standard_normal(40)
    fitting, unstable = 0.5 * _falling(40) + SD * rng.standard_normal(40), 3 * valid
    assert overfits(make_trial(0, {}, None, curves={"valid_error": valid, "train_loss": fitting}), "valid_error")
    assert not overfits(make_trial(0, {}, None, curves={"valid_error": valid, "train_loss": unstable}), "valid_error")


def _losses(m, rng, *, broken):
    # Of every step: 20 times as many as evaluations. Both have spikes; only the broken one ends above what it reached.
    t = np.arange(20 * m) / (20 * m)
    loss = 0.1 + 2.2 * np.exp(-12 * t)
    if broken:
        loss = np.where(t < 0.1, 2.3 - 10 * t, 1.86 + 0.3 * np.exp(-8 * (t - 0.1)))  # 1.3 at a tenth, then 2.16 to 1.86
    loss = loss + 0.04 * rng.standard_normal(20 * m)
    loss[2 * m:2 * m + 6] = (6, 14, 25, 145, 17, 35)
    loss[6 * m] = 5.7
    return loss


@pytest.mark.parametrize("m", [20, 40])
def test_optimization_that_broke_down_is_not_overfitting_though_its_loss_falls_again(make_trial, m):
    rng = np.random.default_rng(m)
    for broken in (False, True):
        study = _study(make_trial, [{"valid_error": _falling(m) + SD * rng.standard_normal(m)},
                                    {"valid_error": 0.6 + _rising(m, 0.2) + SD * rng.standard_normal(m),
                                     "train_loss": _losses(m, rng, broken=broken)}])
        findings = overfitting(study, "valid_error")
        overfit, rest = findings[0], findings[1:]
        assert (overfit.verdict, overfit.numbers["overfitting"]) == (("good", []) if broken else ("attention", [1]))
        assert [(f.topic, f.verdict, f.numbers["worse"]) for f in rest] == [("training-loss", "note", [1])] * broken
        if broken:
            assert "not overfitting" in rest[0].seen
            assert rest[0].numbers["lowest_training_loss"] == pytest.approx(1.425, abs=0.05)
            assert rest[0].numbers["last_training_loss"] == pytest.approx(1.86, abs=0.05)
            assert "clipping" in rest[0].action
            assert rest[0].section.startswith("How can optimization failures")


def test_a_best_trial_that_broke_down_needs_attention(make_trial):
    rng = np.random.default_rng(0)
    curves = [{"valid_error": _rising(40) + SD * rng.standard_normal(40), "train_loss": _losses(40, rng, broken=True)}]
    assert [(f.topic, f.verdict) for f in overfitting(_study(make_trial, curves), "valid_error")] == [
        ("overfitting", "good"), ("training-loss", "attention")]


@pytest.mark.parametrize("m", [8, 20, 400])
def test_a_training_loss_that_stays_at_its_floor_has_rarely_got_worse(make_trial, m):
    # Overfitting once the training set is learned: the loss only scatters, and must not hide the rise.
    rng = np.random.default_rng(m)
    runs, hidden = 300, 0
    for _ in range(runs):
        curves = {"valid_error": _rising(20, 0.2), "train_loss": 0.01 + 0.001 * rng.standard_normal(m)}
        hidden += overfits(make_trial(0, {}, None, curves=curves), "valid_error") is None
    assert hidden / runs <= LEVEL + 3 * math.sqrt(LEVEL * (1 - LEVEL) / runs)


def test_overfitting_in_the_best_trial_asks_for_regularization_first(make_trial):
    rng = np.random.default_rng(0)
    curves = [{"valid_error": _rising(40) - 0.02 + SD * rng.standard_normal(40)}]
    curves += [{"valid_error": _falling(40, 8, 0.1) + SD * rng.standard_normal(40)} for _ in range(5)]
    (finding,) = overfitting(_study(make_trial, curves), "valid_error")
    assert (finding.verdict, finding.numbers["overfitting"], finding.numbers["best"]) == ("attention", [0], [0])
    assert "tune dropout further" in finding.action  # the space has it already
    assert "before comparing" in finding.action
    (finding,) = overfitting(_study(make_trial, curves, space=Space(depth=Choice([1, 2]))), "valid_error")
    assert "add dropout, label smoothing or weight decay" in finding.action


def test_overfitting_in_another_trial_warns_of_accidental_regularization(make_trial):
    rng = np.random.default_rng(0)
    curves = [{"valid_error": _falling(40) + SD * rng.standard_normal(40)},
              {"valid_error": _rising(40) + 0.05 + SD * rng.standard_normal(40)}]
    (finding,) = overfitting(_study(make_trial, curves), "valid_error")
    assert (finding.verdict, finding.numbers["overfitting"], finding.numbers["best"]) == ("attention", [1], [0])
    assert "small learning rate" in finding.action


def test_the_best_trial_of_every_scientific_value_is_looked_at(make_trial):
    rng = np.random.default_rng(0)
    curves = [{"valid_error": _falling(40) + SD * rng.standard_normal(40)},
              {"valid_error": _rising(40) + 0.05 + SD * rng.standard_normal(40)}]
    study = _study(make_trial, curves, params=[{"depth": 1}, {"depth": 2}], space=Space(depth=Choice([1, 2])))
    (finding,) = overfitting(study, "valid_error", ("depth",))
    assert (finding.numbers["overfitting"], finding.numbers["best"]) == ([1], [0, 1])
    assert "the best one included" in finding.seen


def test_a_healthy_study_is_good_and_a_short_curve_is_a_note(make_trial):
    rng = np.random.default_rng(0)
    healthy = [{"valid_error": _falling(40) + SD * rng.standard_normal(40)} for _ in range(24)]
    assert [f.verdict for f in overfitting(_study(make_trial, healthy), "valid_error")] == ["good"]
    short = [{"valid_error": [0.5, 0.2, 0.1, 0.3, 0.4, 0.5, 0.6]}]
    assert [f.verdict for f in overfitting(_study(make_trial, short), "valid_error")] == ["note"]


def test_a_climb_that_large_oscillations_hide_is_not_called_good(make_trial):
    # Found by a newcomer: the best trial went from 4% to 30%, up and down on its way.
    t = np.arange(24) / 24
    climbing = 0.04 + 0.3 * np.maximum(t - 0.3, 0) + 0.12 * (np.arange(24) % 2) * (t > 0.3)
    (finding,) = overfitting(_study(make_trial, [{"valid_error": climbing}] + 7 * [{"valid_error": _falling(24)}]),
                             "valid_error")
    assert finding.verdict == "note"
    assert finding.numbers["overfitting"] == []
    assert finding.numbers["final"] > 1.5 * finding.numbers["lowest"]
    assert "that noise is large" in finding.seen
    assert "decays" in finding.action


def test_a_training_metric_cannot_overfit(make_trial):
    assert overfitting(_study(make_trial, [{"train_loss": _rising(40)}]), "train_loss") == []


def test_a_training_loss_that_rises_in_most_trials_suggests_a_bug(make_trial):
    rng = np.random.default_rng(0)

    def curves(rising):
        signs = [1 if i < rising else -1 for i in range(6)]
        return [{"train_loss": 2 + s * np.linspace(0, 1, 50) + 0.1 * rng.standard_normal(50), "valid_error": [0.3, 0.2]}
                for s in signs]

    (bug,) = rising_loss(_study(make_trial, curves(5)))
    assert (bug.verdict, bug.numbers["risen"]) == ("attention", [0, 1, 2, 3, 4])
    assert "bug" in bug.action
    (few,) = rising_loss(_study(make_trial, curves(1)))
    assert (few.verdict, few.numbers["risen"]) == ("note", [0])
    assert rising_loss(_study(make_trial, curves(0))) == []


def test_noise_is_estimated_beside_a_trend():
    rng = np.random.default_rng(0)
    t = np.linspace(0, 1, 2001)
    # Relative standard error of a variance from n second differences: sqrt(35 / 18 / n) * sqrt(2), n = 1,499.
    estimate = noise(0.2 - 0.1 * t + 0.01 * rng.standard_normal(2001))
    assert estimate.sd == pytest.approx(0.01, rel=4 * math.sqrt(2 * 35 / 18 / 1499) / 2)
    assert estimate.degrees == pytest.approx(1499 * 18 / 35, abs=0.1)


def test_the_threshold_is_the_t_quantile_of_scipy_stats():
    from scipy.stats import t

    estimate = noise(np.array([0.3, 0.2, 0.15, 0.16, 0.11, 0.12, 0.1, 0.13, 0.11]))
    assert threshold(estimate, 3, 0.01) == pytest.approx(t.isf(0.01, estimate.degrees) * estimate.sd * math.sqrt(2 / 3))


def test_holes_in_a_curve_are_left_out(make_trial):
    values = _rising(40)
    values[::7] = np.nan
    trial = make_trial(0, {}, None, curves={"valid_error": values})
    assert isinstance(trial.curves["valid_error"], Curve)
    assert overfits(trial, "valid_error") is not None

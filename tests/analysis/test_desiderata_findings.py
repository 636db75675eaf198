"""The three desiderata are read off a finished study; uneven sampling of a scientific hyperparameter is noticed."""

import itertools
import math

import numpy as np
import pytest

from refplay.analysis.caveats import caveats, fixed_caveat
from refplay.analysis.desiderata import DRAWS, LEVEL, desiderata, uniformity, uniformity_probability
from refplay.search.space import Choice, LogUniform, Space
from refplay.study.plan import Plan
from refplay.study.record import Round

SPACE = Space(learning_rate=LogUniform(1e-4, 1e-1))


def _round(make_study, halton, objective, *, values=("relu", "tanh"), trials=24, name="activation"):
    plan = Plan(name="p", goal="which?", scientific={name: list(values)}, trials=trials,
                nuisance={"learning_rate": LogUniform(1e-4, 1e-1)})
    return Round(plan, tuple(
        make_study(SPACE, halton(trials, 1, i), objective, name=f"p/{value}", scientific={name: value})
        for i, value in enumerate(values)))


def _inside(params):
    return 0.1 + (math.log10(params["learning_rate"]) + 2.5) ** 2


def test_a_study_that_meets_all_three_is_good(make_study, halton):
    for finding in desiderata(_round(make_study, halton, _inside), "valid_error"):
        assert finding.verdict == "good"
        assert (finding.numbers["enough_values"], finding.numbers["wide_enough"], finding.numbers["dense_enough"]) == (
            True, True, True)


def test_best_trials_at_an_edge_leave_the_space_too_narrow(make_study, halton):
    finding = desiderata(_round(make_study, halton, lambda p: 1 / p["learning_rate"]), "valid_error")[0]
    assert (finding.verdict, finding.numbers["wide_enough"]) == ("attention", False)
    assert "settle the ranges" in finding.action


def test_a_lonely_best_trial_leaves_the_sampling_too_thin(make_study, halton):
    finding = desiderata(_round(make_study, halton, lambda p: abs(math.log10(p["learning_rate"]) + 2.5) ** 0.2),
                         "valid_error")[0]
    assert (finding.verdict, finding.numbers["dense_enough"]) == ("attention", False)
    assert "more trials" in finding.action


@pytest.mark.parametrize(("values", "enough"), [((1, 2), False), ((1, 2, 4), True), ((0, 1), True), (("a",), False),
                                                ((False, True), True)])
def test_two_values_are_enough_except_of_a_number_without_zero(make_study, halton, values, enough):
    for finding in desiderata(_round(make_study, halton, _inside, values=values, name="depth"), "valid_error"):
        assert finding.numbers["enough_values"] is enough
        needed = 3 if values == (1, 2) else 2
        assert (f"compare more values: at least {needed} of depth with a result" in finding.action) is not enough


def test_the_probability_of_uneven_counts_is_that_of_all_outcomes():
    # Oracle: the multinomial distribution of 6 trials over 3 options, outcome by outcome.
    def probability(observed):
        total = 0.0
        for draw in itertools.product(range(7), repeat=3):
            if sum(draw) == 6 and sum(c * c for c in draw) >= sum(c * c for c in observed):
                total += math.factorial(6) / math.prod(math.factorial(c) for c in draw) / 3**6
        return total

    for observed in ([2, 2, 2], [3, 2, 1], [4, 2, 0], [6, 0, 0]):
        exact = probability(observed)
        tolerance = 4 * math.sqrt(exact * (1 - exact) / DRAWS) + 1 / DRAWS  # four standard errors of the simulation
        assert abs(uniformity_probability(observed) - exact) <= tolerance


def test_the_probability_of_many_counts_is_that_of_scipy_chisquare():
    from scipy.stats import chisquare

    observed = [230, 270, 240, 260]
    exact = chisquare(observed).pvalue
    # The chi-square distribution is off by about 1 / count; the simulation by four of its standard errors.
    assert abs(uniformity_probability(observed) - exact) <= 4 * math.sqrt(exact * (1 - exact) / DRAWS) + 1 / 230


def _together(make_study, points):
    space = Space(activation=Choice(["relu", "tanh", "gelu"]), learning_rate=LogUniform(1e-4, 1e-1))
    plan = Plan(name="p", goal="which?", scientific={"activation": ["relu", "tanh", "gelu"]}, together=True,
                nuisance={"learning_rate": LogUniform(1e-4, 1e-1)})
    return Round(plan, (make_study(space, points, _inside),))


def test_quasi_random_sampling_is_uniform(make_study, halton):
    (finding,) = uniformity(_together(make_study, halton(30, 2, 0)))
    assert (finding.verdict, sum(finding.numbers["counts"])) == ("good", 30)


def test_random_sampling_is_rarely_called_uneven(make_study):
    rng = np.random.default_rng(0)
    flagged = [uniformity(_together(make_study, rng.random((12, 2))))[0].verdict == "attention" for _ in range(200)]
    assert np.mean(flagged) <= LEVEL + 3 * math.sqrt(LEVEL * (1 - LEVEL) / 200)


def test_an_adaptive_search_that_favoured_one_value_is_noticed(make_study, halton):
    points = halton(30, 2, 0)
    points[:, 0] **= 4  # three quarters of the trials at the first option
    (finding,) = uniformity(_together(make_study, points))
    assert (finding.verdict, finding.hyperparameter) == ("attention", "activation")
    assert "study of its own" in finding.action


def test_studies_of_their_own_need_no_check_of_uniformity(make_study, halton):
    assert uniformity(_round(make_study, halton, _inside)) == []


def test_fixed_hyperparameters_are_caveats_and_warnings_come_from_the_plan():
    plan = Plan(name="p", goal="which?", scientific={"depth": [1, 2, 4]}, trials=8,
                nuisance={"learning_rate": LogUniform(1e-4, 1e-1)}, fixed={"momentum": 0.9, "width": 128})
    note, *warnings = caveats(plan)
    assert (note.verdict, note.numbers["fixed"]) == ("note", {"momentum": 0.9, "width": 128})
    assert "momentum=0.9 and width=128" in note.seen
    assert [(w.seen, w.action, w.hyperparameter) for w in warnings] == [
        (w.seen, w.action, w.hyperparameter) for w in plan.warnings()]
    assert "momentum" in [w.hyperparameter for w in warnings]
    free = Plan(name="p", goal="tune", nuisance={"learning_rate": LogUniform(1e-4, 1e-1)})
    assert (fixed_caveat(free), caveats(free)) == ("", [])

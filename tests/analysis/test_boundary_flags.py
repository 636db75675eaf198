"""Best trials at an edge are flagged nearly always, noise rarely, an optimum inside never."""

import itertools
import math

import numpy as np
import pytest

from refplay.analysis.axes import shift_probability
from refplay.analysis.boundary import LEVEL, boundary, boundary_flags
from refplay.search.space import Choice, Integer, LogUniform, OneMinusLogUniform, Space, Uniform

SPACE = Space(learning_rate=LogUniform(1e-4, 1e-1), momentum=OneMinusLogUniform(1e-3, 1.0),
              weight_decay=LogUniform(1e-6, 1e-2), dropout=Uniform(0.0, 0.5))
DISCRETE = Space(depth=Integer(1, 4), width=Integer(16, 64, log=True), batch=Choice([32, 64, 128]),
                 activation=Choice(["relu", "tanh"]))


def _rate(flagged: list[bool]) -> tuple[float, float]:
    return float(np.mean(flagged)), 3 * math.sqrt(LEVEL * (1 - LEVEL) / len(flagged))


@pytest.mark.parametrize("space", [SPACE, DISCRETE], ids=["continuous", "discrete"])
@pytest.mark.parametrize("trials", [12, 40])
def test_noise_is_flagged_in_at_most_one_study_of_twenty(make_study, halton, space, trials):
    rng = np.random.default_rng(trials)
    flagged = [bool(boundary_flags(make_study(space, halton(trials, 4, seed), lambda p: rng.standard_normal()),
                                   "valid_error")) for seed in range(200)]
    rate, slack = _rate(flagged)  # three standard deviations of the simulation itself
    assert rate <= LEVEL + slack


def test_noise_is_flagged_sometimes_with_many_tries(make_study):
    # The level is used, not merely kept: a rule that never fires would pass the test above.
    rng = np.random.default_rng(5)
    space = Space(learning_rate=LogUniform(1e-4, 1e-1))
    studies = (make_study(space, rng.random((30, 1)), lambda p: rng.standard_normal()) for _ in range(400))
    flagged = [bool(boundary_flags(study, "valid_error")) for study in studies]
    assert 0.01 <= np.mean(flagged) <= LEVEL + _rate(flagged)[1]


@pytest.mark.parametrize("trials", [16, 24, 100])
@pytest.mark.parametrize("name", ["learning_rate", "momentum", "dropout"])
@pytest.mark.parametrize("edge", ["low", "high"])
def test_a_monotone_objective_is_flagged_at_its_end(make_study, halton, trials, name, edge):
    domain = SPACE.domains[name]
    rng = np.random.default_rng(11)

    def objective(params):  # a tenth of the signal as noise
        return (1 if edge == "low" else -1) * domain.to_unit(params[name]) + 0.03 * rng.standard_normal()

    found = []
    for seed in range(15):
        flags = boundary_flags(make_study(SPACE, halton(trials, 4, seed), objective), "valid_error")
        found.append((name, edge) in [(f.hyperparameter, f.edge) for f in flags])
        assert not any((f.hyperparameter, f.edge) == (name, "high" if edge == "low" else "low") for f in flags)
    assert np.mean(found) >= 0.9


@pytest.mark.parametrize("optimum", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("trials", [10, 24, 100])
def test_an_optimum_inside_is_not_flagged(make_study, halton, optimum, trials):
    domain = SPACE.domains["learning_rate"]
    for seed in range(15):
        study = make_study(SPACE, halton(trials, 4, seed), lambda p: abs(domain.to_unit(p["learning_rate"]) - optimum))
        assert "learning_rate" not in [f.hyperparameter for f in boundary_flags(study, "valid_error")]


@pytest.mark.parametrize("optimum", [0.23, 0.77])
def test_an_optimum_near_the_edge_but_not_at_it_is_not_flagged(make_study, halton, optimum):
    # With 100 trials the best 8 lie within 0.04 of the optimum: off-centre without doubt, and yet inside.
    domain = SPACE.domains["learning_rate"]
    for seed in range(15):
        study = make_study(SPACE, halton(100, 4, seed), lambda p: abs(domain.to_unit(p["learning_rate"]) - optimum))
        assert "learning_rate" not in [f.hyperparameter for f in boundary_flags(study, "valid_error")]


def test_the_finding_proposes_a_range_in_numbers(make_study, halton):
    study = make_study(SPACE, halton(24, 4, 0), lambda p: -p["learning_rate"])
    (finding,) = boundary(study, "valid_error")
    assert (finding.verdict, finding.hyperparameter, finding.numbers["edge"]) == ("attention", "learning_rate", "high")
    assert finding.numbers["proposed"] == "LogUniform(low=0.0001, high=1.0)"
    assert "learning_rate=LogUniform(low=0.0001, high=1.0)" in finding.action
    assert finding.section == "Identifying bad search space boundaries"
    best = sorted((t.params["learning_rate"] for t in study.trials), reverse=True)[:5]
    assert finding.numbers["values"] == best
    assert finding.numbers["probability"] == pytest.approx(1 / math.comb(24, 5))


def test_a_good_space_and_a_small_study_say_so(make_study, halton):
    middle = make_study(SPACE, halton(24, 4, 0), lambda p: abs(math.log10(p["learning_rate"]) + 2.5))
    assert [f.verdict for f in boundary(middle, "valid_error")] == ["good"]
    few = make_study(SPACE, halton(5, 4, 0), lambda p: -p["learning_rate"])
    (finding,) = boundary(few, "valid_error")
    assert finding.verdict == "note"
    assert "cannot" in finding.seen
    unordered = make_study(Space(optimizer=Choice(["adam", "sgd"])), halton(9, 1, 0), lambda p: 0.1)
    assert boundary(unordered, "valid_error") == []


def test_a_natural_limit_is_a_note_without_an_expansion(make_study, halton):
    (finding,) = boundary(make_study(SPACE, halton(24, 4, 0), lambda p: p["dropout"]), "valid_error")
    assert (finding.verdict, finding.hyperparameter) == ("note", "dropout")
    assert "proposed" not in finding.numbers
    assert "natural limit" in finding.action


def test_a_conditional_hyperparameter_is_judged_where_it_is_active(make_study, halton):
    space = Space(optimizer=Choice(["sgd", "adam"], when={"adam": Space(beta1=OneMinusLogUniform(1e-2, 0.5))}))
    # Trials without beta1 are better than all others: they must not count among the best of beta1.
    study = make_study(space, halton(60, 2, 3), lambda p: 1 - p.get("optimizer.adam.beta1", 1))
    (flag,) = boundary_flags(study, "valid_error")
    assert (flag.hyperparameter, flag.edge) == ("optimizer.adam.beta1", "high")
    assert flag.trials == sum(t.params["optimizer"] == "adam" for t in study.trials)
    assert flag.proposed == OneMinusLogUniform(1e-3, 0.5)


def test_discrete_hyperparameters_have_edges_too(make_study, halton):
    deep = make_study(DISCRETE, halton(40, 4, 1), lambda p: -p["depth"])
    assert [(f.hyperparameter, f.edge, f.proposed) for f in boundary_flags(deep, "valid_error")] == [
        ("depth", "high", Integer(1, 7))]
    batch = make_study(DISCRETE, halton(40, 4, 1), lambda p: p["batch"])
    assert [(f.hyperparameter, f.edge, f.proposed) for f in boundary_flags(batch, "valid_error")] == [
        ("batch", "low", Choice([16, 32, 64, 128]))]


def test_equal_trials_of_a_grid_are_not_ranked_by_their_place_in_it(make_study):
    grid = np.linspace(0.01, 0.99, 24)[:, None]
    space = Space(learning_rate=LogUniform(1e-4, 1e-1))
    assert boundary_flags(make_study(space, grid, lambda p: 0.25), "valid_error") == []
    # Two thirds of the trials share the lowest error, in the middle of the axis.
    plateau = make_study(space, grid, lambda p: 0.1 if 1e-3 < p["learning_rate"] < 6e-2 else 0.5)
    assert boundary_flags(plateau, "valid_error") == []


# --- stability limits ---------------------------------------------------------------------------------------------


def _unit(params):
    return SPACE.domains["learning_rate"].to_unit(params["learning_rate"])


@pytest.mark.parametrize("limit", [0.5, 0.75, 0.9])
def test_best_trials_below_a_divergence_threshold_suggest_a_stability_limit(make_study, halton, limit):
    study = make_study(SPACE, halton(32, 4, 2), lambda p: None if _unit(p) > limit else 1 - _unit(p))
    (finding,) = boundary(study, "valid_error")
    assert (finding.topic, finding.verdict, finding.hyperparameter) == ("stability", "attention", "learning_rate")
    complete = [t.params["learning_rate"] for t in study.trials if t.feasible]
    assert finding.numbers["threshold"] == max(complete)
    assert finding.numbers["beyond"] == 32 - len(complete)
    assert "warmup" in finding.action
    assert "proposed" not in finding.numbers  # no expansion into the region that diverges


def test_no_stability_limit_where_the_best_lie_well_below_the_threshold(make_study, halton):
    study = make_study(SPACE, halton(32, 4, 2), lambda p: None if _unit(p) > 0.7 else abs(_unit(p) - 0.3))
    assert boundary_flags(study, "valid_error") == []


def test_no_stability_limit_where_a_trial_beyond_the_threshold_trained(make_study, halton):
    top = max(_unit(SPACE.from_unit(point)) for point in halton(32, 4, 2))
    study = make_study(SPACE, halton(32, 4, 2),
                       lambda p: None if 0.6 < _unit(p) < top - 1e-9 else 1 - min(_unit(p), 0.6))
    assert not any(flag.stability for flag in boundary_flags(study, "valid_error"))


def test_trials_infeasible_at_random_rarely_suggest_a_stability_limit(make_study, halton):
    rng = np.random.default_rng(2)
    flagged = []
    for seed in range(150):
        study = make_study(SPACE, halton(32, 4, seed), lambda p: None if rng.random() < 0.4 else 1 - _unit(p))
        flagged.append(any(flag.stability for flag in boundary_flags(study, "valid_error")))
    rate, slack = _rate(flagged)
    assert rate <= LEVEL + slack


def test_rank_probability_agrees_with_all_permutations():
    # Oracle: every way to draw 3 of 8 places; how many have a rank sum at least as large.
    places = [0.05, 0.2, 0.31, 0.4, 0.55, 0.62, 0.8, 0.93]
    drawn = [0.4, 0.8, 0.93]
    ranks = {place: i for i, place in enumerate(sorted(places))}
    sums = [sum(ranks[p] for p in subset) for subset in itertools.combinations(places, 3)]
    exact = np.mean([s >= sum(ranks[p] for p in drawn) for s in sums])
    assert shift_probability(drawn, [p for p in places if p not in drawn]) == pytest.approx(exact, rel=1e-12)

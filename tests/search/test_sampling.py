"""Random search, grids, and the way from points to hyperparameters."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from refplay.errors import InputError
from refplay.search import (
    SEARCHES,
    Choice,
    Integer,
    LogUniform,
    OneMinusLogUniform,
    Space,
    Uniform,
    grid,
    halton,
    random_search,
    suggest,
)

CONDITIONAL = Space(
    optimizer=Choice(["momentum", "adam"], when={
        "momentum": Space(learning_rate=LogUniform(1e-3, 1e0), momentum=OneMinusLogUniform(1e-3, 1e0)),
        "adam": Space(learning_rate=LogUniform(1e-5, 1e-2)),
    }),
    width=Integer(16, 256, log=True),
)


def test_golden_random_points():
    assert [[x.hex() for x in row] for row in random_search(2, 3, seed=7).tolist()] == [
        ["0x1.5262742d93960p-5", "0x1.d6b9ca6feee3ap-1", "0x1.298d779da7738p-2"],
        ["0x1.22037c7313d5ep-2", "0x1.5f06b24286ef2p-2", "0x1.c9fece38265b9p-1"]]


def test_random_points_are_uniform():
    points = random_search(20_000, 3, seed=1)
    assert points.min() >= 0
    assert points.max() < 1
    for column in points.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3
    assert np.abs(np.corrcoef(points.T) - np.eye(3)).max() < 4 / np.sqrt(len(points))  # four standard errors


@given(n=st.integers(1, 40), more=st.integers(0, 40), seed=st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_more_trials_extend_the_same_search(n, more, seed):
    for search in ["halton", "random"]:
        assert suggest(CONDITIONAL, n + more, search, seed)[:n] == suggest(CONDITIONAL, n, search, seed)


def test_suggest_maps_halton_points_through_the_space():
    space = Space(rate=LogUniform(1e-4, 1e-1), dropout=Uniform(0.1, 0.6))
    points = halton(6, 2, seed=9)
    for trial, (u, v) in zip(suggest(space, 6, "halton", seed=9), points, strict=True):
        assert trial["rate"] == pytest.approx(10 ** (-4 + 3 * u), rel=1e-14)
        assert trial["dropout"] == pytest.approx(0.1 + 0.5 * v, rel=1e-14)


def test_inactive_hyperparameters_are_absent():
    trials = suggest(CONDITIONAL, 40, "halton", seed=2)
    for trial in trials:
        names = {"optimizer", "width", f"optimizer.{trial['optimizer']}.learning_rate"}
        assert set(trial) == names | ({"optimizer.momentum.momentum"} if trial["optimizer"] == "momentum" else set())
    assert {trial["optimizer"] for trial in trials} == {"momentum", "adam"}


def test_values_are_plain_python_numbers():
    for search in ["halton", "random"]:
        for trial in suggest(CONDITIONAL, 5, search, seed=0):
            assert {type(value) for value in trial.values()} <= {str, int, float}


def test_an_empty_space_gives_empty_trials():
    assert suggest(Space(), 3, "halton", 0) == [{}, {}, {}]
    assert suggest(Space(), 3, "random", 0) == [{}, {}, {}]
    assert suggest(Space(), 3, "grid", 0) == [{}]


def test_grid_takes_the_middle_of_each_cell_on_the_scale_of_the_axis():
    values = [trial["rate"] for trial in grid(Space(rate=LogUniform(1e-4, 1e0)), 4)]
    assert values == pytest.approx([10**-3.5, 10**-2.5, 10**-1.5, 10**-0.5])
    values = [trial["dropout"] for trial in grid(Space(dropout=Uniform(0.1, 0.5)), 2)]
    assert values == pytest.approx([0.2, 0.4])


@pytest.mark.parametrize(("n", "shape"), [(1, (1, 1)), (2, (1, 2)), (3, (1, 3)), (4, (2, 2)), (7, (2, 3)), (10, (3, 3)),
                                          (16, (4, 4)), (24, (4, 6)), (30, (5, 6)), (97, (9, 10))])
def test_grid_shape_for_any_number_of_trials(n, shape):
    trials = grid(Space(a=Uniform(0, 1), b=LogUniform(1, 10)), n)
    assert len(trials) == shape[0] * shape[1] <= n
    assert (len({t["a"] for t in trials}), len({t["b"] for t in trials})) == shape


def test_grid_enumerates_choices_and_few_integers():
    trials = grid(Space(norm=Choice(["batch", "layer", "none"]), layers=Integer(2, 5)), 100)
    assert len(trials) == 12
    assert {(t["norm"], t["layers"]) for t in trials} == set(product(["batch", "layer", "none"], range(2, 6)))
    assert [t["layers"] for t in grid(Space(layers=Integer(1, 5, log=True)), 9)] == [1, 2, 3, 4, 5]


def test_grid_spends_what_a_short_axis_leaves():
    trials = grid(Space(flip=Choice([True, False]), rate=LogUniform(1e-3, 1)), 24)
    assert len(trials) == 24
    assert len({t["rate"] for t in trials}) == 12


@given(n=st.integers(1, 60), low=st.integers(1, 30), span=st.integers(1, 2000), log=st.booleans())
@settings(deadline=None)
def test_grid_over_integers_repeats_no_value(n, low, span, log):
    values = [trial["width"] for trial in grid(Space(width=Integer(low, low + span, log=log)), n)]
    assert sorted(set(values)) == values
    assert len(values) <= n
    if not log:
        assert len(values) == min(n, span + 1)


def test_grid_counts_an_inactive_hyperparameter_once():
    space = Space(optimizer=Choice(["sgd", "adam"], when={"adam": Space(beta1=OneMinusLogUniform(1e-2, 1e0))}))
    assert [set(trial) for trial in grid(space, 6)] == [{"optimizer"}] + [{"optimizer", "optimizer.adam.beta1"}] * 3


def test_grid_is_refused_in_more_than_two_dimensions():
    space = Space(a=Uniform(0, 1), b=Uniform(0, 1), c=Uniform(0, 1))
    with pytest.raises(InputError, match=r"3 hyperparameters \(a, b, c\).*few values of each.*halton"):
        suggest(space, 27, "grid", 0)


def test_grid_with_fewer_trials_than_options():
    with pytest.raises(InputError, match="needs 6 trials or more, got 5"):
        grid(Space(a=Choice([1, 2, 3]), b=Choice(["x", "y"])), 5)


@pytest.mark.parametrize(("n", "search", "message"), [
    (5, "haltn", "unknown search 'haltn'; there are halton, random, grid"),
    (0, "halton", "0 trials"),
    (-2, "grid", "-2 trials"),
])
def test_bad_requests(n, search, message):
    with pytest.raises(InputError, match=message):
        suggest(CONDITIONAL, n, search, 0)


def test_every_search_is_reproducible():
    space = Space(a=Uniform(0, 1), b=LogUniform(1, 10))
    for search in SEARCHES:
        assert suggest(space, 9, search, 3) == suggest(space, 9, search, 3)
    assert suggest(space, 9, "random", 3) != suggest(space, 9, "random", 4)
    assert suggest(space, 9, "halton", 3) != suggest(space, 9, "halton", 4)

"""Axis plots show exactly the trials of the study, on the scale of the domain, within the limits of the search."""

import dataclasses
import math

import numpy as np
import pytest
from matplotlib.colors import to_hex

from refplay.errors import InputError
from refplay.plot import axis_plot, axis_plots, png
from refplay.plot.catalogue import study_pictures
from refplay.plot.scales import JITTER
from refplay.plot.style import BLUE, GREEN, RED
from refplay.search.space import Choice, Integer, LogUniform, OneMinusLogUniform, Space, Uniform
from refplay.study.record import Curve, State, Study, TrialRecord


def points(figure, gid):
    """Return the offsets of the scatter with this gid, float64[n, 2]; empty where it is not drawn."""
    found = [c for c in figure.axes[0].collections if c.get_gid() == gid]
    return np.asarray(found[0].get_offsets()) if found else np.empty((0, 2))


def scatter(figure, gid):
    return next(c for c in figure.axes[0].collections if c.get_gid() == gid)


def trial(number, value, error=0.1, state=State.COMPLETE, name="x"):
    curves = {} if error is None else {"valid_error": Curve(np.array([1, 2]), np.array([0.95, error]))}
    return TrialRecord("s", number, {name: value}, state, 0, curves)


def one_dimension(domain, trials):
    return Study("s", {}, Space(x=domain), tuple(trials))


def shape(collection):
    """Return the marker's outline as text: different markers differ in it."""
    return repr(collection.get_paths()[0].vertices.round(3).tolist())


def test_every_varying_hyperparameter_has_a_plot_also_conditional_ones(study):
    plots = axis_plots(study)
    assert list(plots) == ["learning_rate", "beta1", "width", "dropout", "activation", "norm", "norm.batch.epsilon"]
    for name, figure in plots.items():
        active = [t for t in study.trials if name in t.params and t.state in (State.COMPLETE, State.INFEASIBLE)]
        assert sum(len(points(figure, gid)) for gid in ("complete", "top", "infeasible")) == len(active), name
    assert 0 < len(points(plots["norm.batch.epsilon"], "complete")) < len(study.trials)
    assert "norm=batch" in plots["norm.batch.epsilon"].axes[0].get_title(loc="left")


def test_points_are_the_trials_values_and_best_errors_in_per_cent(study_factory):
    study = study_factory("wide", Space(learning_rate=LogUniform(1e-3, 1e0)), trials=40)
    figure = axis_plot(study, "learning_rate")
    ranked = study.ranked("valid_error")
    expected = {(t.params["learning_rate"], 100 * min(t.curves["valid_error"].values)) for t in ranked}
    drawn = np.vstack([points(figure, "complete"), points(figure, "top")])
    np.testing.assert_allclose(sorted(map(tuple, drawn)), sorted(expected), rtol=1e-12)
    np.testing.assert_allclose(sorted(points(figure, "top")[:, 0]),
                               sorted(t.params["learning_rate"] for t in ranked[:3]), rtol=1e-12)
    diverged = [t.params["learning_rate"] for t in study.trials if t.state is State.INFEASIBLE]
    assert len(diverged) > 1
    np.testing.assert_allclose(points(figure, "infeasible")[:, 0], diverged, rtol=1e-12)
    assert figure.axes[0].get_ylabel() == "validation error (%)"
    assert "learning_rate" in figure.axes[0].get_xlabel()


def test_classes_differ_by_colour_and_by_marker(study_factory):
    study = study_factory("wide", Space(learning_rate=LogUniform(1e-3, 1e0)), trials=40)
    figure = axis_plot(study, "learning_rate")
    marks = {gid: scatter(figure, gid) for gid in ("complete", "top", "infeasible")}
    colours = {gid: to_hex(c.get_facecolor()[0] if gid != "infeasible" else c.get_edgecolor()[0]).upper()
               for gid, c in marks.items()}
    assert colours == {"complete": BLUE, "top": GREEN, "infeasible": RED}
    assert len({shape(c) for c in marks.values()}) == 3


def test_infeasible_trials_form_a_labelled_row_above_all_values(study_factory):
    study = study_factory("wide", Space(learning_rate=LogUniform(1e-3, 1e0)), trials=40)
    figure = axis_plot(study, "learning_rate")
    png(figure)
    ax = figure.axes[0]
    row = ax.get_xaxis_transform().transform(points(figure, "infeasible"))[:, 1]
    values = ax.transData.transform(np.vstack([points(figure, "complete"), points(figure, "top")]))[:, 1]
    assert values.max() < row.min()
    assert row.max() <= ax.bbox.y1
    assert "infeasible" in [t.get_text() for t in ax.texts]


@pytest.mark.parametrize(("domain", "value", "scale", "low", "high"), [
    (LogUniform(1e-4, 1e-1), 3e-3, "log", 1e-4, 1e-1),
    (OneMinusLogUniform(1e-3, 1e0), 0.97, "function", 0.0, 0.999),
    (Uniform(-2.0, 3.0), 0.5, "linear", -2.0, 3.0),
    (Integer(16, 512, log=True), 64, "log", 16, 512),
    (Integer(1, 6), 3, "linear", 1, 6),
])
def test_the_scale_and_the_limits_are_those_of_the_domain(domain, value, scale, low, high):
    figure = axis_plot(one_dimension(domain, [trial(0, value)]), "x")
    ax = figure.axes[0]
    assert ax.get_xscale() == scale
    limits = sorted(float(line.get_xdata()[0]) for line in ax.lines if line.get_gid() == "limit")
    np.testing.assert_allclose(limits, [low, high], rtol=1e-12)
    left, right = ax.get_xlim()
    assert left < low < high < right


def test_one_minus_log_axis_shows_the_values_equally_spaced_by_decade():
    figure = axis_plot(one_dimension(OneMinusLogUniform(1e-3, 1e0), [trial(0, 0.97)]), "x")
    png(figure)
    ax = figure.axes[0]
    labels = {t.get_text(): t.get_position()[0] for t in ax.get_xticklabels()}
    assert {"0", "0.9", "0.99", "0.999"} <= set(labels)
    pixels = [ax.transData.transform((labels[text], 1.0))[0] for text in ("0", "0.9", "0.99", "0.999")]
    np.testing.assert_allclose(np.diff(pixels), np.diff(pixels)[0], rtol=1e-9)
    assert pixels[0] < pixels[-1]
    assert "1 − value" in ax.get_xlabel()


def test_a_cluster_at_the_edge_is_not_hidden_by_the_frame():
    study = one_dimension(LogUniform(1e-3, 1e0), [trial(i, 1e-3) for i in range(3)])
    ax = axis_plot(study, "x").axes[0]
    low, high = ax.transAxes.inverted().transform(ax.transData.transform([[1e-3, 10], [1.0, 10]]))[:, 0]
    assert low == pytest.approx(0.05 / 1.10, abs=1e-9)
    assert high == pytest.approx(1.05 / 1.10, abs=1e-9)


def test_choices_stand_at_their_category_with_jitter():
    options = ["relu", "tanh", 64, True]
    trials = [trial(i, options[i % 4], 0.1 + 0.01 * i) for i in range(16)]
    figure = axis_plot(one_dimension(Choice(options), trials), "x")
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["relu", "tanh", "64", "True"]
    for x, y in np.vstack([points(figure, "complete"), points(figure, "top")]):
        number = round((y / 100 - 0.1) / 0.01)
        assert abs(x - number % 4) <= JITTER
    assert len(set(points(figure, "complete")[:, 0].round(9))) == 13


def test_only_the_best_value_over_training_counts_and_nan_does_not():
    curve = Curve(np.arange(5), np.array([0.9, math.nan, 0.2, math.inf, 0.4]))
    study = one_dimension(Uniform(0, 1), [dataclasses.replace(trial(0, 0.5), curves={"valid_error": curve})])
    assert points(axis_plot(study, "x"), "top").tolist() == [[0.5, 20.0]]


def test_log_error_axis_where_errors_spread_over_more_than_a_factor_of_ten():
    narrow = one_dimension(Uniform(0, 1), [trial(i, 0.1 * i, 0.02 + 0.01 * i) for i in range(5)])
    wide = one_dimension(Uniform(0, 1), [trial(i, 0.1 * i, 0.02 * 3**i) for i in range(4)])
    zero = one_dimension(Uniform(0, 1), [trial(i, 0.1 * i, 0.3 * i) for i in range(4)])
    assert [axis_plot(s, "x").axes[0].get_yscale() for s in (narrow, wide, zero)] == ["linear", "log", "linear"]


@pytest.mark.parametrize("trials", [
    [],
    [trial(0, 0.5)],
    [trial(i, 0.1 * i, None, State.INFEASIBLE) for i in range(4)],
    [trial(0, 0.5, None)],
    [trial(0, 0.5, math.nan, State.FAILED), trial(1, 0.2, None, State.PENDING)],
    [trial(i, 0.5, 0.25) for i in range(3)],
    [trial(0, 0.5, 0.0)],
], ids=["none", "one", "all infeasible", "no curve", "failed and pending", "all equal", "zero error"])
def test_degenerate_studies_still_draw(trials):
    figure = axis_plot(one_dimension(Uniform(0, 1), trials), "x")
    assert png(figure).startswith(b"\x89PNG")
    infeasible = sum(t.state is State.INFEASIBLE for t in trials)
    assert len(points(figure, "infeasible")) == infeasible
    drawn = len(points(figure, "complete")) + len(points(figure, "top"))
    assert drawn == sum(t.feasible and t.best("valid_error") is not None for t in trials)
    if not drawn and not infeasible:
        assert any("no finished trial" in t.get_text() for t in figure.axes[0].texts)


def test_trials_outside_the_range_or_of_another_kind_are_handled():
    study = one_dimension(LogUniform(1e-3, 1e-1), [trial(0, 10.0), trial(1, "auto"), trial(2, -1.0), trial(3, 1e-2)])
    figure = axis_plot(study, "x")
    assert sorted([*points(figure, "top")[:, 0], *points(figure, "complete")[:, 0]]) == [1e-2, 10.0]
    assert figure.axes[0].get_xlim()[1] > 10.0
    assert "2 not shown" in figure.axes[0].get_title(loc="left")


def test_any_name_can_be_drawn(recwarn):
    hostile = "<script>$x_{$ & \n \N{PILE OF POO} \u6f22\u5b57 \u202e" + "long" * 60
    study = Study(hostile, {}, Space(_größe_漢字=Uniform(0, 1), x=Choice([hostile, "$", "_"])),
                  tuple(TrialRecord(hostile, i, {"_größe_漢字": 0.3, "x": v}, State.COMPLETE, 0,
                                    trial(0, 0).curves) for i, v in enumerate([hostile, "$", "_"])))
    for figure in axis_plots(study).values():
        assert png(figure).startswith(b"\x89PNG")
    assert [str(w.message) for w in recwarn] == []


def test_an_error_above_one_is_not_a_fraction():
    ax = axis_plot(one_dimension(Uniform(0, 1), [trial(0, 0.5, 7.0), trial(1, 0.2, 0.5)]), "x").axes[0]
    # The first value of each curve is 0.95, so the best values are 0.95 and 0.5: still fractions.
    assert ax.get_ylabel() == "validation error (%)"
    curve = {"valid_error": Curve(np.array([1]), np.array([7.0]))}
    squared = one_dimension(Uniform(0, 1), [dataclasses.replace(trial(0, 0.5), curves=curve)])
    figure = axis_plot(squared, "x")
    assert figure.axes[0].get_ylabel() == "validation error"
    assert points(figure, "top").tolist() == [[0.5, 7.0]]


def test_an_unknown_hyperparameter_is_named(study):
    with pytest.raises(InputError, match=r"does not vary 'rate'; it varies: learning_rate"):
        axis_plot(study, "rate")


def test_the_description_carries_the_numbers(study):
    figure = axis_plot(study, "learning_rate")
    best = study.ranked("valid_error")[0]
    assert f"{100 * best.best('valid_error').value:.4g}%" in figure.get_label()
    assert str(best.params["learning_rate"]) in figure.get_label()


@pytest.mark.parametrize("errors", [(0.05, 0.19), (0.2, 0.97), (0.01, 0.97), (0.004, 0.21), (0.3, 0.31)])
def test_no_tick_label_meets_the_label_of_the_infeasible_row(errors):
    trials = [trial(0, 0.5, errors[0]), trial(1, 0.2, errors[1]), trial(2, 0.9, None, State.INFEASIBLE)]
    figure = axis_plot(one_dimension(Uniform(0, 1), trials), "x")
    png(figure)
    ax = figure.axes[0]
    row = next(t for t in ax.texts if t.get_text() == "infeasible").get_window_extent()
    labels = [t.get_window_extent() for t in ax.get_yticklabels() if t.get_text()]
    inside = [box for box in labels if ax.bbox.y0 - 20 < box.y0 < ax.bbox.y1]
    assert len(inside) >= 2
    assert not any(box.overlaps(row) for box in labels)


def test_studies_of_a_round_share_the_scale_of_the_same_plot(study_factory):
    space = Space(learning_rate=LogUniform(1e-3, 0.3))
    study = study_factory("one", space, trials=6, seed=3)
    worse = {t.number: {name: Curve(c.steps, c.values + 0.3) for name, c in t.curves.items()} for t in study.trials}
    other = dataclasses.replace(study, name="two", trials=tuple(
        dataclasses.replace(t, curves=worse[t.number], state=State.INFEASIBLE if t.number == 5 else t.state)
        for t in study.trials))
    studies = (study, other)
    shared, alone = ({p.kind: p.figure for p in study_pictures(s, beside=studies)} for s in studies), \
        {p.kind: p.figure for p in study_pictures(study)}
    first, second = shared
    for kind in ("axis", "curves", "bootstrap", "gradient-norm"):
        for one, two, own in zip(first[kind].axes, second[kind].axes, alone[kind].axes, strict=True):
            assert one.get_ylim() == pytest.approx(two.get_ylim(), rel=1e-12), kind  # sums in another order
            assert one.get_yscale() == two.get_yscale()
            assert one.get_ylim() != own.get_ylim(), kind

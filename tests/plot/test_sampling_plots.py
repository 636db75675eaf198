"""Bootstrap boxes, best-step histogram and isolation plots hold the numbers of the analysis, and of the trials."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from refplay.plot import best_step_histogram, bootstrap_plot, isolation_plot, png, round_pictures, study_pictures
from refplay.plot.sampling import box_budgets
from refplay.search.space import Choice, LogUniform, Space, Uniform
from refplay.study.record import Curve, State, Study, TrialRecord


def with_error(number, best, at=1, state=State.COMPLETE, rerun=0, **params):
    steps = np.arange(1, 21)
    values = np.where(steps == at, best, best + 0.3)
    curves = {"valid_error": Curve(steps, values)}
    return TrialRecord("s", number, params or {"x": number / 50}, state, 0, curves, rerun=rerun)


def study_of(trials, space=None, reruns=()):
    return Study("s", {}, space or Space(x=Uniform(0, 1)), tuple(trials), tuple(reruns))


def by_gid(ax, gid):
    return [a for a in ax.get_children() if a.get_gid() == gid]


def test_boxes_are_the_exact_quartiles_of_the_best_of_n():
    # With errors 1%, 2%, ..., 100% the best of n draws has P(best > k%) = (1 - k/100)^n: its median solves
    # (1 - k/100)^n = 1/2. With 1000 resamples the quantile's standard error is sqrt(0.25 / 1000) / density.
    study = study_of([with_error(i, (i + 1) / 100) for i in range(100)])
    ax = bootstrap_plot(study).axes[0]
    labels = [int(t.get_text()) for t in ax.get_xticklabels()]
    assert labels == box_budgets(100)
    boxes = by_gid(ax, "box")
    medians = [line.get_ydata()[0] for line in ax.lines if line.get_color() == "#222222"]
    assert len(boxes) == len(medians) == len(labels)
    for n, median in zip(labels, medians, strict=True):
        exact = 100 * (1 - 0.5 ** (1 / n))
        density = n * (1 - exact / 100) ** (n - 1)  # per unit of fraction
        error = 100 * np.sqrt(0.25 / 1000) / density
        assert abs(median - exact) <= 5 * error + 1  # + 1: errors are whole per cents


def test_the_band_is_mean_and_standard_deviation_of_the_reruns():
    reruns = [with_error(0, v, rerun=i + 1) for i, v in enumerate((0.02, 0.03, 0.04))]
    study = study_of([with_error(i, 0.02 + 0.02 * i) for i in range(6)], reruns=reruns)
    figure = bootstrap_plot(study)
    (band,) = by_gid(figure.axes[0], "band")
    low, high = band.get_y(), band.get_y() + band.get_height()
    np.testing.assert_allclose([low, high], [2.0, 4.0], rtol=1e-12)  # 3% +- 1%: statistics.stdev([2, 3, 4]) = 1
    assert "3 ± 1%" in figure.legends[0].get_texts()[-1].get_text()


def test_there_is_no_band_without_reruns():
    assert not by_gid(bootstrap_plot(study_of([with_error(i, 0.1 + 0.1 * i) for i in range(4)])).axes[0], "band")


def test_best_steps_are_counted_and_both_marks_drawn():
    at = [1, 2, 2, 10, 16, 20, 20]
    ax = best_step_histogram(study_of([with_error(i, 0.1, step) for i, step in enumerate(at)])).axes[0]
    counts = {round(bar.get_x() / 5): round(bar.get_height()) for bar in ax.patches if bar.get_height()}
    # 20 bins of 5% over 20 steps: step s ends bin s - 1, and its fraction s/20 opens bin s; the last one is closed.
    assert counts == {1: 1, 2: 2, 10: 1, 16: 1, 19: 2}
    assert sorted(line.get_xdata()[0] for line in by_gid(ax, "mark")) == [10, 75]
    assert "%" in ax.get_xlabel()


@pytest.mark.parametrize("trials", [
    [], [with_error(0, 0.1)], [with_error(i, 0.1, state=State.INFEASIBLE) for i in range(5)],
    [with_error(0, 0.1), *[with_error(i, 0.1, state=State.INFEASIBLE) for i in range(1, 9)]],
    [with_error(0, np.nan)], [with_error(i, 0.0) for i in range(3)],
], ids=["none", "one", "all infeasible", "mostly infeasible", "nan", "zeros"])
def test_degenerate_studies_still_draw(trials, recwarn):
    study = study_of(trials)
    for figure in (bootstrap_plot(study), best_step_histogram(study), isolation_plot(study, "x"),
                   isolation_plot(study, "unknown"), *(p.figure for p in study_pictures(study))):
        assert png(figure).startswith(b"\x89PNG")
    assert [str(w.message) for w in recwarn] == []


def test_isolation_compares_the_best_of_each_study(round_):
    figure = isolation_plot(round_, "optimizer")
    ax = figure.axes[0]
    winners = {s.scientific["optimizer"]: s.ranked("valid_error")[0] for s in round_.studies}
    best = {name: 100 * trial.best("valid_error").value for name, trial in winners.items()}
    assert [t.get_text() for t in ax.get_xticklabels()] == ["nesterov", "adam"]
    (marks,), (star,), (others,), (reruns,) = (by_gid(ax, gid) for gid in ("best", "winner", "others", "reruns"))
    np.testing.assert_allclose(marks.get_offsets(), [[0, best["nesterov"]], [1, best["adam"]]], rtol=1e-12)
    assert star.get_offsets()[0][1] == pytest.approx(min(best.values()), rel=1e-12)
    complete = sum(t.feasible for s in round_.studies for t in s.trials)
    assert len(others.get_offsets()) == complete - 2
    assert len(reruns.get_offsets()) == 10
    assert not by_gid(ax, "line")  # optimizers have no order


def test_isolation_of_a_continuous_hyperparameter_takes_the_best_of_each_slice():
    space = Space(x=LogUniform(1e-4, 1e0))
    trials = [with_error(i, 0.1 + 0.01 * i, x=x) for i, x in enumerate((2e-4, 2.5e-4, 5e-2, 6e-2, 0.9))]
    ax = isolation_plot(study_of(trials, space), "x").axes[0]
    (marks,) = by_gid(ax, "best")
    np.testing.assert_allclose(marks.get_offsets(), [[2e-4, 10], [5e-2, 12], [0.9, 14]], rtol=1e-12)
    assert ax.get_xscale() == "log"
    assert by_gid(ax, "line")


def test_a_value_at_which_all_trials_are_infeasible_is_a_red_cross():
    space = Space(x=Choice(["a", "b"]))
    trials = [with_error(0, 0.1, x="a"), with_error(1, 0.1, state=State.INFEASIBLE, x="b")]
    ax = isolation_plot(study_of(trials, space), "x").axes[0]
    (cross,) = by_gid(ax, "infeasible")
    assert cross.get_offsets()[0][0] == 1


def test_numbers_without_a_domain_are_put_in_order(round_):
    studies = tuple(Study(f"w{w}", {"width": w}, Space(x=Uniform(0, 1)),
                          (with_error(0, 0.5 - w / 1000, x=0.5, width=w),)) for w in (256, 64, 128))
    figure = isolation_plot(dataclasses.replace(round_, studies=studies), "width")
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["64", "128", "256"]
    (marks,) = by_gid(figure.axes[0], "best")
    np.testing.assert_allclose(sorted(marks.get_offsets().tolist()), [[0, 43.6], [1, 37.2], [2, 24.4]], rtol=1e-12)


def test_a_round_has_all_its_plots_without_being_asked(round_):
    kinds = [(p.kind, p.study.rpartition("=")[2], p.hyperparameter) for p in round_pictures(round_)]
    assert kinds[0] == ("isolation", "nesterov-or-adam", "optimizer")
    for study in round_.studies:
        short = study.scientific["optimizer"]
        assert [h for kind, s, h in kinds if (kind, s) == ("axis", short)] == [d.name for d in study.space.dimensions]
        rest = [kind for kind, s, _ in kinds if s == short and kind != "axis"]
        assert rest == ["curves", "best-steps", "bootstrap", "gradient-norm", "gradient-histogram"]


def test_plots_drawn_in_threads_are_the_same_pictures(round_):
    def draw(_):
        return [png(picture.figure) for picture in study_pictures(round_.studies[0])]

    alone = draw(0)
    with ThreadPoolExecutor(4) as pool:
        assert all(pictures == alone for pictures in pool.map(draw, range(4)))


def test_every_figure_has_title_labels_and_description(round_):
    for picture in round_pictures(round_):
        figure = picture.figure
        assert figure.get_suptitle()
        assert len(figure.get_label()) > 20
        assert figure.axes[-1].get_xlabel()
        assert all(ax.get_ylabel() for ax in figure.axes)

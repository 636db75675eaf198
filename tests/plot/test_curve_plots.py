"""Training curves and gradient norms: the data of the trials, fast and small when there are many."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_hex

from refplay.plot import gradient_norm_histogram, gradient_norm_plot, png, training_curves
from refplay.plot.curves import decimate
from refplay.plot.style import BEST_COLOURS
from refplay.search.space import LogUniform, Space, Uniform
from refplay.study.record import Curve, State, Study, TrialRecord

RATE = Space(learning_rate=LogUniform(1e-3, 1e0))


def collection(ax, gid):
    return next(c for c in ax.collections if c.get_gid() == gid)


def lines(ax, gid):
    return [line for line in ax.lines if line.get_gid() == gid]


def constant(number, state=State.COMPLETE, values=(0.5, 0.25), **curves):
    given = {name: Curve(np.arange(1, 1 + len(v)), np.asarray(v, float)) for name, v in curves.items()}
    curve = Curve(np.arange(1, 1 + len(values)), np.asarray(values, float))
    return TrialRecord("s", number, {"x": 0.1 * number}, state, 0, {"valid_error": curve, **given})


def test_all_trials_are_drawn_and_the_best_three_named(study_factory):
    study = study_factory("wide", RATE, trials=40)
    figure = training_curves(study)
    top, bottom = figure.axes
    ranked = study.ranked("valid_error")
    broken = [t for t in study.trials if t.state is State.INFEASIBLE]
    assert len(broken) > 1
    for ax, name in ((top, "valid_error"), (bottom, "train_error")):
        assert len(collection(ax, "others").get_segments()) == len(ranked) - 3
        assert len(collection(ax, "infeasible").get_segments()) == len(broken)
        for line, trial, colour in zip(lines(ax, "best")[::-1], ranked[:3], BEST_COLOURS, strict=True):
            np.testing.assert_allclose(line.get_ydata(), 100 * trial.curves[name].values, rtol=1e-12)
            np.testing.assert_array_equal(line.get_xdata(), trial.curves[name].steps)
            assert to_hex(line.get_color()).upper() == colour
    texts = [t.get_text() for t in figure.legends[0].get_texts()]
    for text, trial in zip(texts, ranked[:3], strict=False):
        assert text.startswith(f"#{trial.number} ")
        assert f"learning_rate {trial.params['learning_rate']:.3g}" in text
    assert (top.get_ylabel(), bottom.get_ylabel()) == ("validation error (%)", "training error (%)")
    assert bottom.get_xlabel() == "step"
    assert top.get_yscale() == "log"


def test_a_diverging_trial_does_not_stretch_the_axis():
    study = Study("s", {}, Space(x=Uniform(0, 1)), (constant(0), constant(1, values=(0.6, 0.3)),
                  constant(2, State.INFEASIBLE, (0.9, 1e30, np.nan, np.inf))))
    ax = training_curves(study).axes[0]
    assert ax.get_ylim()[1] < 70


def test_a_spike_of_another_trial_does_not_stretch_the_axis_but_one_of_the_best_does():
    calm = [constant(i, values=(0.6 + 0.01 * i, 0.3), train_loss=[2.0 + 0.1 * i, 1.0]) for i in range(5)]
    wild = constant(5, values=(0.9, 0.9), train_loss=[1e13, 2.0])
    study = Study("s", {}, Space(x=Uniform(0, 1)), (*calm, wild))
    ax = training_curves(study).axes[1]
    assert 2.4 < ax.get_ylim()[1] < 10
    assert ax.get_ylim()[0] < 1
    best = constant(6, values=(0.9, 0.1), train_loss=[1e13, 2.0])
    assert training_curves(Study("s", {}, study.space, (*calm, best))).axes[1].get_ylim()[1] > 1e13


def test_the_training_loss_stands_in_where_no_training_error_was_reported():
    study = Study("s", {}, Space(x=Uniform(0, 1)), (constant(0, train_loss=[2.0, 1.0, 0.5]),))
    figure = training_curves(study)
    assert [ax.get_ylabel() for ax in figure.axes] == ["validation error (%)", "training loss"]
    assert lines(figure.axes[1], "best")[0].get_ydata().tolist() == [2.0, 1.0, 0.5]


@pytest.mark.parametrize("trials", [
    [], [constant(0)], [constant(0, values=(0.3,))], [constant(i, State.INFEASIBLE, (0.9, np.nan)) for i in range(3)],
    [constant(0, values=(np.nan, np.nan))], [constant(0, values=())], [constant(0, State.FAILED)],
    [constant(0, values=(0.0, 0.0))],
], ids=["none", "one", "one point", "all infeasible", "all nan", "empty curve", "failed", "zeros"])
@pytest.mark.parametrize("plot", [training_curves, gradient_norm_plot, gradient_norm_histogram])
def test_degenerate_curves_still_draw(plot, trials, recwarn):
    assert png(plot(Study("s", {}, Space(x=Uniform(0, 1)), tuple(trials)))).startswith(b"\x89PNG")
    assert [str(w.message) for w in recwarn] == []


@given(st.lists(st.floats(-1e6, 1e6) | st.sampled_from([np.nan, np.inf, -np.inf]), max_size=200), st.integers(1, 20))
def test_decimation_keeps_minimum_and_maximum_of_every_bucket(values, buckets):
    curve = Curve(np.arange(len(values)) * 3 + 1, np.array(values, dtype=float))
    kept = decimate(curve, buckets)
    assert len(kept.values) <= 2 * buckets or len(kept.values) == len(values) <= 2 * buckets
    assert np.all(np.diff(kept.steps) > 0)
    positions = (kept.steps - 1) // 3
    np.testing.assert_array_equal(kept.values, curve.values[positions])
    finite = curve.values[np.isfinite(curve.values)]
    if finite.size:
        inside = kept.values[np.isfinite(kept.values)]
        assert (inside.min(), inside.max()) == (finite.min(), finite.max())


def test_gradient_norms_are_those_of_the_best_trials(study_factory):
    study = study_factory("wide", RATE, trials=40)
    ax = gradient_norm_plot(study).axes[0]
    for line, trial in zip(lines(ax, "best")[::-1], study.ranked("valid_error")[:3], strict=True):
        np.testing.assert_array_equal(line.get_ydata(), trial.curves["gradient_norm"].values)
    assert ax.get_yscale() == "log"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", "gradient norm")


def test_the_histogram_counts_every_step_and_marks_the_90th_percentile():
    # 1..100 with NaN and inf among them: NumPy's linear percentile of 1..100 at 90 is 90.1 by its definition.
    norms = [*range(1, 101), np.nan, np.inf]
    study = Study("s", {}, Space(x=Uniform(0, 1)), (constant(0, gradient_norm=norms), constant(1, gradient_norm=[7e5])))
    study = Study("s", {}, study.space, (study.trials[0], constant(1, values=(0.9, 0.8), gradient_norm=[7e5])))
    figure = gradient_norm_histogram(study)
    ax = figure.axes[0]
    assert sum(bar.get_height() for bar in ax.patches) == 100
    mark = next(line for line in ax.lines if line.get_gid() == "percentile")
    assert mark.get_xdata()[0] == pytest.approx(90.1, rel=1e-12)
    assert any("90.1" in t.get_text() for t in ax.texts)
    assert ax.get_xscale() == "log"
    assert "#0, 100 steps" in ax.get_title(loc="left").replace("\n", " ")


def test_a_thousand_trials_and_long_curves_stay_fast_and_small():
    rng = np.random.default_rng(5)
    steps = np.arange(1, 100_001)
    long = [Curve(steps, 1 / steps**0.5 + 0.01 * rng.random(steps.size)) for _ in range(4)]
    trials = tuple(TrialRecord("s", i, {"x": i / 1000}, State.COMPLETE, 0,
                               {"valid_error": Curve(steps[::1000], long[i % 4].values[::1000] * (1 + i / 1000)),
                                "train_loss": long[i % 4], "gradient_norm": long[i % 4]}) for i in range(1000))
    study = Study("s", {}, Space(x=Uniform(0, 1)), trials)
    start = time.perf_counter()
    sizes = [len(png(plot(study))) for plot in (training_curves, gradient_norm_plot, gradient_norm_histogram)]
    # Undecimated, the thousand curves are 1e8 points; 20 s leaves room for a busy machine, not for drawing those.
    assert time.perf_counter() - start < 20
    assert max(sizes) < 300_000

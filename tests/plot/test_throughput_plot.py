"""The plot of a measurement shows what was measured, where it was measured."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from refplay.analysis.throughput import Measured, Timing, failure
from refplay.plot.style import png
from refplay.plot.throughput import throughput_plot

SIZES = (1, 2, 4, 8, 16, 32, 64)


def timing(size: int, seconds: float) -> Timing:
    return Timing(size, seconds, 0.9 * seconds, 1.3 * seconds, (seconds,), 0.0, 20, 1000)


@pytest.fixture
def found() -> Measured:
    ours = (*(timing(b, 1e-4 + 5e-5 * b) for b in SIZES), failure(128, 10**9, "over the memory budget"))
    peer = tuple(timing(b, 4e-4 + 3e-5 * b) for b in SIZES)
    key = {"model": "mlp($x$, _y)", "optimizer": "adam", "data": "digits", "cpu": "A CPU", "threads": "2"}
    return Measured(key, 10**8, ours, {"torch": peer}, None, None, "batch size 128: over the memory budget", 0.0)


def lines(figure: Figure, gid: str, row: int) -> list:
    return [line for line in figure.axes[row].get_lines() if line.get_gid() == gid]


def test_curves_are_the_measurements(found: Measured) -> None:
    figure = throughput_plot(found)
    peer, ours = lines(figure, "measured", 0)  # refplay's is drawn last, on top
    np.testing.assert_allclose(ours.get_ydata(), [b / (1e-4 + 5e-5 * b) for b in SIZES])
    np.testing.assert_allclose(peer.get_ydata(), [b / (4e-4 + 3e-5 * b) for b in SIZES])
    _, seconds = lines(figure, "measured", 1)
    np.testing.assert_allclose(seconds.get_ydata(), [1e-4 + 5e-5 * b for b in SIZES])
    np.testing.assert_array_equal(seconds.get_xdata(), SIZES)
    assert all(ax.get_xscale() == ax.get_yscale() == "log" for ax in figure.axes)


def test_saturation_and_failure_are_marked(found: Measured) -> None:
    figure = throughput_plot(found)
    for row in (0, 1):
        (mark,) = lines(figure, "saturation", row)
        # 5e-5 (2 + B): 16 / 18 is 1.11 times 8 / 10; 32 / 34 is 1.06 and 64 / 66 is 1.09 times 16 / 18
        assert list(mark.get_xdata()) == [16, 16]
        (cross,) = lines(figure, "failed", row)
        assert list(cross.get_xdata()) == [128]
    assert any("16: largest worth considering" in text.get_text() for text in figure.axes[0].texts)


def test_names_of_curves_are_in_the_legend_and_differ_by_marker(found: Measured) -> None:
    figure = throughput_plot(found)
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["refplay", "torch", "perfect doubling", "over the memory budget"]
    markers = {line.get_marker() for line in lines(figure, "measured", 0)}
    assert len(markers) == 2


def test_the_band_is_the_middle_half_of_the_steps(found: Measured) -> None:
    figure = throughput_plot(found)
    band = [each for each in figure.axes[1].collections if each.get_gid() == "spread"][-1]
    edges = band.get_paths()[0].vertices[:, 1]
    assert edges.min() == pytest.approx(0.9 * 1.5e-4)
    assert edges.max() == pytest.approx(1.3 * (1e-4 + 5e-5 * 64))


def test_the_description_says_the_best(found: Measured) -> None:
    assert "at most 19,394 examples per second, at 64" in throughput_plot(found).get_label()  # 64 / 3.3e-3


@pytest.mark.parametrize("ours", [(timing(64, 1e-3),), (failure(64, 1, "out of memory"),),
                                  (timing(7, 30.0), timing(14, 70.0))], ids=["one size", "none", "slow"])
def test_it_draws_whatever_was_measured(found: Measured, ours: tuple[Timing, ...]) -> None:
    many = {f"peer {i}": ours for i in range(4)}
    for peers in ({}, many):
        assert png(throughput_plot(found._replace(ours=ours, peers=peers))).startswith(b"\x89PNG")

"""How noisy is a curve? Evaluations scatter around a trend, and only a change beyond the scatter means something."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from refplay.study.record import Curve

LARGEST = 1e150  # beyond it a curve has diverged, and squares of its values overflow
SMALLEST = 8  # evaluations below which nothing is said about the shape of a curve


class Noise(NamedTuple):
    """The standard deviation of one evaluation around the trend, and the degrees of freedom it was estimated with."""

    sd: float
    degrees: float


def finite(curve: Curve | None) -> Curve:
    """Return the part of a curve whose values are finite and not astronomical; an empty curve for None."""
    if curve is None:
        return Curve(np.empty(0, dtype=np.int64), np.empty(0))
    keep = np.abs(curve.values) <= LARGEST  # false for nan
    return Curve(np.asarray(curve.steps)[keep], np.asarray(curve.values, dtype=np.float64)[keep])


def noise(values: np.ndarray) -> Noise:
    """Estimate the noise of a curve from its second differences, which a locally straight trend leaves at zero.

    For independent noise of variance s^2, E (y[i-1] - 2 y[i] + y[i+1])^2 = 6 s^2; the estimate from n such differences
    has about 18 n / 35 degrees of freedom, since neighbours overlap (Gasser, Sroka & Jennen-Steinmetz 1986, "Residual
    variance and residual pattern in nonlinear regression"). The first quarter, where curves bend, is left out. An error
    rate counts examples, so its noise is taken to be at least one count: the smallest step between values that occur.

    >>> noise(np.array([0.5, 0.3, 0.2, 0.15, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.11]))
    Noise(sd=0.01, degrees=3.6)
    """
    tail = values[len(values) // 4:]
    second = np.diff(tail, 2)
    if not len(second):
        return Noise(float("inf"), 1.0)
    sd = float(np.sqrt(np.mean(second**2) / 6))
    gaps = np.diff(np.unique(values))
    # Equal rates that differ by rounding are one value: rounding is some 1e-16 of them, a count at least 1e-9.
    gaps = gaps[gaps > 1e-9 * np.abs(values).max()]
    resolution = float(round(gaps.min(), 12)) if len(gaps) else 0.0
    return Noise(max(sd, resolution), max(1.0, round(len(second) * 18 / 35, 1)))


def steady_noise(values: np.ndarray) -> Noise:
    """Estimate the noise of a curve as `noise` does, by the median of second differences: spikes do not count.

    The median of |x| is 0.6745 standard deviations for normal x; about 37% of the degrees of freedom remain.

    >>> round(steady_noise(np.array([3, 2, 1, 0, 0.2, 0, 0.2, 0, 99, 0, 0.2, 0, 0.2, 0, 0.2])).sd, 2)
    0.24
    """
    second = np.abs(np.diff(values[len(values) // 4:], 2))
    if not len(second):
        return Noise(float("inf"), 1.0)
    sd = float(np.median(second) / (0.6745 * np.sqrt(6)))
    return Noise(sd, max(1.0, round(0.37 * len(second) * 18 / 35, 1)))


def threshold(noise: Noise, window: int, level: float) -> float:
    """Return the difference of the means of two windows of a curve that chance exceeds with probability `level`.

    t * sd * sqrt(2 / window), with Student's t quantile at the degrees of freedom of the noise.
    """
    from scipy.special import stdtrit  # lighter than scipy.stats

    return float(stdtrit(noise.degrees, 1 - level) * noise.sd * np.sqrt(2 / window))


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Return the moving average: element i is the mean of values[i : i + window].

    >>> smooth(np.array([1.0, 2.0, 3.0, 5.0]), 2)
    array([1.5, 2.5, 4. ])
    """
    return np.convolve(values, np.full(window, 1 / window), mode="valid")

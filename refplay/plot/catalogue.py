"""All plots of a study or a round, made without being asked.

Source: playbook, "Automate generically useful plots".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from refplay.plot.axis import axis_plot
from refplay.plot.curves import training_curves
from refplay.plot.gradients import CURVE, gradient_norm_histogram, gradient_norm_plot
from refplay.plot.isolation import isolation_plot
from refplay.plot.sampling import best_step_histogram, bootstrap_plot
from refplay.study.record import Round, Study


class Picture(NamedTuple):
    """A plot and what it is about."""

    kind: str  # "isolation", "axis", "curves", "best-steps", "bootstrap", "gradient-norm", "gradient-histogram"
    study: str  # name of the study, or of the plan where the plot is about all of it
    hyperparameter: str  # qualified name, "" where it is about none
    figure: Figure


def study_pictures(study: Study, metric: str = "valid_error", beside: Sequence[Study] = ()) -> Iterator[Picture]:
    """Yield every plot of a study: axis plots of all that varies, curves, best steps, bootstrap, gradient norms.

    Gradient norms are shown where trials reported a curve "gradient_norm". Figures are drawn one at a time, so that a
    study with many hyperparameters does not hold them all in memory. Plots of the metric and of gradient norms have the
    y axis that the same plots of the studies `beside` this one have.
    """
    for dimension in study.space.dimensions:
        yield Picture("axis", study.name, dimension.name, axis_plot(study, dimension, metric, beside))
    yield Picture("curves", study.name, "", training_curves(study, metric, beside))
    yield Picture("best-steps", study.name, "", best_step_histogram(study, metric))
    yield Picture("bootstrap", study.name, "", bootstrap_plot(study, metric, beside=beside))
    if any(CURVE in trial.curves for trial in study.ranked(metric)):
        yield Picture("gradient-norm", study.name, "", gradient_norm_plot(study, metric, beside))
        yield Picture("gradient-histogram", study.name, "", gradient_norm_histogram(study, metric))


def round_pictures(round: Round) -> Iterator[Picture]:
    """Yield every plot of a round: an isolation plot for each scientific hyperparameter, then those of its studies."""
    for name in round.plan.scientific:
        yield Picture("isolation", round.plan.name, name, isolation_plot(round, name))
    for study in round.studies:
        yield from study_pictures(study, round.plan.metric, round.studies)

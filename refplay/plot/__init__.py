"""Plots of studies and rounds as matplotlib figures: no display, no global state.

Importing this package imports matplotlib; `import refplay` does not.
"""

from refplay.plot.axis import axis_plot, axis_plots
from refplay.plot.catalogue import Picture, round_pictures, study_pictures
from refplay.plot.curves import training_curves
from refplay.plot.gradients import gradient_norm_histogram, gradient_norm_plot
from refplay.plot.isolation import isolation_plot
from refplay.plot.sampling import best_step_histogram, bootstrap_plot
from refplay.plot.style import png, save

__all__ = ["Picture", "axis_plot", "axis_plots", "best_step_histogram", "bootstrap_plot", "gradient_norm_histogram",
           "gradient_norm_plot", "isolation_plot", "png", "round_pictures", "save", "study_pictures", "training_curves"]

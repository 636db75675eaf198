"""Plots of studies and rounds as matplotlib figures: no display, no global state.

Importing this package is light; matplotlib is imported with the first plot that is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from refplay.plot.axis import axis_plot, axis_plots
    from refplay.plot.catalogue import Picture, round_pictures, study_pictures
    from refplay.plot.curves import training_curves
    from refplay.plot.gradients import gradient_norm_histogram, gradient_norm_plot
    from refplay.plot.isolation import isolation_plot
    from refplay.plot.sampling import best_step_histogram, bootstrap_plot
    from refplay.plot.style import png, save

__all__ = ["Picture", "axis_plot", "axis_plots", "best_step_histogram", "bootstrap_plot", "gradient_norm_histogram",
           "gradient_norm_plot", "isolation_plot", "png", "round_pictures", "save", "study_pictures", "training_curves"]

_HOMES = {"axis": ("axis_plot", "axis_plots"), "catalogue": ("Picture", "round_pictures", "study_pictures"),
          "curves": ("training_curves",), "gradients": ("gradient_norm_histogram", "gradient_norm_plot"),
          "isolation": ("isolation_plot",), "sampling": ("best_step_histogram", "bootstrap_plot"),
          "style": ("png", "save")}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"refplay.plot.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

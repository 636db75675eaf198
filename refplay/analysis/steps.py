"""Was training long enough, or too long? The step of the best checkpoint over all trials.

Asked by the playbook's section "Deciding how long to train when training is *not* compute-bound": all trials train
equally long, and the steps at which their best checkpoints stood tell whether that length was right.
"""

from __future__ import annotations

import numpy as np

from refplay.study.record import Study


def best_steps(study: Study, metric: str) -> np.ndarray:
    """Return, for the complete trials from best to worst, when their best checkpoint stood: float64[n] in [0, 1].

    A fraction of the training: the step of the (first) lowest value of `metric` over the last step reported.
    """
    fractions = []
    for trial in study.ranked(metric):
        best, last = trial.best(metric), int(trial.curves[metric].steps[-1])
        if best is not None:
            fractions.append(best.step / last if last > 0 else 1.0)
    return np.array(fractions, dtype=np.float64)

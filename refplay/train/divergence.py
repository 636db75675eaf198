"""When a training has failed: the trial is infeasible, which is data and no error of the program."""

from __future__ import annotations

import math

FACTOR = 10.0  # how far above its start a loss is "uncharacteristically high"
PATIENCE = 10  # for how many steps in a row; shorter spikes may recover
BLOWN_UP = 2.0  # how far above its start a loss has been when the network may be dead afterwards


class Diverged(FloatingPointError):
    """A training that broke down, with the step and the reason."""

    def __init__(self, step: int, reason: str) -> None:
        super().__init__(step, reason)
        self.step, self.reason = step, reason

    def __str__(self) -> str:
        return f"step {self.step}: {self.reason}"


def check_divergence(losses: list[float], norm: float, classes: int) -> None:
    """Raise `Diverged` where the last step of a training shows that it has failed.

    It has, when its loss or gradient norm is not finite, or when each of the last ten losses is above ten times the
    larger of the first loss and log(classes), the loss of a uniform guess. Source: playbook, figure 7a: infeasible is
    what produces NaN or uncharacteristically high losses; the numbers are ours.

    Parameters
    ----------
    losses : list of float
        Of all training batches so far, without weight decay; the last belongs to step len(losses) - 1.
    norm : float
        Of the gradient of the last step, before clipping.
    classes : int
        Of the data.

    >>> check_divergence([2.3, 40.0], norm=1e3, classes=10)
    >>> check_divergence([2.3, float("nan")], norm=1.0, classes=10)
    Traceback (most recent call last):
    refplay.train.divergence.Diverged: step 1: the training loss is nan
    """
    step, loss = len(losses) - 1, losses[-1]
    if not math.isfinite(loss):
        raise Diverged(step, f"the training loss is {loss}")
    if not math.isfinite(norm):
        raise Diverged(step, f"the norm of the gradient is {norm}")
    limit = FACTOR * max(losses[0], math.log(classes))
    if loss > limit and len(losses) > PATIENCE and min(losses[-PATIENCE:]) > limit:
        high = f"was above {limit:.4g} for {PATIENCE} steps"
        raise Diverged(step, f"the training loss {high}; it began at {losses[0]:.4g}")


def check_recovery(losses: list[float], classes: int) -> None:
    """Raise `Diverged` where a training blew up for a few steps and was dead from then on.

    Too large a learning rate often throws a ReLU network, in less than ten steps, to where no unit is ever active: the
    loss shoots up and falls back to log(classes), the uniform guess, for good. No value is NaN and no loss stays high,
    but the training has diverged. It has, when its loss was once above twice the larger of the first loss and
    log(classes), and its mean over the last tenth of the steps is not even 1% below log(classes).

    Parameters
    ----------
    losses : list of float
        Of all training batches, at the end of the training.
    classes : int
        Of the data.

    >>> check_recovery([2.3, 1e4, 30.0] + [2.0] * 20, classes=10)
    >>> check_recovery([2.3, 1e4, 30.0] + [2.302] * 20, classes=10)
    Traceback (most recent call last):
    refplay.train.divergence.Diverged: step 1: the training loss rose to 1e+04 and ended at 2.302, a uniform guess
    """
    guess, highest = math.log(classes), max(losses)
    last = losses[-max(1, len(losses) // 10) :]
    end = sum(last) / len(last)
    if highest > BLOWN_UP * max(losses[0], guess) and end > 0.99 * guess:
        raise Diverged(losses.index(highest),
                       f"the training loss rose to {highest:.4g} and ended at {end:.4g}, a uniform guess")

"""The training loop: a fixed number of steps, evaluations at step intervals, checkpoints that resume bit for bit."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from refplay.data import Dataset
from refplay.errors import InputError
from refplay.nn import Network
from refplay.train.checkpoints import latest_checkpoint, make_folder, read_checkpoint, save_checkpoint
from refplay.train.divergence import Diverged, check_recovery
from refplay.train.evaluation import Evaluation, make_evaluation
from refplay.train.progress import Curve, Progress, begin, evaluated_theta, pack, unpack
from refplay.train.steps import make_steps
from refplay.train.training import Training, check_fingerprint, fingerprint


class Report(Protocol):
    """Takes what was measured after `step` updates."""

    def __call__(self, step: int, **metrics: float) -> object: ...


class Result(NamedTuple):
    """What a training left behind."""

    curves: dict[str, Curve]  # "train_loss" and "gradient_norm" of every step; "valid_loss", "valid_error"
    best_step: int  # where the validation error was lowest first
    best_error: float
    network: Network  # as it was evaluated last: with the Polyak average where there is one


def fit(
    network: Network,
    data: Dataset,
    training: Training,
    *,
    seed: int,
    report: Report | None = None,
    folder: Path | str | None = None,
    keep: int = 3,
) -> Result:
    """Train `network` on the training set of `data`, in place; the test set is never read.

    A step t = 0, 1, ... takes batch t and its gradient (of the loss, with L2 decay when chosen), logs loss and norm
    under step t, clips, decays, updates, averages. An evaluation after t updates is logged under step t. Two calls with
    the same arguments give the same bits, interrupted or not.

    Parameters
    ----------
    network : Network
        Freshly initialized, also when a checkpoint is there: its state then comes from the checkpoint.
    data : Dataset
    training : Training
    seed : int
        Of shuffling and dropout.
    report : callable or None
        Called as ``report(step, train_loss=..., gradient_norm=..., learning_rate=...)`` at every step and
        ``report(step, valid_loss=..., valid_error=...)`` at every evaluation; on a device, for all steps since the last
        evaluation together, just before the next (see `refplay.train.steps`). When a training resumes, all that was
        reported before the checkpoint is reported again, so that nobody has to keep it.
    folder : path or None
        Keeps checkpoints, one at each evaluation: the latest and the `keep` best. A training whose checkpoints lie
        there goes on from the latest one. None: no checkpoints.
    keep : int, 1 or more

    Returns
    -------
    Result

    Raises
    ------
    Diverged
        NaN, infinity or a loss far above its start; see `check_divergence` and `check_recovery`.
    InputError
        A model or a batch size that does not fit the data, a batch size that does not fit the ghost size; checkpoints
        of another training; a full disk.
    """
    _check(network, data, training, keep)
    folder = None if folder is None else Path(folder)
    mark = fingerprint(network, data, training, seed)
    progress = _resume(network, training, folder, mark) or begin(network, training)
    tell: Report = (lambda step, **metrics: None) if report is None else report
    rates = training.learning_rates()
    _replay(progress, rates, tell)
    steps = make_steps(network, data, training, seed)
    evaluated = network if progress.average is None else network.sharing(progress.average.theta)
    measure = make_evaluation(evaluated, data.valid, training.evaluation_batch or max(training.batch_size, 1024))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # a divergence is found by its loss or norm
        while progress.step < training.total_steps:
            evaluations = progress.step // training.evaluate_every
            until = min((evaluations + 1) * training.evaluate_every, training.total_steps)
            for step, loss, norm in steps(progress, until):
                tell(step, train_loss=loss, gradient_norm=norm, learning_rate=float(rates(step)))
            _evaluate(measure, progress, tell)
            if folder is not None:
                arrays = pack(network, progress) | {"fingerprint": np.array(mark)}
                save_checkpoint(folder, progress.step, progress.valid_error[-1], arrays, keep=keep)
    check_recovery(progress.train_loss, data.classes)
    best = int(np.argmin(progress.valid_error))
    return Result(progress.curves(), progress.valid_step[best], progress.valid_error[best], evaluated)


def load_weights(network: Network, path: Path | str) -> None:
    """Put the parameters and statistics that a checkpoint was evaluated with into `network`.

    With `best_checkpoint(folder).path` this is retrospective selection of the best checkpoint.
    """
    arrays = read_checkpoint(Path(path))
    if arrays["theta"].shape != network.theta.shape:
        raise InputError(
            f"checkpoint {path} has {arrays['theta'].size} parameters, the network has {network.theta.size}; "
            f"build the model that it was trained with"
        )
    network.assign(evaluated_theta(arrays), arrays["statistics"])


def _evaluate(measure: Callable[[], Evaluation], progress: Progress, tell: Report) -> None:
    """Measure loss and error on the validation set after `progress.step` updates."""
    found = measure()
    if not math.isfinite(found.loss):
        raise Diverged(progress.step, f"the validation loss is {found.loss}")
    progress.valid_step.append(progress.step)
    progress.valid_loss.append(found.loss)
    progress.valid_error.append(found.error)
    tell(progress.step, valid_loss=found.loss, valid_error=found.error)


def _resume(network: Network, training: Training, folder: Path | None, mark: str) -> Progress | None:
    """Continue from the latest checkpoint of `folder`; None where there is none."""
    if folder is None:
        return None
    make_folder(folder)
    arrays = latest_checkpoint(folder)
    if arrays is None:
        return None
    check_fingerprint(str(arrays.get("fingerprint", "{}")), mark, folder)
    return unpack(arrays, network, training)


def _replay(progress: Progress, rates: Callable[[int], float], tell: Report) -> None:
    """Report again what was measured before the checkpoint, in the order in which it was measured."""
    measured = zip(progress.valid_loss, progress.valid_error, strict=True)
    evaluations = dict(zip(progress.valid_step, measured, strict=True))
    for step, (loss, norm) in enumerate(zip(progress.train_loss, progress.gradient_norm, strict=True)):
        tell(step, train_loss=loss, gradient_norm=norm, learning_rate=float(rates(step)))
        if step + 1 in evaluations:
            valid_loss, valid_error = evaluations[step + 1]
            tell(step + 1, valid_loss=valid_loss, valid_error=valid_error)


def _check(network: Network, data: Dataset, training: Training, keep: int) -> None:
    takes, gives = network.model.input_shape, network.model.classes
    if data.train.x.shape[1:] != takes or data.classes > gives:
        raise InputError(
            f"{data.name} has examples of shape {data.train.x.shape[1:]} in {data.classes} classes, the model takes "
            f"shape {takes} and gives {gives}; build the model for these data"
        )
    if training.batch_size > len(data.train.y):
        raise InputError(
            f"batch_size = {training.batch_size} is above the {len(data.train.y)} training examples of {data.name}; "
            f"give at most that"
        )
    if keep < 1:
        raise InputError(f"keep = {keep}; give at least 1")

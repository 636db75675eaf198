"""The worker's side of a trial: the handle that an objective gets, and what is made of how the objective ends."""

from __future__ import annotations

import errno
import json
import math
import operator
import time
import traceback
from bisect import bisect_left
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from refplay.errors import InputError
from refplay.seeds import generator
from refplay.study.checks import did_you_mean
from refplay.study.objective import Objective, die_with_parent, resolve
from refplay.study.record import State

Curves = dict[str, tuple[list[int], list[float]]]  # metric -> steps, values

_JOURNAL = "reports.jsonl"
_NEW_ATTEMPT = "\n[]\n"  # on a line of its own even where the attempt before ended within one


class Assignment(NamedTuple):
    """What a worker needs to know to run a trial: plain values that any executor can carry."""

    study: str
    number: int
    rerun: int
    seed: int
    params: dict[str, Any]
    steps: int
    metric: str
    folder: str


class Outcome(NamedTuple):
    """What a worker hands back."""

    state: State
    reason: str
    curves: Curves
    seconds: float
    has_folder: bool


class Infeasible(FloatingPointError):
    """Training diverged: it ends the trial as infeasible, which is data and no error."""


class Trial:
    """What an objective is called with: the hyperparameters to train with, and a place to report to.

    Attributes
    ----------
    params : dict
        Value of every hyperparameter by its qualified name, scientific and fixed ones included.
    steps : int
        How long to train.
    seed : int
        Of all random numbers of this trial, below 2**63; `generator` makes streams of it.
    study : str
        Name of the study it belongs to.
    number, rerun : int
        Its place in the search, and which repetition it is (0: none).

    >>> params = {"optimizer": "adam", "optimizer.adam.beta1": 0.9}
    >>> trial = Trial(Assignment("s", 0, 0, 7, params, 10, "valid_error", ""))
    >>> trial["beta1"], "momentum" in trial, trial.get("momentum", 0.0)
    (0.9, False, 0.0)
    """

    def __init__(self, assignment: Assignment) -> None:
        self.study, self.number, self.rerun, self.seed, self.params, self.steps, _, self._folder = assignment
        self._names = {name.rpartition(".")[2]: name for name in self.params}
        self._earlier: Curves = {}  # of interrupted attempts
        self._curves: Curves = {}  # of this one
        self._journal: IO[str] | None = None
        self.last_step: int | None = None  # of any report
        self.diverged = ""  # why, once a report said so

    def __getitem__(self, name: str) -> Any:
        """Return the value of a hyperparameter, by its own name or the qualified one."""
        if name in self.params:
            return self.params[name]
        if name in self._names:
            return self.params[self._names[name]]
        raise KeyError(f"trial {self.number} of {self.study!r} has no hyperparameter {name!r}"
                       f"{did_you_mean(name, self.params)}")

    def __contains__(self, name: object) -> bool:
        return name in self.params or name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self.params)

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a hyperparameter, or `default` where this trial has none of that name."""
        return self[name] if name in self else default  # noqa: SIM401 (this is the `get` that it asks for)

    def generator(self, purpose: str) -> np.random.Generator:
        """Return the random stream of this trial for a purpose, such as "init" or "shuffle"."""
        return generator(self.seed, purpose)

    @property
    def folder(self) -> Path:
        """The folder of this trial, for checkpoints; whatever interrupts the trial, it finds its files there again.

        A trial that goes on from a checkpoint at step n reports from n + 1 on: what an interrupted attempt reported
        before the first step of this one is kept, the rest is forgotten.
        """
        folder = Path(self._folder)
        if self._journal is None:
            # Only a trial with a folder can go on from the middle, so only its reports must outlive the process.
            folder.mkdir(parents=True, exist_ok=True)
            self._earlier = _read_journal(folder / _JOURNAL)
            self._journal = (folder / _JOURNAL).open("a", encoding="utf-8")
            self._journal.write(_NEW_ATTEMPT)
            for metric, (steps, values) in self._curves.items():
                for step, value in zip(steps, values, strict=True):
                    self._journal.write(_line(step, {metric: value}))
            self._journal.flush()
        return folder

    def report(self, step: int, **metrics: float) -> None:
        """Record values of metrics at a step of training.

        Parameters
        ----------
        step : int
            0 or more, larger than at the last report of the same metric. It may pass `steps`: a warmup that is
            prepended to the schedule lengthens training.
        **metrics : float
            Anything that ``float()`` takes: a number, a NumPy or PyTorch scalar. The plan's metric must be among the
            names at least once; "train_loss", "valid_error" and "gradient_norm" are what analysis and plots look for.

        Raises
        ------
        FloatingPointError
            `train_loss` is not finite. Let it pass: it ends the trial as infeasible, with this step as the reason.
        ValueError, TypeError
            A step that does not grow, a value that is not a number, no metric at all: a bug of the objective.
        """
        step = operator.index(step)
        if step < 0 or not metrics:
            raise ValueError(f"report({step}, {', '.join(metrics)}): give a step of 0 or more and at least one metric")
        numbers = {metric: _number(metric, value) for metric, value in metrics.items()}
        for metric, value in numbers.items():
            steps, values = self._curves.setdefault(metric, ([], []))
            if steps and steps[-1] >= step:
                raise ValueError(f"{metric} was reported at step {steps[-1]} and now at {step}; steps must grow")
            steps.append(step)
            values.append(value)
        self.last_step = step
        if self._journal is not None:
            self._journal.write(_line(step, numbers))
            self._journal.flush()  # from here on it survives the death of this process
        if not math.isfinite(numbers.get("train_loss", 0.0)):
            self.diverged = f"train_loss is {numbers['train_loss']} at step {step}"
            raise Infeasible(self.diverged)

    def curves(self) -> Curves:
        """Return what was reported, by this attempt and before it by interrupted ones."""
        return _follow(self._earlier, self._curves)

    def close(self) -> None:
        """End the trial; its curves are the caller's to store, so the journal has done its duty."""
        if self._journal is not None:
            self._journal.close()


def _number(metric: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"{metric} = {value!r} is not a number") from None


def _line(step: int, numbers: dict[str, float]) -> str:
    return json.dumps([step, numbers]) + "\n"


def _read_journal(path: Path) -> Curves:
    """Return what earlier attempts of a trial reported."""
    curves: Curves = {}
    attempt: Curves = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        if line == _NEW_ATTEMPT.strip():
            curves, attempt = _follow(curves, attempt), {}
        elif line.endswith("]"):  # a line that ends otherwise was cut when the process was killed
            step, numbers = json.loads(line)
            for metric, value in numbers.items():
                steps, values = attempt.setdefault(metric, ([], []))
                steps.append(step)
                values.append(value)
    return _follow(curves, attempt)


def _follow(earlier: Curves, later: Curves) -> Curves:
    """Return `earlier` up to where `later` begins, then `later`."""
    begin = min((steps[0] for steps, _ in later.values()), default=math.inf)
    joined: Curves = {}
    for metric in earlier | later:
        steps, values = earlier.get(metric, ([], []))
        kept = bisect_left(steps, begin)
        new_steps, new_values = later.get(metric, ([], []))
        if kept or new_steps:
            joined[metric] = (steps[:kept] + new_steps, values[:kept] + new_values)
    return joined


def run_trial(objective: Objective, assignment: Assignment, search_path: tuple[str, ...]) -> Outcome:
    """Run one trial in this process and return what became of it.

    Raises
    ------
    InputError
        The objective met something that its user has to mend (a missing data folder, a full disk): no result at all.
    """
    die_with_parent()
    call = objective if callable(objective) else resolve(objective, search_path)
    trial = Trial(assignment)
    start = time.perf_counter()
    try:
        state, reason = _attempt(call, trial, assignment.metric)
    finally:
        trial.close()
    return Outcome(state, reason, trial.curves(), time.perf_counter() - start, Path(assignment.folder).is_dir())


def _attempt(call: Callable[[Trial], object], trial: Trial, metric: str) -> tuple[State, str]:
    try:
        call(trial)
    except (InputError, KeyboardInterrupt):
        raise
    except (FloatingPointError, OverflowError) as error:
        return State.INFEASIBLE, trial.diverged or _where(error, trial.last_step)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise InputError(f"the disk filled up during trial {trial.number} of {trial.study}: {error}; "
                             "free some space and resume") from error
        return State.FAILED, _traceback(error)
    except BaseException as error:  # SystemExit too: a script that gives up is a failed trial, not a dead worker
        return State.FAILED, _traceback(error)
    if trial.diverged:
        return State.INFEASIBLE, trial.diverged  # the objective caught our exception
    curves = trial.curves()
    if metric not in curves:
        if not curves:
            return State.FAILED, (f"the objective never reported {metric!r}, the plan's metric or anything else: call "
                                  f"trial.report(step, {metric}=...)")
        return State.FAILED, (f"the objective never reported {metric!r}, the plan's metric, but "
                              f"{', '.join(map(repr, curves))}: report it, or plan with metric = one of those")
    if not any(map(math.isfinite, curves[metric][1])):
        return State.INFEASIBLE, f"{metric} was never finite"
    return State.COMPLETE, ""


def _where(error: Exception, last_step: int | None) -> str:
    text = str(error) or type(error).__name__
    step = getattr(error, "step", None)
    if "step" in text or (step is None and last_step is None):
        return text
    return f"{text} (at step {step})" if step is not None else f"{text} (last report at step {last_step})"


def _traceback(error: BaseException) -> str:
    inside = error.__traceback__.tb_next if error.__traceback__ else None  # begins in the objective
    return "".join(traceback.format_exception(type(error), error, inside))

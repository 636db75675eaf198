"""What a study leaves behind: trial records and their curves, as values that analysis and plots read.

Nothing here runs or stores anything; `refplay.study.store` writes these values, `refplay.analysis` reads them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np

from refplay.search.space import Space
from refplay.study.checks import text_of
from refplay.study.plan import Plan


class State(StrEnum):
    """Where a trial stands."""

    PENDING = "pending"  # not started
    RUNNING = "running"  # a process works on it
    COMPLETE = "complete"  # trained for all its steps
    INFEASIBLE = "infeasible"  # diverged, or could not be run with these values: data, not an error
    FAILED = "failed"  # the objective crashed: a bug, its traceback is the reason


class Curve(NamedTuple):
    """A metric over training: `values[i]` was reported at `steps[i]`, steps increasing."""

    steps: np.ndarray  # int64[n]
    values: np.ndarray  # float64[n]


class Best(NamedTuple):
    """The lowest value of a curve and the step at which it stood first (retrospective checkpoint selection)."""

    value: float
    step: int


@dataclass(frozen=True)
class TrialRecord:
    """One trial: its hyperparameters, what became of it, and its curves."""

    study: str  # name of the study it belongs to
    number: int  # 0, 1, ...: its place in the search sequence (for a rerun: the trial it repeats)
    params: dict[str, Any]  # qualified name -> value of every hyperparameter, scientific and fixed ones included
    state: State
    seed: int  # of its random streams
    curves: dict[str, Curve] = field(default_factory=dict)  # "train_loss", "valid_error", "gradient_norm", ...
    reason: str = ""  # why infeasible (with the step), or the traceback of a failed trial
    rerun: int = 0  # 0: the trial of the search; 1, 2, ...: a repetition with another seed
    seconds: float = float("nan")  # wall-clock time of the objective
    folder: str = ""  # where its checkpoints lie

    def best(self, metric: str) -> Best | None:
        """Return the lowest finite value of `metric` over training and its first step; None where there is none."""
        curve = self.curves.get(metric)
        if curve is None or not np.isfinite(curve.values).any():
            return None
        i = int(np.nanargmin(np.where(np.isfinite(curve.values), curve.values, np.nan)))
        return Best(float(curve.values[i]), int(curve.steps[i]))

    @property
    def feasible(self) -> bool:
        """Whether it trained to its end."""
        return self.state is State.COMPLETE


@dataclass(frozen=True)
class Study:
    """The trials of one search: one value of the scientific hyperparameters, or all of them inside one space."""

    name: str  # "nesterov-or-adam/optimizer=adam"; the plan's name where the plan makes one study
    scientific: dict[str, Any]  # the scientific values that this study holds fixed; {} when they are inside the space
    space: Space  # what varies
    trials: tuple[TrialRecord, ...]  # of the search, by number
    reruns: tuple[TrialRecord, ...] = ()  # of its best trial (of each scientific value) with other seeds

    def ranked(self, metric: str) -> list[TrialRecord]:
        """Return the complete trials that reported `metric`, best (lowest over training) first."""
        scored = [(best.value, t.number, t) for t in self.trials if t.feasible and (best := t.best(metric))]
        return [trial for _, _, trial in sorted(scored, key=lambda row: row[:2])]

    def split(self, names: Iterable[str]) -> list[Study]:
        """Return a study for each combination of values of `names` among its trials, in order of appearance.

        The form in which the values of scientific hyperparameters inside the space are compared. A study in which none
        of `names` varies is its own only part.
        """
        inside = [name for name in names if any(dimension.name == name for dimension in self.space.dimensions)]
        if not inside:
            return [self]
        parts: dict[str, tuple[list[TrialRecord], list[TrialRecord]]] = {}
        for trial in (*self.trials, *self.reruns):
            text = ",".join(f"{name}={text_of(trial.params.get(name))}" for name in inside)
            parts.setdefault(text, ([], []))[trial.rerun > 0].append(trial)
        return [Study(f"{self.name}/{text}", {**self.scientific, **{n: trials[0].params.get(n) for n in inside}},
                      self.space, tuple(trials), tuple(reruns)) for text, (trials, reruns) in parts.items() if trials]


@dataclass(frozen=True)
class Round:
    """A plan and the studies that were run for it: what `refplay.learn` and the report read."""

    plan: Plan
    studies: tuple[Study, ...]

    def contenders(self) -> list[Study]:
        """Return what the round compares: a study, or a part of one, for each combination of scientific values."""
        return [part for study in self.studies for part in study.split(self.plan.scientific)]

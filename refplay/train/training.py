"""What a training is: everything that is chosen before it starts, as one value."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from refplay.data import Dataset, Split
from refplay.errors import InputError
from refplay.kernels import load
from refplay.nn import Network
from refplay.optim import RULES, Schedule, with_warmup
from refplay.optim.checks import below_one, not_negative


@dataclass(frozen=True)
class Training:
    """How a network is trained.

    Parameters
    ----------
    rule : str
        A name of `refplay.optim.RULES`.
    schedule : Schedule
        The learning rate of each of the `steps`.
    steps, batch_size : int, 1 or more
    hyperparameters : mapping of str to float
        Of the rule, without the learning rate; what is missing has the rule's default.
    warmup_steps : int, 0 or more
        Steps of a linear ramp from 0, prepended: the training takes `steps + warmup_steps` steps.
    weight_decay : float, 0 or more
        Acts on the weights of dense layers and convolutions, not on biases and norm parameters.
    decoupled : bool
        False: weight_decay/2 |theta|^2 is part of the loss, so its gradient is in the gradient that is logged, clipped
        and given to the rule. True: the weights shrink by 1 - learning rate x weight_decay beside the rule.
    label_smoothing : float, 0 <= label_smoothing < 1
        In training only; evaluation is without.
    clip_threshold : float, above 0
        The largest norm of the gradient; infinity: no clipping.
    polyak_decay : float or None, 0 <= polyak_decay < 1
        Evaluates the moving average of the parameters instead of the parameters (and checkpoints hold both).
    evaluate_every : int, 1 or more
        Steps between evaluations on the validation set; there is one more at the end.
    evaluation_batch : int or None
        Examples per evaluation batch, at least `batch_size`; None: the larger of `batch_size` and 1024.

    Raises
    ------
    InputError
        Where a value is out of range or no such rule or hyperparameter exists.

    >>> from refplay.optim import cosine
    >>> Training("nesterov", cosine(0.1, 400), steps=400, batch_size=64, warmup_steps=40).total_steps
    440
    """

    rule: str
    schedule: Schedule
    steps: int
    batch_size: int
    hyperparameters: Mapping[str, float] = field(default_factory=dict)
    warmup_steps: int = 0
    weight_decay: float = 0.0
    decoupled: bool = False
    label_smoothing: float = 0.0
    clip_threshold: float = math.inf
    polyak_decay: float | None = None
    evaluate_every: int = 50
    evaluation_batch: int | None = None

    def __post_init__(self) -> None:
        self._check_rule()
        counts = {"steps": 1, "batch_size": 1, "warmup_steps": 0, "evaluate_every": 1}
        if self.evaluation_batch is not None:
            counts["evaluation_batch"] = 1
        for name, least in counts.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
                raise InputError(f"{name} = {value!r}; give a whole number of at least {least}")
        not_negative("weight_decay", self.weight_decay)
        below_one("label_smoothing", self.label_smoothing)
        if self.polyak_decay is not None:
            below_one("polyak_decay", self.polyak_decay)
        if self.clip_threshold != math.inf and not_negative("clip_threshold", self.clip_threshold) == 0:
            raise InputError(f"clip_threshold = {self.clip_threshold!r}; give a number above 0")
        if not isinstance(self.decoupled, bool):
            raise InputError(f"decoupled = {self.decoupled!r}; give true or false")
        if self.evaluation_batch is not None and self.evaluation_batch < self.batch_size:
            raise InputError(
                f"evaluation_batch = {self.evaluation_batch} is below batch_size = {self.batch_size}; evaluation needs "
                f"less memory than training, so give at least the batch size"
            )

    def _check_rule(self) -> None:
        if self.rule not in RULES:
            raise InputError(f"unknown update rule {self.rule!r}; choose one of {', '.join(RULES)}")
        rule = RULES[self.rule]
        for name in self.hyperparameters:
            if name not in rule.hyperparameters:
                raise InputError(
                    f"{self.rule} has no hyperparameter {name!r}; it has {', '.join(rule.hyperparameters) or 'none'}"
                )
        kernels, theta, g = load("numpy"), np.ones(1), np.ones(1)  # the rule itself knows the ranges: let it step once
        rule.update(theta, g, rule.init(theta, kernels), lr=0.0, **self.hyperparameters, kernels=kernels)

    @property
    def total_steps(self) -> int:
        """Steps of the warmup and of the schedule."""
        return int(self.steps + self.warmup_steps)

    def learning_rates(self) -> Schedule:
        """Return the learning rate as a function of the step, warmup included."""
        return with_warmup(self.schedule, self.warmup_steps, self.schedule(0))


def fingerprint(network: Network, data: Dataset, training: Training, seed: int) -> str:
    """Return, as JSON, what must be equal for a checkpoint to be continued bit for bit.

    A schedule is a function: its values at up to 65 steps, the first and last among them, stand for it. Of the data,
    all labels count, and some hundred examples spread over each set.
    """
    rates = training.learning_rates()
    at = np.linspace(0, training.total_steps - 1, min(65, training.total_steps)).astype(int)
    settings = {name: value for name, value in vars(training).items() if name != "schedule"}
    settings["hyperparameters"] = {**RULES[training.rule].hyperparameters, **training.hyperparameters}
    return json.dumps(
        {
            "model": repr(network.model),
            "dtype": network.dtype,
            "backend": getattr(network.kernels, "__name__", ""),  # another one rounds differently
            "data": [data.name, _digest(data.train), _digest(data.valid)],
            "seed": seed,
            "learning_rates": [float(rates(int(step))) for step in at],
            **settings,
        },
        default=float,  # numbers of NumPy
    )


def _digest(split: Split) -> list[int]:
    some = split.x[:: max(1, len(split.y) // 256)]
    return [len(split.y), zlib.crc32(split.y.tobytes()), zlib.crc32(some.tobytes())]


def check_fingerprint(found: str, expected: str, folder: object) -> None:
    """Raise InputError, naming what differs, where a checkpoint belongs to another training."""
    then, now = json.loads(found), json.loads(expected)
    differing = [name for name in now if then.get(name) != now[name]]
    if differing:
        raise InputError(
            f"the checkpoints in {folder} are of another training ({', '.join(differing)} differ); give another folder"
        )

"""Where a training stands: everything that changes from step to step, to and from named arrays."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from refplay.kernels import Array, Backend
from refplay.nn import Network
from refplay.optim import RULES, Average, init_average
from refplay.train.checkpoints import Arrays
from refplay.train.training import Training


class Curve(NamedTuple):
    """A metric over training: `values[i]` holds after `steps[i]` updates."""

    steps: np.ndarray  # int64[n], increasing
    values: np.ndarray  # float64[n]


@dataclass
class Progress:
    """The state of a training between two steps, apart from the network's vectors."""

    rule_state: Any  # the rule's NamedTuple
    average: Average | None  # of Polyak
    step: int = 0  # updates done
    train_loss: list[float] = field(default_factory=list)  # of the batch of step 0, 1, ..., before its update
    gradient_norm: list[float] = field(default_factory=list)
    valid_step: list[int] = field(default_factory=list)
    valid_loss: list[float] = field(default_factory=list)
    valid_error: list[float] = field(default_factory=list)

    def curves(self) -> dict[str, Curve]:
        """Return what was measured, by name."""
        every, at = np.arange(len(self.train_loss)), np.array(self.valid_step, np.int64)
        return {
            "train_loss": Curve(every, np.array(self.train_loss)),
            "gradient_norm": Curve(every, np.array(self.gradient_norm)),
            "valid_loss": Curve(at, np.array(self.valid_loss)),
            "valid_error": Curve(at, np.array(self.valid_error)),
        }


_HISTORY = ("train_loss", "gradient_norm", "valid_step", "valid_loss", "valid_error")


def begin(network: Network, training: Training) -> Progress:
    """Return the progress before the first step."""
    state = RULES[training.rule].init(network.theta, network.kernels)
    average = None if training.polyak_decay is None else init_average(network.theta, network.kernels)
    return Progress(state, average)


def pack(network: Network, progress: Progress) -> Arrays:
    """Return the whole state of a training as named host arrays."""
    to_host = network.kernels.to_host
    arrays = {"theta": to_host(network.theta), "statistics": to_host(network.statistics)}
    for name, value in progress.rule_state._asdict().items():
        arrays[f"rule.{name}"] = np.array(value) if isinstance(value, int) else to_host(value)
    if progress.average is not None:
        arrays["polyak.theta"] = to_host(progress.average.theta)
        arrays["polyak.t"] = np.array(progress.average.t)
    return arrays | {f"history.{name}": np.array(getattr(progress, name)) for name in _HISTORY}


def unpack(arrays: Arrays, network: Network, training: Training) -> Progress:
    """Put a packed state into the network and return the progress; the inverse of `pack`, bit for bit."""
    network.assign(arrays["theta"], arrays["statistics"])
    progress = begin(network, training)
    loaded = {name: _like(value, arrays[f"rule.{name}"], network.kernels)
              for name, value in progress.rule_state._asdict().items()}  # fmt: skip
    progress.rule_state = type(progress.rule_state)(**loaded)
    if progress.average is not None:
        progress.average = Average(network.kernels.asarray(arrays["polyak.theta"]), int(arrays["polyak.t"]))
    progress.step = int(arrays["step"])
    for name in _HISTORY:
        setattr(progress, name, arrays[f"history.{name}"].tolist())
    return progress


def evaluated_theta(arrays: Arrays) -> np.ndarray:
    """Return the parameters that a packed state was evaluated with: the Polyak average where there is one."""
    return arrays.get("polyak.theta", arrays["theta"])


def _like(value: Any, loaded: np.ndarray, kernels: Backend) -> int | Array:
    return int(loaded) if isinstance(value, int) else kernels.asarray(loaded)

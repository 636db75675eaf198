"""What a measurement of speed is made of: model, data, optimizer, backend; and what its results belong to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, SupportsFloat

import numpy as np

from refplay.data import Dataset, Gather, make_gather
from refplay.errors import InputError
from refplay.kernels import available, load
from refplay.kernels import resident as new_resident
from refplay.nn import Model, Network
from refplay.optim import RULES
from refplay.procedures.machine import machine, versions
from refplay.procedures.peers import PEERS, sees_gpu
from refplay.train import DeviceBatches, make_step, step_memory

# So small that a measurement of any length trains nowhere: a step's work then stays what it was (gradients of a network
# that has learned its data by heart become denormal numbers, which cost many times as much).
LEARNING_RATE = 1e-6

# A training on a device looks at its losses once an evaluation. After so many steps, waiting once weighs little.
STEPS_ON_DEVICE = 8

PlainStep = Callable[[np.ndarray, np.ndarray], SupportsFloat]  # (x, labels) -> loss


@dataclass(frozen=True)
class Setup:
    """A training whose speed is to be measured.

    Parameters
    ----------
    model : Model
    data : Dataset
        Its training set is used.
    optimizer : str
        A name of `refplay.optim.RULES`.
    hyperparameters : mapping of str to float
        Of the rule, without the learning rate; what is missing has the rule's default.
    backend : str
        A name of `refplay.kernels.load`.
    name : str
        What to call the model; "": its description.

    Raises
    ------
    InputError
        No such optimizer, hyperparameter or backend; a value out of its range; a backend that cannot run here.
    """

    model: Model
    data: Dataset
    optimizer: str = "adam"
    hyperparameters: Mapping[str, float] = field(default_factory=dict)
    backend: str = "numba"
    name: str = ""

    def __post_init__(self) -> None:
        if self.optimizer not in RULES:
            raise InputError(f"unknown optimizer {self.optimizer!r}; choose one of {', '.join(RULES)}")
        known = RULES[self.optimizer].hyperparameters
        for unknown in set(self.hyperparameters) - set(known):
            raise InputError(f"{self.optimizer} has no hyperparameter {unknown!r}; it has {', '.join(known) or 'none'}")
        kernels, theta, g = load("numpy"), np.ones(1), np.ones(1)  # the rule itself knows the ranges: let it step once
        RULES[self.optimizer].update(theta, g, RULES[self.optimizer].init(theta, kernels), lr=LEARNING_RATE,
                                     **self.hyperparameters, kernels=kernels)
        reasons = available()
        if self.backend not in reasons:
            raise InputError(f"unknown backend {self.backend!r}; choose one of {', '.join(reasons)}")
        if reasons[self.backend]:
            raise InputError(f"backend {self.backend} cannot run here: {reasons[self.backend]}")

    @property
    def examples(self) -> int:
        """Training examples that there are."""
        return len(self.data.train.y)

    @property
    def device(self) -> Any:
        """What `refplay.kernels.resident` has for the backend; None where it works in the host's memory."""
        return new_resident(load(self.backend))

    @property
    def waits_every(self) -> int:
        """After how many steps a measurement waits for the loss: each on the host, as training does on a device."""
        return 1 if self.device is None else STEPS_ON_DEVICE

    def memory(self, batch_size: int) -> int:
        """Return the bytes that a step takes, by the model of memory; InputError where batch norm cannot split it."""
        return step_memory(self.model, self.optimizer, batch_size, backend=self.backend).total

    def network(self) -> Network:
        """Return a fresh network."""
        return Network(self.model, load(self.backend), seed=0)

    def gather(self, batch_size: int) -> Gather:
        """Return what gathers the training batches where the training loop gathers them: on a device, there."""
        if self.device is None:
            return make_gather(self.data.train, batch_size, seed=0)
        return DeviceBatches(self.data.train, batch_size, seed=0, kernels=load(self.backend))

    def step(self, network: Network, batch_size: int) -> PlainStep:
        """Return refplay's training step."""
        return plain_step(network, make_step(network, self.optimizer, batch_size,
                                             hyperparameters=self.hyperparameters, seed=0))


def plain_step(network: Network, step: Callable[..., SupportsFloat]) -> PlainStep:
    """Return a step of what `Setup.gather` gathers, at the learning rate of measurements."""
    k = network.kernels
    return lambda x, labels: step(k.asarray(x), k.asarray(labels), LEARNING_RATE)


def key_of(setup: Setup, peers: Sequence[str] = ()) -> dict[str, str]:
    """Return what results belong to: they are stale as soon as one of these is another.

    Source: playbook, "Determining the feasible batch sizes and estimating training throughput" (repeat it when the
    model or the optimizer changes).
    """
    chosen = ", ".join(f"{name}={value:g}" for name, value in sorted(setup.hyperparameters.items()))
    shape = " x ".join(map(str, setup.data.train.x.shape[1:]))
    return {
        "model": setup.name or repr(setup.model),
        "optimizer": f"{setup.optimizer}({chosen})" if chosen else setup.optimizer,
        "data": f"{setup.data.name}, {shape}, {setup.data.classes} classes",
        "backend": setup.backend,
        **({} if setup.device is None else setup.device.machine() | _where(peers)),
        **environment([package for peer in peers for package in PEERS[peer]]),
    }


def _where(peers: Sequence[str]) -> dict[str, str]:
    return {f"{peer} on": "GPU" if sees_gpu(peer) else "CPU" for peer in peers}


def environment(packages: Sequence[str] = ()) -> dict[str, str]:
    """Return the part of a key that does not depend on what is measured: machine and versions."""
    return {**machine(), **versions(packages)}


def changes(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return what differs between the key of stored results and that of now, each as "name is now that, was this".

    What only one of them names does not count: other peers leave refplay's own results as they are.

    >>> changes({"cpu": "Z80", "numpy": "2.3.1", "torch": "2.9"}, {"cpu": "Z80", "numpy": "2.4.0"})
    ['numpy is now 2.4.0, was 2.3.1']
    """
    return [f"{name} is now {now[name]}, was {value}" for name, value in then.items() if now.get(name, value) != value]

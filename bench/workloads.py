"""What is measured: models, batches, names of cases. Everything here is the same for all contenders."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import NamedTuple

import numpy as np

from refplay.nn import Activation, Conv2D, Dense, Flatten, MaxPool2D, Model, mlp, resnet

IMAGE, CLASSES, LEARNING_RATE = (28, 28, 1), 10, 1e-3


def convnet(batch: int) -> Model:
    """Two 3x3 convolutions, each with ReLU and a 2x2 max pool, and two dense layers."""
    return Model(IMAGE, CLASSES, (
        Conv2D(32), Activation("relu"), MaxPool2D(), Conv2D(64), Activation("relu"), MaxPool2D(),
        Flatten(), Dense(128), Activation("relu"), Dense(CLASSES, init="glorot"),
    ))  # fmt: skip


def residual(batch: int) -> Model:
    """A residual ConvNet of three blocks. One ghost batch, the whole batch: plain batch norm is then the same work."""
    return resnet(IMAGE, CLASSES, ghost_size=batch)


MODELS: dict[str, Callable[[int], Model]] = {
    "convnet": convnet,
    "mlp-256": lambda batch: mlp((784,), CLASSES, depth=2, width=256),
    "mlp-1024": lambda batch: mlp((784,), CLASSES, depth=3, width=1024),
    "resnet": residual,
}


class Batches(NamedTuple):
    """Examples x[B, ...] and labels[B] that a training loop goes through in turn."""

    x: list[np.ndarray]
    labels: list[np.ndarray]

    def feed(self) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
        """Return a function that gives the next batch."""
        numbers = count()

        def following() -> tuple[np.ndarray, np.ndarray]:
            i = next(numbers)
            return self.x[i % len(self.x)], self.labels[i % len(self.labels)]

        return following


def draw_batches(shape: tuple[int, ...], batch: int) -> Batches:
    """Return 8 batches of examples and 9 of labels: 72 different pairs.

    Examples are uniform in [0.05, 1): no zero that a kernel could skip. Labels are drawn apart from them, and the same
    example comes with nine of them, so that no contender, however many steps it gets done, learns them by heart: the
    gradients would become zero or subnormal, and the time of a step another one.
    """
    rng = np.random.default_rng(4)
    x = [rng.uniform(0.05, 1.0, (batch, *shape)).astype(np.float32) for _ in range(8)]
    return Batches(x, [rng.integers(0, CLASSES, batch) for _ in range(9)])

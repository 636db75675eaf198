"""A training step that is captured once as a CUDA graph and replayed; what changes from step to step lies on the GPU.

A graph repeats its launches with the very arguments that they were captured with. So the update of a step that is to be
captured runs with a `Tape` in the place of the backend's functions. Their numbers change from step to step (rates, the
decay of an average): it launches them in a form that reads the numbers from its columns in device memory, in the row
that a counter there names. The layers run with `tape.layers`, whose dropout masks count their steps on the GPU. The
last launch of a step moves the counters on.

    tape.note(row)         and then an update with the tape: its numbers are noted, nothing is launched
    tape.bring(first)      the numbers of all rows noted go to the GPU, in one copy; row 0 is step `first`
    Graph(lambda: step())  launches with the tape, between `tape.capture()` and the end; `tape.advance()` last
"""

from __future__ import annotations

from math import inf
from typing import Any

import numpy as np

from . import optim, reduce
from .device import bring, launch, zeros
from .layers import Layers

COLUMNS = 8  # numbers of a step: a rule has one, weight decay one, an average two


class Tape:
    """The functions of an update that is captured: the rules, weight decay and average.

    Attributes
    ----------
    layers
        The backend's functions for forward and backward passes; see `layers`.

    Parameters
    ----------
    backend : the package, whose other functions are used as they are
    rows : int
        Steps whose numbers it holds at a time.
    """

    def __init__(self, backend: Any, rows: int) -> None:
        self._noted = np.zeros((COLUMNS, rows))
        self._columns = zeros((COLUMNS, rows), "float64")
        self._counters = zeros(2, "int64")
        self.row, self._step = self._counters[0:1], self._counters[1:2]  # among those at hand; of the training
        self._clipped = zeros(2, "float64")  # norm and factor
        self._noting, self._next, self._used = -1, 0, 0
        self._factor: Any = None
        self.layers = Layers(backend, self._step)

    def note(self, row: int) -> None:
        """From now on, note the numbers of this row."""
        self._noting, self._next = row, 0

    def bring(self, first: int) -> None:
        """Bring what was noted to the GPU; the next replay is that of row 0, step `first` of the training."""
        self._used = self._next
        bring(self._noted, self._columns)
        bring(np.array([0, first]), self._counters)

    def capture(self) -> None:
        """From now on, launch; nothing is noted, and nothing waits that a step which failed has left."""
        self.layers.forget()
        self._noting, self._next, self._factor = -1, 0, None

    def advance(self) -> None:
        """End a captured step."""
        self.layers.end()
        if self._next != self._used:
            raise RuntimeError(f"{self._next} numbers were captured, {self._used} noted: not the same update")
        launch("optim.advance", 1, 1, self.row, self._step)

    def clip(self, g: Any, threshold: float, log: Any) -> None:
        """log[row] <- |g|; the update that follows takes the clipped gradient, g itself stays as it is."""
        reduce.norm_and_factor(g, threshold, self._clipped, log=log, row=self.row)
        self._factor = None if threshold == inf else self._clipped[1:2]

    def _take(self, *numbers: float) -> list[Any] | None:
        """Note the numbers, or return the columns from which a captured step reads them."""
        first, self._next = self._next, self._next + len(numbers)
        if self._noting >= 0:
            self._noted[first : self._next, self._noting] = numbers
            return None
        return [self._columns[i] for i in range(first, self._next)]

    def _update(self, rule: str, vectors: tuple[Any, ...], rate: float, *hyperparameters: float) -> None:
        columns = self._take(rate)
        if columns:
            optim.update(rule, vectors, 0.0, *hyperparameters, rates=columns[0], row=self.row, clip=self._factor)

    # The functions of the contract that are launched in another form. `optim` has their names and arguments.

    def sgd(self, theta: Any, g: Any, lr: float) -> None:
        self._update("sgd", (theta, g), lr)

    def momentum(self, theta: Any, g: Any, v: Any, lr: float, gamma: float) -> None:
        self._update("momentum", (theta, g, v), lr, gamma)

    def nesterov(self, theta: Any, g: Any, v: Any, lr: float, gamma: float) -> None:
        self._update("nesterov", (theta, g, v), lr, gamma)

    def rmsprop(self, theta: Any, g: Any, v: Any, m: Any, lr: float, gamma: float, rho: float, epsilon: float) -> None:
        self._update("rmsprop", (theta, g, v, m), lr, gamma, rho, epsilon)

    def adam(self, theta: Any, g: Any, m: Any, v: Any, t: int, lr: float, beta1: float, beta2: float,
             epsilon: float) -> None:
        self._update("adam", (theta, g, m, v), optim.corrected_rate(t, lr, beta1, beta2), beta1, beta2, epsilon)

    def nadam(self, theta: Any, g: Any, m: Any, v: Any, t: int, lr: float, beta1: float, beta2: float,
              epsilon: float) -> None:
        self._update("nadam", (theta, g, m, v), optim.corrected_rate(t, lr, beta1, beta2), beta1, beta2, epsilon)

    def scale(self, g: Any, s: float) -> None:
        columns = self._take(s)
        if columns:
            reduce.launch_scale(g, 0.0, columns[0], self.row)

    def axpby(self, a: float, x: Any, b: float, y: Any) -> None:
        columns = self._take(a, b)
        if columns:
            reduce.launch_axpby(0.0, x, 0.0, y, columns, self.row)

"""Batches and losses that stay in the memory of a device."""

from __future__ import annotations

from typing import Any

import numpy as np

from refplay.data import Split, batch_indices
from refplay.kernels import Array, Backend
from refplay.kernels import resident as new_resident

AHEAD = 8  # steps whose indices are brought to the device at once, where nobody says how many


def rows_ahead(n: int, batch_size: int, seed: int, first: int, steps: int = AHEAD) -> np.ndarray:
    """Return which examples make the batches of so many steps, int64[steps, batch_size]: a row for each."""
    return np.stack([batch_indices(n, batch_size, seed, step) for step in range(first, first + steps)])


class DeviceBatches:
    """Gathers the batch of a step on the device: the same examples as `refplay.data.make_gather` on the host.

    The data set is brought there once, and the indices of many steps in one copy. A batch is overwritten by the next.

    Parameters
    ----------
    split : Split
    batch_size : int, 1 to the number of examples
    seed : int
        Of the shuffle; see `batch_indices`.
    kernels : Backend
        Of a device: one that `refplay.kernels.resident` knows.
    dtype : {"float32", "float64"}
        Of the examples.
    ahead : int
        Steps whose indices are brought to the device at a time, at most.
    """

    def __init__(
        self, split: Split, batch_size: int, seed: int, kernels: Backend, dtype: str = "float32", ahead: int = AHEAD
    ) -> None:
        self._device: Any = new_resident(kernels)
        self._count, self._batch_size, self._seed = len(split.y), batch_size, seed
        rows = split.x.reshape(len(split.y), -1)
        self._examples = kernels.asarray(rows.astype(dtype, copy=False))
        self._labels = kernels.asarray(split.y.astype(np.int64, copy=False))
        self._x = kernels.empty((batch_size, rows.shape[1]), dtype)
        self._y = kernels.empty((batch_size,), "int64")
        self._batch = self._x.reshape(batch_size, *split.x.shape[1:]), self._y
        self._indices, self._ahead = kernels.empty((ahead, batch_size), "int64"), ahead
        self._first = self._end = 0  # the steps whose indices are there

    def bring(self, first: int, end: int) -> None:
        """Bring the indices of the steps from `first` to before `end` to the device, `ahead` of them at most."""
        self._device.bring(rows_ahead(self._count, self._batch_size, self._seed, first, end - first), self._indices)
        self._first, self._end = first, end

    def __call__(self, step: int) -> tuple[Array, Array]:
        """Return examples [B, ...] and labels int64[B] of a step, on the device."""
        if not self._first <= step < self._end:
            self.bring(step, step + self._ahead)
        return self.at(step - self._first)

    def at(self, row: Any) -> tuple[Array, Array]:
        """Return the batch of a step by its row among those at hand: an int, or for a captured step its counter."""
        self._device.gather(self._examples, self._labels, self._indices, row, self._x, self._y)
        return self._batch


class DeviceLoss:
    """The loss of a step as the sum of some parts, in a log on the device; `float` waits for it.

    Like the batches it is overwritten by the next step.
    """

    def __init__(self, kernels: Backend, parts: int = 1) -> None:
        self._kernels, self._device, self._log = kernels, new_resident(kernels), kernels.zeros(parts, "float64")

    def take(self, losses: Array, part: int = 0) -> None:
        """Take the sum of the losses [B] of examples as one of the parts."""
        self._device.total(losses, self._log, part)

    def __float__(self) -> float:
        return float(self._kernels.to_host(self._log).sum())

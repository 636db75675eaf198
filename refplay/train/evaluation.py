"""Loss and error of a network on a set of examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from refplay.data import Split, evaluation_batches
from refplay.kernels import resident as new_resident
from refplay.nn import Network


class Evaluation(NamedTuple):
    """What a network does on a set."""

    loss: float  # mean cross-entropy, in nats
    error: float  # fraction of examples whose largest logit is not their class's


def evaluate(network: Network, split: Split, batch_size: int = 1024) -> Evaluation:
    """Return the mean cross-entropy and the error of `network` on `split`.

    Neither depends on the batch size: a last partial batch is padded with examples of zero weight, the sums run over
    examples in their order and in double, and nothing is averaged over batches. (What is left is the rounding of a
    matrix product, which may differ with the number of its rows.) The first of equal logits counts as the answer.

    Source: playbook, "Setting up periodic evaluations".

    Parameters
    ----------
    network : Network
        Its averaged statistics are used, and no dropout.
    split : Split
        At least one example, of the shape of the model's input.
    batch_size : int, 1 or more
        Of the evaluation; larger than that of training is faster.

    Raises
    ------
    InputError
        A batch size below 1, or no examples.
    """
    return make_evaluation(network, split, batch_size)()


def make_evaluation(network: Network, split: Split, batch_size: int = 1024) -> Callable[[], Evaluation]:
    """Return a function that does the work of `evaluate`, for whoever evaluates often: a device keeps the examples."""
    batch_size = min(batch_size, max(len(split.y), 1))
    device = new_resident(network.kernels)
    evaluation_batches(split, batch_size)  # refuses what cannot be evaluated
    if device is None:
        return lambda: _on_host(network, split, batch_size)
    return _on_device(network, split, batch_size, device)


def _on_host(network: Network, split: Split, batch_size: int) -> Evaluation:
    k = network.kernels
    losses, wrong = [], 0.0
    for x, y, weights in _batches(split, batch_size, network.dtype):
        loss, z = network.losses(k.asarray(x), k.asarray(y), k.asarray(weights))
        losses.append(loss.astype(np.float64))
        wrong += float(((z.argmax(axis=1) != y) * weights).sum(dtype=np.float64))
    n = len(split.y)
    return Evaluation(float(np.concatenate(losses)[:n].sum() / n), wrong / n)


def _on_device(network: Network, split: Split, batch_size: int, device: Any) -> Callable[[], Evaluation]:
    """Loss and error of each example stay on the device until all batches are through."""
    k, n = network.kernels, len(split.y)
    batches = [tuple(k.asarray(array) for array in batch) for batch in _batches(split, batch_size, network.dtype)]
    found = k.empty((2, batch_size * len(batches)), network.dtype)
    losses, missed = found[0], found[1]
    parts = [slice(i * batch_size, (i + 1) * batch_size) for i in range(len(batches))]
    places = [(losses[part], missed[part]) for part in parts]

    def evaluation() -> Evaluation:
        for (x, y, weights), (loss, miss) in zip(batches, places, strict=True):
            z = network.logits(x)
            k.softmax_cross_entropy(z, y, weights, 0.0, loss, None)
            device.misses(z, y, miss)
        loss, miss = k.to_host(found)[:, :n].astype(np.float64)
        return Evaluation(float(loss.sum() / n), float(miss.sum() / n))

    return evaluation


def _batches(split: Split, batch_size: int, dtype: str) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    for x, y, weights in evaluation_batches(split, batch_size):
        # Writable, as all arrays of training are: for read-only ones a compiling backend would compile once more.
        yield np.require(x, dtype, "W"), np.require(y, None, "W"), weights.astype(dtype, copy=False)

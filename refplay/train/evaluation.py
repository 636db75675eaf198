"""Loss and error of a network on a set of examples."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from refplay.data import Split, evaluation_batches
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
    k = network.kernels
    losses, wrong = [], 0.0
    for x, y, weights in evaluation_batches(split, min(batch_size, max(len(split.y), 1))):
        # Writable, as all arrays of training are: for read-only ones a compiling backend would compile once more.
        x, y = np.require(x, network.dtype, "W"), np.require(y, None, "W")
        weights = weights.astype(network.dtype, copy=False)
        loss, z = network.losses(k.asarray(x), k.asarray(y), k.asarray(weights))
        losses.append(loss.astype(np.float64))
        wrong += float(((z.argmax(axis=1) != y) * weights).sum(dtype=np.float64))
    n = len(split.y)
    return Evaluation(float(np.concatenate(losses)[:n].sum() / n), wrong / n)

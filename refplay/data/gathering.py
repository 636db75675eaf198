"""Training batches gathered from a split: by the training loop itself, or ahead of it by a thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

from refplay.data.batches import batch_indices
from refplay.data.dataset import Split

Batch = tuple[np.ndarray, np.ndarray]  # x float[batch_size, ...], y int64[batch_size]
Gather = Callable[[int], Batch]  # step -> its batch


def make_gather(split: Split, batch_size: int, seed: int, dtype: str = "float32") -> Gather:
    """Return a function that gathers the training batch of a step.

    The examples always go into the same array: a batch is overwritten by the next call.

    Parameters
    ----------
    split : Split
        Of a data set, its training part.
    batch_size : int, 1 to the number of examples
    seed : int
        Of the shuffle; see `batch_indices`.
    dtype : {"float32", "float64"}
        Of the examples.

    >>> gather = make_gather(Split(np.arange(5, dtype=np.float32)[:, None], np.arange(5)), 3, seed=0)
    >>> [gather(step)[1].tolist() for step in range(3)]
    [[0, 4, 3], [1, 2, 0], [1, 4, 2]]
    """
    examples, labels = split.x.astype(dtype, copy=False), split.y
    batch = np.empty((batch_size, *examples.shape[1:]), dtype)

    def gather(step: int) -> Batch:
        indices = batch_indices(len(labels), batch_size, seed, step)
        np.take(examples, indices, axis=0, out=batch, mode="clip")  # "clip" writes straight into `out`
        return batch, labels[indices]

    return gather


@contextmanager
def prefetching(
    split: Split, batch_size: int, seed: int, dtype: str = "float32", *, ahead: int = 2
) -> Iterator[Gather]:
    """Give a function like that of `make_gather` whose batches a thread gathers up to `ahead` steps early.

    It is to be called for steps 0, 1, 2, ... in order, and gives the same batches. It pays where gathering takes a good
    part of a step (slow storage, large examples) and there is a core for it; for data in memory the hand-over costs
    more than it saves, which `refplay throughput` measures. Source: playbook, "Optimizing the input pipeline".

    >>> split = Split(np.arange(5, dtype=np.float32)[:, None], np.arange(5))
    >>> with prefetching(split, 3, seed=0) as gather:
    ...     [gather(step)[1].tolist() for step in range(3)]
    [[0, 4, 3], [1, 2, 0], [1, 4, 2]]
    """
    # One array more than there are batches in waiting: the one that the training step works on.
    gathers = [make_gather(split, batch_size, seed, dtype) for _ in range(ahead + 1)]
    with ThreadPoolExecutor(1, "refplay-prefetch") as thread:
        def order(step: int) -> Future[Batch]:
            return thread.submit(gathers[step % len(gathers)], step)

        waiting = deque(order(step) for step in range(ahead))

        def gather(step: int) -> Batch:
            # The array ordered now is that of the step before, which is done.
            batch = waiting.popleft().result()
            waiting.append(order(step + ahead))
            return batch

        yield gather

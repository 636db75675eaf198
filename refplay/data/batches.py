"""Batches of training and of evaluation, without state."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from refplay.data.dataset import Split
from refplay.errors import InputError
from refplay.seeds import generator


def batch_indices(n: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    r"""Return which examples make the training batch of step `step`.

    The epochs' permutations, laid end to end, are cut into batches. With :math:`\pi_e` the permutation of epoch
    :math:`e` and :math:`B` the batch size, place :math:`j` of the batch of step :math:`t` holds

    .. math::
        i_{t,j} = \pi_{\lfloor p / n \rfloor}(p \bmod n), \quad p = t B + j

    so every epoch visits every example exactly once, whatever the batch size; a batch may end one epoch and begin the
    next. It is a pure function: a run that resumes at a step gets the batches that it would have had.

    Parameters
    ----------
    n : int
        Number of training examples.
    batch_size : int, 1 to n
        B.
    seed : int
        Of the shuffle.
    step : int, 0 or more
        t, counted from the start of training.

    Returns
    -------
    int64[batch_size]

    Raises
    ------
    InputError
        The batch size is below 1 or above n.

    >>> [batch_indices(5, 3, seed=0, step=t).tolist() for t in range(3)]
    [[0, 4, 3], [1, 2, 0], [1, 4, 2]]
    """
    if not 1 <= batch_size <= n:
        raise InputError(f"batch size {batch_size} does not fit a training set of {n} examples; give 1 to {n}")
    if step < 0:
        raise ValueError(f"step must be 0 or more, got {step}")
    epoch, start = divmod(step * batch_size, n)
    first = _permutation(n, seed, epoch)[start : start + batch_size]
    rest = batch_size - len(first)
    return np.concatenate([first, _permutation(n, seed, epoch + 1)[:rest]]) if rest else first.copy()


@lru_cache(maxsize=8)  # the steps of an epoch share its permutation; two epochs for each of a few interleaved trials
def _permutation(n: int, seed: int, epoch: int) -> np.ndarray:
    permutation = generator(seed, "shuffle", epoch).permutation(n).astype(np.int64)
    permutation.setflags(write=False)
    return permutation


def evaluation_batches(split: Split, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield the examples in order, in batches of one size; the last one is padded with examples of zero weight.

    A mean over the set is `sum(weight * metric) / sum(weight)`; it does not depend on the batch size. Source: playbook,
    "Setting up periodic evaluations".

    Parameters
    ----------
    split : Split
        What to evaluate on.
    batch_size : int, 1 or more
        May be larger than the set.

    Yields
    ------
    x : float32[batch_size, ...]
        A view of the split, except for a padded batch; padding is zeros.
    y : int64[batch_size]
        Padding is class 0.
    weights : float32[batch_size]
        1 for an example, 0 for padding.

    Raises
    ------
    InputError
        A batch size below 1 or an empty set.

    >>> split = Split(np.ones((3, 1), np.float32), np.array([1, 0, 1]))
    >>> [(y.tolist(), w.tolist()) for x, y, w in evaluation_batches(split, 2)]
    [([1, 0], [1.0, 1.0]), ([1, 0], [1.0, 0.0])]
    """
    n = len(split.y)
    if batch_size < 1:
        raise InputError(f"evaluation batch size {batch_size}; give at least 1")
    if n == 0:
        raise InputError("an empty set cannot be evaluated; give at least one example")
    return _padded(split, batch_size)  # a generator of its own, so that the errors above come at the call


def _padded(split: Split, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    ones = np.ones(batch_size, split.x.dtype)
    for start in range(0, len(split.y), batch_size):
        x, y = split.x[start : start + batch_size], split.y[start : start + batch_size]
        padding = batch_size - len(y)
        if not padding:
            yield x, y, ones
            continue
        weights = ones.copy()
        weights[len(y) :] = 0
        zeros = np.zeros((padding, *x.shape[1:]), x.dtype)
        yield np.concatenate([x, zeros]), np.concatenate([y, np.zeros(padding, y.dtype)]), weights

"""Stratified splits: hold out every sixth example of each class, chosen by seed."""

import numpy as np

from refplay.seeds import generator

# Each held-out set takes one example in six: 10,000 of the 60,000 of MNIST, 300 of the 1,797 digits.
ONE_IN = 6


def split_indices(y: np.ndarray, held_out: int, seed: int) -> tuple[np.ndarray, ...]:
    """Split examples into a training set and `held_out` sets of one sixth each, with the same class proportions.

    The examples are shuffled, brought into the order of their classes, and dealt out like cards, so every set gets its
    share of each class to within one example. Another seed deals other sets: that is how the share of trial variance
    that comes from the choice of data is measured (playbook, "Determining whether to adopt a training pipeline change
    or hyperparameter configuration").

    Parameters
    ----------
    y : int64[N]
        Class numbers.
    held_out : int, 0 to 5
        How many sets to hold out.
    seed : int
        Of the shuffle.

    Returns
    -------
    tuple of int64 arrays
        Indices of the training set and then of each held-out set, each increasing; together they are 0..N-1 once each.

    >>> train, valid, test = split_indices(np.repeat([0, 1], 9), held_out=2, seed=0)
    >>> len(train), len(valid), len(test)
    (12, 3, 3)
    """
    shuffled = generator(seed, "split").permutation(len(y))
    by_class = shuffled[np.argsort(y[shuffled], kind="stable")]
    hand = np.arange(len(y)) % ONE_IN  # who gets the i-th card; the training set takes all hands from held_out on
    return (np.sort(by_class[hand >= held_out]), *(np.sort(by_class[hand == k]) for k in range(held_out)))

"""Batches: each example once an epoch, by a pure function; evaluation that does not see its batch size."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from refplay.data import Split, batch_indices, evaluation_batches
from refplay.errors import InputError

SIZES = st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n)))
SEEDS = st.integers(0, 2**63 - 1)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(SIZES, SEEDS, st.integers(1, 5))
def test_every_epoch_is_the_data_set_exactly_once(sizes, seed, epochs):
    n, batch_size = sizes
    steps = -(-n * epochs // batch_size)
    stream = np.concatenate([batch_indices(n, batch_size, seed, step) for step in range(steps)])
    assert stream.dtype == np.int64
    assert len(stream) == steps * batch_size
    for epoch in range(epochs):
        np.testing.assert_array_equal(np.sort(stream[epoch * n : (epoch + 1) * n]), np.arange(n))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(SIZES, SEEDS, st.lists(st.integers(0, 500), min_size=1, max_size=10))
def test_pure_function_in_any_order_of_calls(sizes, seed, steps):
    n, batch_size = sizes
    forward = {step: batch_indices(n, batch_size, seed, step) for step in sorted(steps)}
    for step in reversed(steps):
        np.testing.assert_array_equal(batch_indices(n, batch_size, seed, step), forward[step])


def test_batches_do_not_depend_on_the_batch_size():
    small = np.concatenate([batch_indices(30, 5, 7, step) for step in range(12)])
    large = np.concatenate([batch_indices(30, 12, 7, step) for step in range(5)])
    np.testing.assert_array_equal(small, large)


def test_epochs_and_seeds_differ():
    first, second = (batch_indices(100, 100, 0, step) for step in (0, 1))
    other = batch_indices(100, 100, 1, 0)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_shuffle_is_uniform():
    # Place of example 0 over 2,000 seeds: chi-squared over 8 places with 7 degrees of freedom; 24.3 is its 99.9% point.
    places = [int(np.flatnonzero(batch_indices(8, 8, seed, 0) == 0)[0]) for seed in range(2000)]
    counts = np.bincount(places, minlength=8)
    assert ((counts - 250) ** 2 / 250).sum() < 24.3


def test_writing_into_a_batch_leaves_the_next_call_alone():
    before = batch_indices(6, 6, 3, 0)
    kept = before.copy()
    before[:] = 0
    np.testing.assert_array_equal(batch_indices(6, 6, 3, 0), kept)


@pytest.mark.parametrize("batch_size", [0, -1, 11, 1000])
def test_batch_size_that_does_not_fit(batch_size):
    with pytest.raises(InputError, match=rf"batch size {batch_size} .* 10 examples; give 1 to 10"):
        batch_indices(10, batch_size, 0, 0)


def test_negative_step():
    with pytest.raises(ValueError, match="step must be 0 or more"):
        batch_indices(10, 5, 0, -1)


def classifier(n, seed):
    """A linear classifier on random data: float32 images, and what it must score in exact sums over single examples."""
    rng = np.random.default_rng(seed)
    split = Split(rng.normal(1, 2, (n, 3, 2, 2)).astype(np.float32), rng.integers(0, 5, n))
    w, b = rng.normal(size=(12, 5)), rng.normal(size=5)

    def score(x, y):
        # One dot product per example: BLAS may sum in another order for another number of rows.
        logits = np.stack([np.sum(row.reshape(12, 1).astype(np.float64) * w, axis=0) + b for row in x])
        loss = -log_softmax(logits, axis=1)[np.arange(len(y)), y]
        return loss, (logits.argmax(axis=1) != y).astype(float)

    return split, score


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 50), st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_loss_and_error_do_not_depend_on_the_evaluation_batch_size(n, batch_size, seed):
    split, score = classifier(n, seed)
    truth = [math.fsum(values) / n for values in score(*split)]
    loss, error, total = [], [], []
    for x, y, weights in evaluation_batches(split, batch_size):
        assert len(x) == len(y) == len(weights) == batch_size
        assert x.flags.c_contiguous
        assert weights.dtype == x.dtype == np.float32
        losses, errors = score(x, y)
        loss += (weights.astype(np.float64) * losses).tolist()
        error += (weights.astype(np.float64) * errors).tolist()
        total += weights.tolist()
    # fsum rounds once, so equality is exact
    assert [math.fsum(loss) / math.fsum(total), math.fsum(error) / math.fsum(total)] == truth
    assert math.fsum(total) == n


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 50), st.integers(1, 70))
def test_evaluation_keeps_the_order_and_loses_nothing(n, batch_size):
    split = Split(np.arange(1, n + 1, dtype=np.float32)[:, None], np.arange(n) % 3)
    batches = list(evaluation_batches(split, batch_size))
    x, y, w = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    np.testing.assert_array_equal(x[w > 0], split.x)
    np.testing.assert_array_equal(y[w > 0], split.y)
    assert (x[w == 0] == 0).all()
    assert set(w.tolist()) <= {0.0, 1.0}
    assert len(batches) == -(-n // batch_size)


def test_full_batches_are_views():
    split = Split(np.ones((6, 2), np.float32), np.zeros(6, np.int64))
    assert all(np.shares_memory(x, split.x) for x, _, _ in evaluation_batches(split, 3))


@pytest.mark.parametrize("batch_size", [0, -3])
def test_evaluation_batch_size_below_one(batch_size):
    with pytest.raises(InputError, match=f"evaluation batch size {batch_size}"):
        evaluation_batches(Split(np.ones((6, 2), np.float32), np.zeros(6, np.int64)), batch_size)


def test_evaluation_of_an_empty_set():
    with pytest.raises(InputError, match="empty set"):
        evaluation_batches(Split(np.ones((0, 2), np.float32), np.zeros(0, np.int64)), 3)

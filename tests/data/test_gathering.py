"""Gathered batches are the examples that `batch_indices` names, ahead of time or not."""

import time

import numpy as np
import pytest

from refplay.data import Split, batch_indices, make_gather, prefetching

N = 23


@pytest.fixture
def split() -> Split:
    rng = np.random.default_rng(3)
    return Split(rng.random((N, 4, 3, 2), dtype=np.float32), rng.integers(0, 5, N))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_batch_holds_the_examples_of_its_indices(split: Split, dtype: str) -> None:
    gather = make_gather(split, 7, seed=11, dtype=dtype)
    for step in (0, 1, 5, 2):  # any order: it is a function of the step
        x, y = gather(step)
        indices = batch_indices(N, 7, 11, step)
        np.testing.assert_array_equal(x, split.x[indices])
        np.testing.assert_array_equal(y, split.y[indices])
        assert x.dtype == dtype
        assert x.flags.c_contiguous


def test_batches_go_into_one_array(split: Split) -> None:
    gather = make_gather(split, 7, seed=11)
    assert gather(0)[0] is gather(1)[0]


@pytest.mark.parametrize("ahead", [1, 2, 5])
def test_prefetched_batches_are_the_same_while_they_are_used(split: Split, ahead: int) -> None:
    plain = make_gather(split, 7, seed=11)
    with prefetching(split, 7, seed=11, ahead=ahead) as gather:
        for step in range(20):
            x, y = gather(step)
            time.sleep(0.002)  # the thread runs ahead meanwhile and must not touch this batch
            np.testing.assert_array_equal(x, plain(step)[0])
            np.testing.assert_array_equal(y, plain(step)[1])


def test_an_error_of_the_thread_comes_out_in_the_loop(split: Split) -> None:
    with pytest.raises(ValueError, match="batch size 24 does not fit"), prefetching(split, N + 1, seed=0) as gather:
        gather(0)

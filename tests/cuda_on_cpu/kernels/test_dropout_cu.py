"""dropout.cu: the mask of the reference bit for bit, by value and from a counter in memory."""

import numpy as np
import pytest

from refplay.kernels.philox import MASK, philox4x32, threshold

SEED, STEP, LAYER = 2**64 - 12345, 2**32 - 1, 7


def run(launch, x, y, rate, step=STEP, step_at=None):
    launch(f"dropout.dropout_{x.dtype}", x.size // 4096 + 1, x, y, x.size, 1 / (1 - rate), threshold(rate), SEED & MASK,
           SEED >> 32, step, step_at, LAYER)  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("offsets", [(0, 0), (1, 1), (0, 1), (2, 0)])
@pytest.mark.parametrize("n", [0, 1, 5, 1023, 4096, 4099])
def test_mask_and_scale(launch, shifted, reference, n, offsets, dtype):
    x, expected = shifted(np.random.default_rng(n).normal(1, 1, n).astype(dtype), offsets[0]), np.empty(n, dtype)
    y = shifted(np.full(n, np.nan, dtype), offsets[1])
    reference.dropout_forward(x, expected, 0.3, SEED, STEP, LAYER)
    run(launch, x, y, 0.3)
    np.testing.assert_array_equal(y, expected)
    run(launch, x, x, 0.3)
    np.testing.assert_array_equal(x, expected)


def test_the_step_is_read_from_memory_where_a_place_is_given(launch, reference):
    x, y, expected, counter = np.ones(50, "f4"), np.zeros(50, "f4"), np.zeros(50, "f4"), np.array([3])
    for step in (3, 4):  # a replayed graph has the same arguments, and a counter that went on
        run(launch, x, y, 0.5, step=99, step_at=counter)
        reference.dropout_forward(x, expected, 0.5, SEED, step, LAYER)
        np.testing.assert_array_equal(y, expected)
        counter += 1


def test_a_word_that_equals_the_threshold_keeps_its_value(launch, reference):
    words = philox4x32((0, 0, STEP, LAYER), (SEED & MASK, SEED >> 32))
    x, y, expected = np.ones(4, "f4"), np.zeros(4, "f4"), np.zeros(4, "f4")
    for j, word in enumerate(words):
        run(launch, x, y, word / 2**32)  # exact
        reference.dropout_forward(x, expected, word / 2**32, SEED, STEP, LAYER)
        np.testing.assert_array_equal(y, expected)
        assert y[j] > 0


def test_rates_at_both_ends_and_nan_that_is_dropped(launch):
    x, y = np.full(4100, np.nan, "f4"), np.ones(4100, "f4")
    run(launch, x, y, 1 - 2**-53)
    np.testing.assert_array_equal(y, 0)
    x[:] = 2.0
    run(launch, x, y, 0.0)
    np.testing.assert_array_equal(y, x)

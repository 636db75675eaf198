"""Dropout's mask: which word of Philox goes to which element, and how the kept ones are scaled."""

import numpy as np
import pytest

from refplay.kernels.philox import philox4x32

SEED, STEP, LAYER = 0x299F31D0A4093822, 0x13198A2E, 0x03707344  # every half of every number matters


def _mask(kernels, n, rate, seed=SEED, step=STEP, layer=LAYER, dtype="float64"):
    y = np.empty(n, dtype)
    kernels.dropout_forward(np.ones(n, dtype), y, rate, seed, step, layer)
    return y != 0


def test_first_elements_follow_the_known_answer_of_random123(reference):
    # Counter and key 0 give 6627e8d5 e169c58d bc57ac4c 9b00dbd8: 0.399, 0.880, 0.736 and 0.605 of 2**32.
    for rate, kept in [(0.39, [1, 1, 1, 1]), (0.5, [0, 1, 1, 1]), (0.7, [0, 1, 1, 0]), (0.8, [0, 1, 0, 0])]:
        np.testing.assert_array_equal(_mask(reference, 4, rate, 0, 0, 0), np.array(kept, bool))
    # An element whose word is the threshold itself is kept.
    assert _mask(reference, 1, 0x6627E8D5 / 2**32, 0, 0, 0)[0]
    assert not _mask(reference, 1, 0x6627E8D6 / 2**32, 0, 0, 0)[0]


def test_element_i_takes_word_i_mod_4_of_block_i_div_4(reference):
    n, rate = 23, 0.6
    expected = []
    for i in range(n):
        block = philox4x32((i // 4, 0, STEP, LAYER), (SEED & 0xFFFFFFFF, SEED >> 32))
        expected.append(block[i % 4] >= round(0.6 * 2**32))
    np.testing.assert_array_equal(_mask(reference, n, rate), expected)


def test_golden_mask(reference):
    """Fixed once, so that the masks of a recorded trial stay what they were in later versions."""
    kept = _mask(reference, 32, 0.4, seed=2**40 + 3, step=7, layer=2)
    assert "".join(str(int(k)) for k in kept) == "10111100010111001110011111011010"


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.9])
def test_dropout_drops_its_rate_and_keeps_the_mean(reference, rate):
    n = 200_000
    x, y = np.full(n, 3.0), np.empty(n)
    reference.dropout_forward(x, y, rate, SEED, STEP, LAYER)
    five_sigma = 5 * np.sqrt(rate * (1 - rate) / n)
    assert abs((y == 0).mean() - rate) <= five_sigma
    assert abs(y.mean() - 3) <= 3 / (1 - rate) * five_sigma


@pytest.mark.parametrize("other", [{"seed": SEED + 1}, {"seed": SEED ^ (1 << 40)}, {"step": STEP + 1}, {"layer": 0}])
def test_masks_of_other_seeds_steps_and_layers_are_unrelated(reference, other):
    n, rate = 100_000, 0.3
    agree = (_mask(reference, n, rate) == _mask(reference, n, rate, **other)).mean()
    chance = rate**2 + (1 - rate) ** 2
    assert abs(agree - chance) <= 5 * np.sqrt(chance * (1 - chance) / n)


def test_neighbours_are_uncorrelated(reference):
    n, rate = 100_000, 0.3
    kept = _mask(reference, n, rate)
    for lag in (1, 2, 3, 4, 8):
        both = (kept[lag:] & kept[:-lag]).mean()
        assert abs(both - (1 - rate) ** 2) <= 5 * np.sqrt((1 - rate) ** 2 / n)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_forward_and_backward_share_mask_and_scale(reference, rng, dtype):
    x = rng.normal(size=(3, 5, 7)).astype(dtype)
    y, dx = np.empty_like(x), np.empty_like(x)
    reference.dropout_forward(x, y, 0.3, SEED, STEP, LAYER)
    reference.dropout_backward(x, dx, 0.3, SEED, STEP, LAYER)
    np.testing.assert_array_equal(y, dx)
    kept = _mask(reference, x.size, 0.3).reshape(x.shape)  # the mask knows neither dtype nor shape
    np.testing.assert_array_equal(y, np.where(kept, x * np.dtype(dtype).type(1 / 0.7), 0))


def test_dropout_in_place(reference, rng):
    x = rng.normal(size=9)
    y = np.empty_like(x)
    reference.dropout_forward(x, y, 0.5, 1, 2, 3)
    reference.dropout_forward(x, x, 0.5, 1, 2, 3)
    np.testing.assert_array_equal(x, y)


def test_rate_zero_keeps_everything_and_a_rate_of_almost_one_nothing(reference, rng):
    x, y = rng.normal(size=1000), np.empty(1000)
    reference.dropout_forward(x, y, 0.0, SEED, STEP, LAYER)
    np.testing.assert_array_equal(y, x)
    reference.dropout_forward(x, y, 1 - 2**-53, SEED, STEP, LAYER)
    np.testing.assert_array_equal(y, 0)


def test_dropped_elements_are_zero_whatever_they_were(reference):
    x, y = np.full(4, np.nan), np.empty(4)
    reference.dropout_forward(x, y, 0.7, 0, 0, 0)
    np.testing.assert_array_equal(y, [0, np.nan, np.nan, 0])

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from refplay import kernels
from refplay.kernels.numba_cpu import dropout
from refplay.kernels.philox import philox4x32

NUMBA = kernels.load("numba")
drawn = settings(derandomize=True, deadline=None, max_examples=80)
words = st.integers(0, 2**32 - 1)
PER_BLOCK = 4 * dropout.LANES


@drawn
@given(
    shape=st.lists(st.integers(0, 12), max_size=3).map(tuple), dtype=st.sampled_from(["float32", "float64"]),
    rate=st.sampled_from([0.0, 1e-9, 0.1, 0.5, 0.999]), seed=st.integers(0, 2**64 - 1), step=words, layer=words,
)  # fmt: skip
@example(shape=(PER_BLOCK - 1,), dtype="float32", rate=0.3, seed=2**64 - 1, step=2**32 - 1, layer=2**32 - 1)
@example(shape=(PER_BLOCK,), dtype="float64", rate=0.3, seed=2**63, step=2**31, layer=1)
@example(shape=(3 * PER_BLOCK + 1,), dtype="float32", rate=0.3, seed=2**32, step=0, layer=2**31)
@example(shape=(dropout.CHUNK + 1,), dtype="float32", rate=0.3, seed=2**64 - 1, step=2**32 - 1, layer=2**32 - 1)
@example(shape=(2 * dropout.BLOCK + 4 * dropout.CHUNK - 1,), dtype="float32", rate=0.7, seed=3, step=1, layer=0)
@example(shape=(99,), dtype="float32", rate=1 - 2.0**-40, seed=3, step=1, layer=0)  # its threshold has 33 bits
def test_dropout_is_the_reference_bit_for_bit(reference, shape, dtype, rate, seed, step, layer):
    x = np.asarray(np.random.default_rng(len(shape)).normal(0.3, 1.0, shape).astype(dtype))
    for name in ("dropout_forward", "dropout_backward"):
        y, expected, in_place = np.full_like(x, np.nan), np.empty_like(x), x.copy()
        getattr(NUMBA, name)(x, y, rate, seed, step, layer)
        getattr(reference, name)(x, expected, rate, seed, step, layer)
        assert y.tobytes() == expected.tobytes()
        getattr(NUMBA, name)(in_place, in_place, rate, seed, step, layer)
        assert in_place.tobytes() == expected.tobytes()


# kat_vectors of Random123, philox4x32 with 10 rounds: counter, key, result
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_compiled_philox_gives_the_published_words(counter, key, expected):
    assert tuple(int(w) for w in dropout._philox(*(np.uint64(w) for w in (*counter, *key)))) == expected


@pytest.mark.parametrize("first", [0, 2**32 - dropout.LANES // 2, 2**40 + 3])
def test_blocks_beyond_2_to_the_32_carry_into_the_second_word(first):
    blocks = np.empty((dropout.LANES, 4), np.uint32)
    dropout._fill(blocks, first, (5, 6), (7, 8))
    for lane in (0, 1, dropout.LANES // 2 - 1, dropout.LANES // 2, dropout.LANES - 1):
        block = first + lane
        assert tuple(int(w) for w in blocks[lane]) == philox4x32((block % 2**32, block >> 32, 7, 8), (5, 6))


@pytest.mark.parametrize("index", [0, 1, 2, 3, 7])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_word_that_equals_the_threshold_is_kept_and_the_one_below_dropped(index, dtype):
    word = philox4x32((index // 4, 0, 8, 9), (6, 0))[index % 4]
    for threshold, kept in ((word, True), (word + 1, False)):
        x, y = np.ones(8, dtype), np.empty(8, dtype)
        NUMBA.dropout_forward(x, y, threshold / 2**32, 6, 8, 9)
        assert (y[index] != 0) == kept


def test_a_dropped_nan_is_zero_and_a_kept_one_stays():
    x, y, ones, mask = np.full(999, np.nan), np.empty(999), np.ones(999), np.empty(999)
    NUMBA.dropout_forward(x, y, 0.5, 1, 2, 3)
    NUMBA.dropout_forward(ones, mask, 0.5, 1, 2, 3)
    np.testing.assert_array_equal(np.isnan(y), mask != 0)
    np.testing.assert_array_equal(y[mask == 0], 0)
    assert 400 < (mask == 0).sum() < 600  # 16 standard deviations would be 253

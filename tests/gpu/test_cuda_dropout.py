"""Dropout on the GPU: bit for bit the reference, and Philox against the published words."""

import numpy as np
import pytest

from refplay.kernels.philox import philox4x32

PER_BLOCK = 1024  # values of a block of threads
LARGEST = (2**64 - 1, 2**32 - 1, 2**32 - 1)
CASES = [
    ((), 0.3, (0, 0, 0)),
    ((0,), 0.3, (1, 2, 3)),
    ((7, 3), 0.0, (5, 1, 2)),
    ((2, 5, 3), 1e-9, (5, 1, 2)),
    ((PER_BLOCK - 1,), 0.3, LARGEST),
    ((PER_BLOCK,), 0.5, (2**63, 2**31, 1)),
    ((PER_BLOCK + 1,), 0.1, (2**32, 0, 2**31)),
    ((13, 199), 0.999, (3, 1, 0)),
    ((99,), 1 - 2.0**-40, (3, 1, 0)),  # its threshold has 33 bits
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("shape", "rate", "place"), CASES)
def test_dropout_is_the_reference_bit_for_bit(run, gpu, reference, rng, shape, rate, place, dtype):
    x = np.asarray(rng.normal(0.3, 1.0, shape).astype(dtype))
    for name in ("dropout_forward", "dropout_backward"):
        y, expected = np.full_like(x, np.nan), np.empty_like(x)
        run(name, x, y, rate, *place)
        getattr(reference, name)(x, expected, rate, *place)
        assert y.tobytes() == expected.tobytes()
        in_place = gpu.asarray(x)
        getattr(gpu, name)(in_place, in_place, rate, *place)
        assert gpu.to_host(in_place).tobytes() == expected.tobytes()


def words_of(gpu, block, counter, key):
    """Return what the device function makes of a block, through a kernel of one thread."""
    from refplay.kernels.numba_cuda.device import kernel, launch
    from refplay.kernels.numba_cuda.dropout import philox

    @kernel
    def write(numbers, counter, key, words):
        c0, c1, c2, c3 = philox(numbers[0], counter, key)
        words[0], words[1], words[2], words[3] = c0, c1, c2, c3

    words = gpu.zeros(4, "int64")
    launch(write, 1, 1, gpu.asarray(np.array([block])), tuple(map(np.uint32, counter)), tuple(map(np.uint32, key)),
           words)  # fmt: skip
    return tuple(gpu.to_host(words).tolist())


@pytest.mark.numba_cuda
def test_philox_on_the_gpu_gives_the_published_words(gpu):
    """The vectors of Random123 whose counters fit: a block number is below 2^63 here."""
    assert words_of(gpu, 0, (0, 0), (0, 0)) == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
    first, second = 0x243F6A88, 0x85A308D3
    counter, key = (0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0)
    assert words_of(gpu, first | (second - 2**32) << 32, counter, key) == (
        0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1,
    )  # fmt: skip
    assert words_of(gpu, -1, (2**32 - 1,) * 2, (2**32 - 1,) * 2) == (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)


@pytest.mark.numba_cuda
@pytest.mark.parametrize("block", [2**32 - 1, 2**32, 2**40 + 3])
def test_blocks_beyond_2_to_the_32_carry_into_the_second_word(gpu, block):
    assert words_of(gpu, block, (7, 8), (5, 6)) == philox4x32((block % 2**32, block >> 32, 7, 8), (5, 6))


@pytest.mark.parametrize("index", [0, 1, 2, 3, 7, PER_BLOCK + 6])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_word_that_equals_the_threshold_is_kept_and_the_one_below_dropped(run, index, dtype):
    word = philox4x32((index // 4, 0, 8, 9), (6, 0))[index % 4]
    for threshold, kept in ((word, True), (word + 1, False)):
        x, y = np.ones(index + 1, dtype), np.empty(index + 1, dtype)
        run("dropout_forward", x, y, threshold / 2**32, 6, 8, 9)
        assert (y[index] != 0) == kept


def test_a_dropped_nan_is_zero_and_a_kept_one_stays(run):
    x, y, ones, mask = np.full(999, np.nan), np.empty(999), np.ones(999), np.empty(999)
    run("dropout_forward", x, y, 0.5, 1, 2, 3)
    run("dropout_forward", ones, mask, 0.5, 1, 2, 3)
    np.testing.assert_array_equal(np.isnan(y), mask != 0)
    np.testing.assert_array_equal(y[mask == 0], 0)
    assert 400 < (mask == 0).sum() < 600  # 16 standard deviations would be 253


@pytest.mark.gpu
def test_a_long_vector_is_the_reference_bit_for_bit(run, reference, rng):
    x = rng.normal(0.3, 1.0, 2**24 + 5).astype("f4")
    y, expected = np.empty_like(x), np.empty_like(x)
    run("dropout_forward", x, y, 0.3, 2**64 - 1, 5, 6)
    reference.dropout_forward(x, expected, 0.3, 2**64 - 1, 5, 6)
    assert y.tobytes() == expected.tobytes()

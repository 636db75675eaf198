"""philox.cuh: the known answers of Random123 (its file kat_vectors), and the words of kernels/philox.py."""

from pathlib import Path

import numpy as np

from cuda_on_cpu.launch import load
from refplay.kernels.philox import philox4x32

KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text: list[str]) -> np.ndarray:
    return np.array([[int(word, 16) for word in line.split()] for line in text], np.uint32)


def philox(counters: np.ndarray, keys: np.ndarray) -> np.ndarray:
    out = np.zeros_like(counters)
    kernel = load(Path(__file__).with_name("philox.cu")).get_function("words")
    kernel((-(-len(out) // 64),), (64,), (counters, keys, out, len(out)))
    return out


def test_known_answers() -> None:
    counters, keys, answers = (words(list(column)) for column in zip(*KNOWN, strict=True))
    np.testing.assert_array_equal(philox(counters, keys), answers)


def test_the_words_of_the_other_backends() -> None:
    rng = np.random.default_rng(5)
    counters = rng.integers(0, 2**32, (200, 4), np.uint32)
    key = (0x12345678, 0x9ABCDEF0)
    expected = philox4x32(tuple(counters.T.astype(np.uint64)), key)
    got = philox(counters, np.broadcast_to(np.array(key, np.uint32), (200, 2)).copy())
    np.testing.assert_array_equal(got.T, expected)

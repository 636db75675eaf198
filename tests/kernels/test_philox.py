"""Philox4x32-10 against the known-answer vectors of Random123 (its file tests/kat_vectors)."""

import numpy as np
import pytest

from refplay.kernels.philox import philox4x32, threshold

KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def _words(text):
    return tuple(int(word, 16) for word in text.split())


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_known_answers_of_random123(counter, key, answer):
    assert philox4x32(_words(counter), _words(key)) == _words(answer)


def test_known_answers_of_random123_for_arrays_of_counters():
    key = _words(KNOWN_ANSWERS[2][1])
    counters = [_words(counter) for counter, _, _ in KNOWN_ANSWERS]
    answers = philox4x32(tuple(np.array(words, np.uint64) for words in zip(*counters, strict=True)), key)
    assert tuple(int(word[2]) for word in answers) == _words(KNOWN_ANSWERS[2][2])
    for i, counter in enumerate(counters):  # and each block is computed as if it were alone
        assert tuple(int(word[i]) for word in answers) == philox4x32(counter, key)


@pytest.mark.parametrize(
    ("rate", "words"), [(0.0, 0), (0.5, 2**31), (0.1, 429496730), (1 - 2**-32, 2**32 - 1), (1 - 2**-53, 2**32)]
)
def test_threshold_is_the_rate_in_words(rate, words):
    assert threshold(rate) == words

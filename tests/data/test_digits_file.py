"""The embedded digits are scikit-learn's, bit for bit, and their split is what it says."""

from importlib.resources import files

import numpy as np
import pytest
from sklearn.datasets import load_digits as sklearn_digits

from refplay.data import load_dataset
from refplay.data.digits import raw_digits


def test_embedded_digits_equal_scikit_learn_bit_for_bit():
    truth = sklearn_digits()
    images, labels = raw_digits()
    assert images.dtype == labels.dtype == np.uint8
    np.testing.assert_array_equal(images, truth.images)
    np.testing.assert_array_equal(labels, truth.target)


def test_file_is_small_and_its_licence_lies_beside_it():
    folder = files("refplay.data")
    assert len(folder.joinpath("digits.npz").read_bytes()) < 60_000
    notice = folder.joinpath("DIGITS.md").read_text(encoding="utf-8")
    for part in ("CC BY 4.0", "https://creativecommons.org/licenses/by/4.0/", "Alpaydin", "https://doi.org/10.24432/C50P49"):
        assert part in notice


def test_every_digit_is_in_exactly_one_part_scaled_and_with_its_label():
    truth = sklearn_digits()
    label_of = {(image / 16).astype(np.float32).tobytes(): label
                for image, label in zip(truth.images, truth.target, strict=True)}
    assert len(label_of) == 1797  # no two digits are equal, so an image identifies its example
    data = load_dataset("digits", seed=3)
    assert [len(split.y) for split in (data.train, data.valid, data.test)] == [1197, 300, 300]
    seen = []
    for split in (data.train, data.valid, data.test):
        assert split.x.dtype == np.float32
        assert split.x.shape[1:] == (8, 8, 1)
        assert split.y.dtype == np.int64
        keys = [image.tobytes() for image in split.x]
        assert [label_of[key] for key in keys] == split.y.tolist()
        seen += keys
    assert sorted(seen) == sorted(label_of)
    assert data.classes == 10


@pytest.mark.parametrize("seed", range(5))
def test_split_is_stratified(seed):
    data = load_dataset("digits", seed=seed)
    counts = np.bincount(np.concatenate([data.train.y, data.valid.y, data.test.y]))
    for split, share in ((data.train, 4 / 6), (data.valid, 1 / 6), (data.test, 1 / 6)):
        # dealing 6 hands from a sorted pack: each hand is within one card of its share, the training set has four hands
        assert np.abs(np.bincount(split.y) - counts * share).max() <= (4 if share > 0.5 else 1)


def test_seed_chooses_the_split():
    first, again, other = (load_dataset("digits", seed=seed) for seed in (0, 0, 1))
    for part in ("train", "valid", "test"):
        np.testing.assert_array_equal(getattr(first, part).x, getattr(again, part).x)
    shared = {x.tobytes() for x in first.test.x} & {x.tobytes() for x in other.test.x}
    assert len(shared) < 100  # 50 expected of independent choices: 300 * 300 / 1797

"""The embedded data set: 1,797 handwritten digits of 8x8 pixels, values 0..16.

Source: E. Alpaydin and C. Kaynak (1998), "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository,
https://doi.org/10.24432/C50P49, licence CC BY 4.0; the copy of its test set that scikit-learn's `load_digits` holds,
with pixels and labels as uint8 and otherwise unchanged. See DIGITS.md beside this file.
"""

from importlib.resources import files

import numpy as np

from refplay.data.dataset import Dataset, build

WHITE = 16  # a pixel counts the ink of a 4x4 block


def load_digits(seed: int = 0) -> Dataset:
    """Return the digits, split 1197/300/300 into train, validation and test; another seed gives another split.

    >>> data = load_digits()
    >>> data.train.x.shape, len(data.valid.y), len(data.test.y), float(data.train.x.max())
    ((1197, 8, 8, 1), 300, 300, 1.0)
    """
    images, labels = raw_digits()
    return build({"x_train": images, "y_train": labels}, "digits", "digits", seed, white=WHITE)


def raw_digits() -> tuple[np.ndarray, np.ndarray]:
    """Return the images uint8[1797, 8, 8] with values 0..16, and the labels uint8[1797], in the order of the source."""
    with files("refplay.data").joinpath("digits.npz").open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return arrays["images"], arrays["labels"]

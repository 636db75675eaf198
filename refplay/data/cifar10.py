"""The binary version of CIFAR-10.

Each record is one byte of label and 3,072 bytes of image: 1,024 red, 1,024 green, 1,024 blue, each 32x32 row by row.
Source: A. Krizhevsky (2009), "Learning Multiple Layers of Features from Tiny Images"; the data set's page.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from refplay.errors import InputError

TRAIN = tuple(f"data_batch_{i}.bin" for i in range(1, 6))
TEST = "test_batch.bin"
RECORD = 1 + 3 * 32 * 32
CLASSES = 10


def is_cifar10(folder: Path) -> bool:
    """Whether the folder has any of the training files."""
    return any((folder / name).is_file() for name in TRAIN)


def read_cifar10_folder(folder: Path) -> dict[str, np.ndarray]:
    """Return x_train uint8[N, 32, 32, 3], y_train uint8[N] and, where the folder has them, x_test, y_test.

    Raises
    ------
    InputError
        A training file is missing, a size is not whole records, a label is above 9.
    """
    for name in TRAIN:
        if not (folder / name).is_file():
            raise InputError(f"{folder} has no {name}; CIFAR-10 needs {TRAIN[0]} to {TRAIN[-1]}: unpack it again")
    x, y = zip(*(read_batch(folder / name) for name in TRAIN), strict=True)
    arrays = {"x_train": np.concatenate(x), "y_train": np.concatenate(y)}
    if (folder / TEST).is_file():
        arrays["x_test"], arrays["y_test"] = read_batch(folder / TEST)
    return arrays


def read_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the images uint8[N, 32, 32, 3] (NHWC) and labels uint8[N] of one file."""
    try:
        size = path.stat().st_size
        if size == 0 or size % RECORD:
            raise InputError(f"{path} has {size} bytes, not a whole number of records of {RECORD} bytes; "
                             "download and unpack it again")
        records = np.fromfile(path, np.uint8).reshape(-1, RECORD)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    labels = records[:, 0]
    if (bad := np.flatnonzero(labels >= CLASSES)).size:
        raise InputError(f"{path}: label {labels[bad[0]]} of record {bad[0]} is out of range 0..9; "
                         "is it the binary version of CIFAR-10?")
    return records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), labels.copy()

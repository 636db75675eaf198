"""Data sets as arrays: checked, scaled, split into train, validation and test."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from refplay.data.splits import split_indices
from refplay.errors import InputError

PARTS = ("train", "valid", "test")
ARRAY_NAMES = tuple(f"{axis}_{part}" for part in PARTS for axis in "xy")


class Split(NamedTuple):
    """Examples and their classes."""

    x: np.ndarray  # float32[N, H, W, C] for images (NHWC), float32[N, D] for vectors; C-contiguous
    y: np.ndarray  # int64[N], 0 <= y < classes


class Dataset(NamedTuple):
    """A data set in three parts that share no example."""

    name: str
    train: Split
    valid: Split
    test: Split
    classes: int  # labels run over 0..classes-1


def from_arrays(
    x_train: Any,
    y_train: Any,
    x_valid: Any = None,
    y_valid: Any = None,
    x_test: Any = None,
    y_test: Any = None,
    *,
    name: str = "arrays",
    seed: int = 0,
) -> Dataset:
    """Make a data set of arrays.

    Where the validation or the test set is missing, one sixth of the training examples (of the examples as given) is
    held out for it, stratified by class and chosen by `seed`.

    Parameters
    ----------
    x_train, x_valid, x_test : uint8 or float array [N, H, W, C], [N, H, W] or [N, D]
        uint8 is scaled from 0..255 to [0, 1]; floats are kept, as float32. A missing channel axis is added.
    y_train, y_valid, y_test : integer array [N]
        Class numbers 0, 1, ...
    name : str
        What messages and reports call it.
    seed : int
        Chooses the examples that are held out; without effect when all three parts are given.

    Raises
    ------
    InputError
        Another shape or dtype, NaN or infinity, labels that are not class numbers, lengths that differ, an empty part.

    >>> x = np.arange(24, dtype=np.uint8).reshape(12, 2)
    >>> data = from_arrays(x, [0, 1] * 6)
    >>> [split.x.shape for split in (data.train, data.valid, data.test)], data.classes
    ([(8, 2), (2, 2), (2, 2)], 2)
    """
    given = dict(zip(ARRAY_NAMES, (x_train, y_train, x_valid, y_valid, x_test, y_test), strict=True))
    return build({key: np.asarray(value) for key, value in given.items() if value is not None}, name, name, seed)


def build(arrays: dict[str, np.ndarray], origin: str, name: str, seed: int, white: int = 255) -> Dataset:
    """Make a data set of raw arrays named as in `ARRAY_NAMES`; `origin` is the file or folder that messages name.

    `white` is the uint8 value that becomes 1. Arguments and errors otherwise as in `from_arrays`.
    """
    raw: dict[str, Split] = {}
    for part in PARTS:
        x, y = arrays.get(f"x_{part}"), arrays.get(f"y_{part}")
        if x is not None and y is not None:
            raw[part] = Split(_examples(x, f"x_{part} of {origin}"), _labels(y, f"y_{part} of {origin}"))
            _check_lengths(raw[part], part, origin)
        elif x is not None or y is not None or part == "train":
            lacking = f"x_{part}" if x is None else f"y_{part}"
            raise InputError(f"{origin} has no {lacking}; give x_{part} and y_{part} together")
    shapes = {part: split.x.shape[1:] for part, split in raw.items()}
    if len(set(shapes.values())) > 1:
        raise InputError(f"the examples of {origin} differ in shape: {shapes}; bring them to one shape")
    classes = _count_classes(raw, origin)
    raw = _hold_out(raw, origin, seed)
    train, valid, test = (_finish(raw[part], white) for part in PARTS)
    return Dataset(name, train, valid, test, classes)


def _examples(x: np.ndarray, what: str) -> np.ndarray:
    if x.dtype != np.uint8 and x.dtype.kind != "f":
        raise InputError(f"{what} has dtype {x.dtype}; give uint8 (scaled to [0, 1]) or floats (kept)")
    if x.ndim not in (2, 3, 4) or 0 in x.shape[1:]:
        raise InputError(f"{what} has shape {list(x.shape)}; give [N, H, W, C], [N, H, W] or [N, D]")
    x = x[..., np.newaxis] if x.ndim == 3 else x
    return x if x.dtype == np.uint8 else _finite(x, what)


def _finite(x: np.ndarray, what: str) -> np.ndarray:
    """Return floats as float32; checked before anything is split off, so that the index is that of the user's array."""
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite and is reported
        single = x.astype(np.float32)
    if not np.isfinite(single).all():
        bad = np.argwhere(~np.isfinite(single))
        raise InputError(f"{what}: {len(bad)} values are not finite in float32, the first is {x[tuple(bad[0])]} at "
                         f"index {bad[0].tolist()}; remove or replace them")
    return single


def _labels(y: np.ndarray, what: str) -> np.ndarray:
    if y.ndim != 1:
        raise InputError(f"{what} has shape {list(y.shape)}; give one class number per example, shape [N] "
                         "(of one-hot rows: y.argmax(axis=1))")
    if y.dtype.kind not in "iuf":
        raise InputError(f"{what} has dtype {y.dtype}; give class numbers 0, 1, ... as integers")
    if y.dtype.kind == "f" and (bad := np.flatnonzero(~(y == np.floor(y)) | np.isinf(y))).size:
        raise InputError(f"{what}: label {y[bad[0]]} at index {bad[0]} is not an integer; give class numbers 0, 1, ...")
    if (bad := np.flatnonzero(y < 0)).size:
        raise InputError(f"{what}: label {y[bad[0]]} at index {bad[0]} is negative; give class numbers 0, 1, ...")
    if y.size and y.max() > np.iinfo(np.int64).max // 2:
        raise InputError(f"{what}: label {y.max()} is too large; give class numbers 0, 1, ...")
    return y.astype(np.int64)


def _check_lengths(split: Split, part: str, origin: str) -> None:
    if len(split.x) != len(split.y):
        raise InputError(f"{origin}: {len(split.x)} examples but {len(split.y)} labels in the {part} set; "
                         "each example needs one label")
    if not len(split.x):
        raise InputError(f"{origin}: the {part} set is empty; give at least one example, or leave x_{part} and "
                         f"y_{part} out and they are split off the training set")


def _count_classes(raw: dict[str, Split], origin: str) -> int:
    classes = int(raw["train"].y.max()) + 1
    if classes < 2:
        raise InputError(f"{origin}: all labels of the train set are 0; a classifier needs at least two classes")
    if classes > len(raw["train"].y):
        raise InputError(f"{origin}: the labels reach {classes - 1}, which makes {classes} classes for only "
                         f"{len(raw['train'].y)} training examples; number the classes 0, 1, ... without gaps")
    for part, split in raw.items():
        if (bad := np.flatnonzero(split.y >= classes)).size:
            raise InputError(f"{origin}: label {split.y[bad[0]]} at index {bad[0]} of y_{part} is out of range: "
                             f"the training set has classes 0..{classes - 1}")
    return classes


def _hold_out(raw: dict[str, Split], origin: str, seed: int) -> dict[str, Split]:
    """Split the parts that are missing off the training set. Works on raw data: uint8 is a quarter of float32."""
    missing = [part for part in PARTS if part not in raw]
    if not missing:
        return raw
    train = raw["train"]
    pieces = split_indices(train.y, len(missing), seed)
    if any(not len(piece) for piece in pieces):
        raise InputError(f"{origin}: {len(train.y)} training examples are too few to split off the "
                         f"{' and '.join(missing)} set; give at least {len(missing) + 1}")
    return raw | {part: Split(train.x[piece], train.y[piece])
                  for part, piece in zip(("train", *missing), pieces, strict=True)}


def _finish(split: Split, white: int) -> Split:
    if split.x.dtype == np.uint8:
        return Split(np.divide(split.x, np.float32(white), dtype=np.float32, order="C"), split.y)
    return Split(np.ascontiguousarray(split.x), split.y)

"""One door to all data sets: a name, a folder or a file."""

from __future__ import annotations

import os
from pathlib import Path

from refplay.data.cifar10 import TEST, TRAIN, is_cifar10, read_cifar10_folder
from refplay.data.dataset import Dataset, build
from refplay.data.digits import load_digits
from refplay.data.idx import FILES, find_idx, read_idx_folder
from refplay.data.npz import read_npz
from refplay.errors import InputError


def load_dataset(source: str | os.PathLike[str], *, seed: int = 0) -> Dataset:
    """Load a data set; nothing is ever downloaded.

    Where it has no validation set (or no test set), one sixth of the training examples is split off for it, stratified
    by class and chosen by `seed`.

    Parameters
    ----------
    source : str or path
        ``"digits"`` (embedded); a folder of IDX files (MNIST and kin, ``.gz`` or not); a folder with the binary
        version of CIFAR-10; an ``.npz`` file with ``x_train``, ``y_train`` and optionally ``x_valid``, ``y_valid``,
        ``x_test``, ``y_test``.
    seed : int
        Chooses the examples that are split off.

    Returns
    -------
    Dataset
        Examples float32, images NHWC and in [0, 1]; labels int64.

    Raises
    ------
    InputError
        The source is missing, not one of these, or damaged; the message names the file.

    >>> load_dataset("digits", seed=1).name
    'digits'
    """
    if source == "digits":
        return load_digits(seed)
    path = Path(source).expanduser()
    if path.is_dir():
        return _load_folder(path, seed)
    if not path.exists():
        raise InputError(f"no data set {str(source)!r}: there is no such file or folder; give 'digits', a folder of "
                         "IDX files or of CIFAR-10 (binary version), or an .npz file")
    if path.suffix != ".npz":
        raise InputError(f"{path} is a file but no .npz; give 'digits', a folder of IDX files or of CIFAR-10 (binary "
                         "version), or an .npz file")
    return build(read_npz(path), str(path), path.stem, seed)


def _load_folder(folder: Path, seed: int) -> Dataset:
    if find_idx(folder):
        arrays = read_idx_folder(folder)
    elif is_cifar10(folder):
        arrays = read_cifar10_folder(folder)
    else:
        raise InputError(f"{folder} has no data that refplay knows; looked for IDX files ({', '.join(FILES.values())}, "
                         f"with or without .gz) and for binary CIFAR-10 ({TRAIN[0]} to {TRAIN[-1]}, {TEST})")
    return build(arrays, str(folder), folder.resolve().name, seed)

"""Data sets in one .npz file: x_train, y_train and optionally x_valid, y_valid, x_test, y_test. Never a pickle."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from refplay.data.dataset import ARRAY_NAMES
from refplay.errors import InputError


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of the file whose names are in `ARRAY_NAMES`; other arrays are not read.

    Raises
    ------
    InputError
        The file is no .npz, is damaged, needs pickle, or has an array called x_... or y_... under an unknown name.
    """
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise InputError(f"{path} is not a whole .npz file; write it with numpy.savez")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                _check_names(archive.files, path)
                return {name: _read(archive, name, path) for name in ARRAY_NAMES if name in archive.files}
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise InputError(f"{path} is damaged ({error}); write or download it again") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def _check_names(names: list[str], path: Path) -> None:
    for name in names:
        if name[:2] in ("x_", "y_") and name not in ARRAY_NAMES:
            raise InputError(f"{path} has an array {name}, an unknown name; known are {', '.join(ARRAY_NAMES)}")
    for name in ("x_train", "y_train"):
        if name not in names:
            raise InputError(f"{path} has no {name}, only {', '.join(names) or 'nothing'}; "
                             f"write it with numpy.savez(path, x_train=..., y_train=...)")


def _read(archive: np.lib.npyio.NpzFile, name: str, path: Path) -> np.ndarray:
    try:
        array: np.ndarray = archive[name]
    except ValueError as error:  # a pickled object, or a member that is not a whole .npy
        if "allow_pickle" in str(error):
            raise InputError(f"{path}: {name} holds pickled Python objects, which could run code and are refused; "
                             "save it as a plain array of uint8 or float") from error
        raise InputError(f"{path}: {name} is damaged ({error}); write or download it again") from error
    return array

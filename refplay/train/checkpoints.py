"""Checkpoints: the whole state of a training, the N best and the latest, written so that a crash harms none.

A checkpoint is one `.npz` file without pickle: named arrays, so nothing that is loaded can run code. It is written
under a temporary name, brought to the disk, and renamed: a file with the name of a checkpoint is always whole. The
files of a folder are judged by the `metric` in them (validation error, lower is better), which gives retrospective
selection: train for a fixed number of steps, then take the best. Source: playbook, "Saving checkpoints and
retrospectively selecting the best checkpoint".
"""

from __future__ import annotations

import io
import os
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from refplay.errors import InputError

Arrays = dict[str, np.ndarray]
_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class Checkpoint(NamedTuple):
    """One file of a folder of checkpoints."""

    path: Path
    step: int  # updates done
    metric: float  # at this step; lower is better


def save_checkpoint(folder: Path, step: int, metric: float, arrays: Arrays, *, keep: int) -> Path:
    """Write a checkpoint, then delete those that are neither the latest nor among the `keep` best.

    Raises
    ------
    InputError
        Where the file cannot be written (disk full, no permission). The checkpoints that are there stay as they were.
    """
    path = folder / f"step-{step:09d}.npz"
    buffer = io.BytesIO()
    contents: dict[str, Any] = {**arrays, "step": np.int64(step), "metric": np.float64(metric)}
    np.savez(buffer, **contents)
    try:
        _write_atomically(path, buffer.getbuffer())
        _prune(folder, path, keep)
    except OSError as error:
        raise _unwritable(f"checkpoint {path}", error) from error
    return path


def make_folder(folder: Path) -> None:
    """Make a folder for checkpoints where there is none; InputError where that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(f"checkpoints into {folder}", error) from error


def read_checkpoint(path: Path) -> Arrays:
    """Return the arrays of a checkpoint, all of them held against their checksums; InputError where it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise InputError(f"there is no checkpoint {path}; train first, or give the path of another") from error
    except _DAMAGED as error:
        raise InputError(f"checkpoint {path} is damaged ({error}); delete it") from error


def latest_checkpoint(folder: Path) -> Arrays | None:
    """Return the arrays of the latest readable checkpoint; None where the folder has no checkpoint.

    A damaged one is passed over with a warning. InputError where all are damaged.
    """
    paths = sorted(folder.glob("step-*.npz"), reverse=True)
    for path in paths:
        try:
            return read_checkpoint(path)
        except InputError as error:
            warnings.warn(f"{error}; going back to the one before", RuntimeWarning, stacklevel=2)
    if paths:
        raise InputError(f"no checkpoint of {folder} is readable; delete the folder to train from the beginning")
    return None


def list_checkpoints(folder: Path) -> list[Checkpoint]:
    """Return the checkpoints of a folder, best metric first, the earlier of equal ones first; damaged ones left out."""
    found = []
    for path in folder.glob("step-*.npz"):
        try:
            with np.load(path, allow_pickle=False) as file:
                found.append(Checkpoint(path, int(file["step"]), float(file["metric"])))
        except _DAMAGED:
            continue
    return sorted(found, key=lambda c: (c.metric, c.step))


def best_checkpoint(folder: Path) -> Checkpoint:
    """Return the checkpoint with the lowest metric of a folder; InputError where there is none."""
    found = list_checkpoints(folder)
    if not found:
        raise InputError(f"no readable checkpoint in {folder}; train with this folder first")
    return found[0]


def _unwritable(what: str, error: OSError) -> InputError:
    return InputError(f"cannot write {what}: {error.strerror}; free the disk or choose another folder")


def _write_atomically(path: Path, content: memoryview) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":  # the rename itself is on disk only when the folder is
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _prune(folder: Path, latest: Path, keep: int) -> None:
    for checkpoint in list_checkpoints(folder)[keep:]:
        if checkpoint.path != latest:
            checkpoint.path.unlink()

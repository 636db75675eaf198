"""Checkpoint files: whole or not there, the best ones kept, damage and a full disk survived."""

import errno
import os
import pickle
import resource
from pathlib import Path

import numpy as np
import pytest

from refplay.errors import InputError
from refplay.train import best_checkpoint, latest_checkpoint, list_checkpoints, read_checkpoint
from refplay.train.checkpoints import save_checkpoint

METRICS = {10: 0.5, 20: 0.2, 30: 0.3, 40: 0.2, 50: 0.4}


def save(folder: Path, step: int, metric: float, *, keep: int = 2) -> Path:
    arrays = {"theta": np.full(1000, metric), "name": np.array("digits")}
    return save_checkpoint(folder, step, metric, arrays, keep=keep)


def steps(folder: Path) -> list[int]:
    return sorted(int(path.stem.removeprefix("step-")) for path in folder.iterdir())


def test_the_best_and_the_latest_are_kept(tmp_path: Path) -> None:
    kept = []
    for step, metric in METRICS.items():
        save(tmp_path, step, metric)
        kept.append(steps(tmp_path))
    assert kept == [[10], [10, 20], [20, 30], [20, 40], [20, 40, 50]]


def test_the_best_is_the_lowest_and_the_earlier_of_equal_ones(tmp_path: Path) -> None:
    for step, metric in METRICS.items():
        save(tmp_path, step, metric, keep=9)
    assert [c.step for c in list_checkpoints(tmp_path)] == [20, 40, 30, 50, 10]
    best = best_checkpoint(tmp_path)
    assert (best.step, best.metric) == (20, 0.2)
    arrays = read_checkpoint(best.path)
    assert (arrays["theta"] == 0.2).all()
    assert str(arrays["name"]) == "digits"
    latest = latest_checkpoint(tmp_path)
    assert latest is not None
    assert int(latest["step"]) == 50


def test_a_folder_without_checkpoints(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path) is None
    with pytest.raises(InputError, match="no readable checkpoint"):
        best_checkpoint(tmp_path)
    with pytest.raises(InputError, match=r"there is no checkpoint .*step-7\.npz"):
        read_checkpoint(tmp_path / "step-7.npz")


def truncate_to(fraction: float) -> object:
    def damage(path: Path) -> None:
        content = path.read_bytes()
        path.write_bytes(content[: int(fraction * len(content))])

    return damage


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def replace_by_text(path: Path) -> None:
    path.write_text("not a checkpoint")


DAMAGES = [truncate_to(0), truncate_to(0.5), truncate_to(0.999), flip_a_bit, replace_by_text]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(damage: object, tmp_path: Path) -> None:
    save(tmp_path, 10, 0.5)
    damage(save(tmp_path, 20, 0.2))
    with pytest.warns(RuntimeWarning, match=r"step-000000020\.npz is damaged .*; going back to the one before"):
        latest = latest_checkpoint(tmp_path)
    assert latest is not None
    assert int(latest["step"]) == 10


def test_a_folder_of_damaged_checkpoints_is_refused(tmp_path: Path) -> None:
    for step in (10, 20):
        flip_a_bit(save(tmp_path, step, 0.5))
    with pytest.warns(RuntimeWarning), pytest.raises(InputError, match=r"no checkpoint of .* is readable; delete"):
        latest_checkpoint(tmp_path)


class Exploit:
    """An object whose unpickling makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return os.mkdir, (self.folder,)


def test_nothing_that_is_loaded_can_run_code(tmp_path: Path) -> None:
    proof = tmp_path / "pickle-was-run"
    path = tmp_path / "step-000000010.npz"
    np.savez(path, theta=np.array([Exploit(proof)], dtype=object))
    with pytest.raises(InputError, match="damaged"):
        read_checkpoint(path)
    assert not proof.exists()
    pickle.loads(pickle.dumps(Exploit(proof)))
    assert proof.exists()  # the exploit works where it is let


def test_a_full_disk_is_one_line_and_harms_nothing(tmp_path: Path) -> None:
    """The kernel refuses to write more than 1,000 bytes of a file, as a full disk would, in the middle of it."""
    whole = save(tmp_path, 10, 0.5).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(InputError) as caught:
            save(tmp_path, 20, 0.2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    assert "cannot write checkpoint" in str(caught.value)
    assert "free the disk" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000010.npz"]
    assert (tmp_path / "step-000000010.npz").read_bytes() == whole


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_is_full_at_the_last_moment_leaves_no_half_written_file(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 10, 0.5)

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(InputError, match="No space left on device"):
        save(tmp_path, 20, 0.2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000010.npz"]

"""A training that is interrupted and resumed ends with the bits of one that was not."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refplay import kernels
from refplay.data import Dataset, load_dataset
from refplay.errors import InputError
from refplay.kernels import Backend
from refplay.nn import Network, mlp, resnet
from refplay.optim import RULES, cosine
from refplay.train import (
    Result,
    Training,
    best_checkpoint,
    evaluate,
    fit,
    list_checkpoints,
    load_weights,
    read_checkpoint,
)

IMAGE = (8, 8, 1)
RATES = {"sgd": 0.3, "momentum": 0.05, "nesterov": 0.05, "rmsprop": 0.01, "adam": 0.01, "nadam": 0.01}


def training(rule: str = "adam", **changes: Any) -> Training:
    """Return 30 steps with everything on that carries state; 1197 / 48 steps are an epoch, so it is crossed."""
    settings: dict[str, Any] = {
        "steps": 27, "warmup_steps": 3, "batch_size": 48, "weight_decay": 1e-3, "label_smoothing": 0.1,
        "clip_threshold": 1.0, "polyak_decay": 0.9, "evaluate_every": 6,
    }  # fmt: skip
    return Training(rule, cosine(RATES[rule], 27), **(settings | changes))


def start(k: Backend, seed: int = 0) -> Network:
    return Network(mlp(IMAGE, 10, width=16, normalization="batch", ghost_size=24, dropout=0.3), k, seed=seed)


class Killed(Exception):
    pass


class Reports(list[tuple[int, dict[str, float]]]):
    """Collects reports; dies at the report of a step, before it is kept."""

    def __init__(self, die_at: int | None = None) -> None:
        self.die_at = die_at

    def __call__(self, step: int, /, **metrics: float) -> None:
        if step == self.die_at:
            raise Killed
        self.append((step, metrics))


def bits(network: Network, result: Result) -> dict[str, bytes]:
    curves = {name: curve.steps.tobytes() + curve.values.tobytes() for name, curve in result.curves.items()}
    return curves | {
        "theta": network.theta.tobytes(), "statistics": network.statistics.tobytes(),
        "average": result.network.theta.tobytes(), "best": repr((result.best_step, result.best_error)).encode(),
    }  # fmt: skip


@pytest.mark.parametrize("rule", sorted(RULES))
def test_resumed_twice_it_ends_bit_for_bit_where_the_undisturbed_one_does(
    rule: str, digits: Dataset, numba_kernels: Backend, tmp_path: Path
) -> None:
    undisturbed, reports = start(numba_kernels), Reports()
    expected = bits(undisturbed, fit(undisturbed, digits, training(rule), seed=4, report=reports))
    for die_at in (15, 26):  # the checkpoints are of steps 6, 12, ...
        with pytest.raises(Killed):
            fit(start(numba_kernels), digits, training(rule), seed=4, folder=tmp_path, report=Reports(die_at))
    network, again = start(numba_kernels), Reports()
    assert bits(network, fit(network, digits, training(rule), seed=4, folder=tmp_path, report=again)) == expected
    assert again == reports  # with what was measured before the checkpoint, in the same order
    finished = start(numba_kernels)  # a training that is complete only returns its result
    assert bits(finished, fit(finished, digits, training(rule), seed=4, folder=tmp_path)) == expected


def test_convolutions_resume_bit_for_bit(digits: Dataset, numba_kernels: Backend, tmp_path: Path) -> None:
    def fresh() -> Network:
        return Network(resnet(IMAGE, 10, width=4, strides=(1, 2), ghost_size=24, dropout=0.3), numba_kernels, seed=0)

    undisturbed, settings = fresh(), training("nesterov", steps=12, decoupled=True)
    expected = bits(undisturbed, fit(undisturbed, digits, settings, seed=4))
    with pytest.raises(Killed):
        fit(fresh(), digits, settings, seed=4, folder=tmp_path, report=Reports(11))
    network = fresh()
    assert bits(network, fit(network, digits, settings, seed=4, folder=tmp_path)) == expected


def run(folder: Path, moment: str) -> None:
    """Train in a process of its own that is killed without warning at a moment."""
    replace, renames = os.replace, []

    def kill_at_the_third_rename(source: Path, target: Path) -> None:
        renames.append(target)
        if moment == "while writing" and len(renames) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    def kill_in_a_step(step: int, /, **metrics: float) -> None:
        if moment == "in a step" and step == 17:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = kill_at_the_third_rename
    fit(start(kernels.load("numpy")), load_dataset("digits"), training(), seed=4, folder=folder, report=kill_in_a_step)


@pytest.mark.parametrize(("moment", "left"), [("in a step", [6, 12]), ("while writing", [6, 12])])
def test_a_killed_process_is_resumed_bit_for_bit(
    moment: str, left: list[int], digits: Dataset, numpy_kernels: Backend, tmp_path: Path
) -> None:
    command = [sys.executable, __file__, str(tmp_path), moment]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr
    assert sorted(c.step for c in list_checkpoints(tmp_path)) == left
    assert len(list(tmp_path.iterdir())) == len(left) + (moment == "while writing")  # the file that was not renamed
    undisturbed = start(numpy_kernels)
    expected = bits(undisturbed, fit(undisturbed, digits, training(), seed=4))
    network = start(numpy_kernels)
    assert bits(network, fit(network, digits, training(), seed=4, folder=tmp_path, keep=9)) == expected
    assert sorted(c.step for c in list_checkpoints(tmp_path)) == [6, 12, 18, 24, 30]
    assert len(list(tmp_path.iterdir())) == 5  # and the other one has become a checkpoint


def test_a_damaged_latest_checkpoint_costs_steps_but_no_bits(
    digits: Dataset, numba_kernels: Backend, tmp_path: Path
) -> None:
    undisturbed = start(numba_kernels)
    expected = bits(undisturbed, fit(undisturbed, digits, training(), seed=4, folder=tmp_path))
    latest = tmp_path / "step-000000030.npz"
    latest.write_bytes(latest.read_bytes()[:-100])
    network = start(numba_kernels)
    with pytest.warns(RuntimeWarning, match="going back"):
        result = fit(network, digits, training(), seed=4, folder=tmp_path)
    assert bits(network, result) == expected


def test_checkpoints_of_other_data_or_another_backend_are_refused(
    digits: Dataset, numpy_kernels: Backend, numba_kernels: Backend, tmp_path: Path
) -> None:
    """The same labels with other pixels, the same training set with another validation set, other roundings."""
    settings = training(steps=3)
    fit(start(numpy_kernels), digits, settings, seed=4, folder=tmp_path)
    brighter = digits._replace(train=digits.train._replace(x=digits.train.x * np.float32(1.25)))
    judged_by_test = digits._replace(valid=digits.test)
    for k, data, named in ((numpy_kernels, brighter, "data"), (numpy_kernels, judged_by_test, "data"),
                           (numba_kernels, digits, "backend")):  # fmt: skip
        with pytest.raises(InputError, match=rf"of another training \({named} differ\)"):
            fit(start(k), data, settings, seed=4, folder=tmp_path)


def test_a_file_that_is_named_like_a_checkpoint_but_is_none_is_refused(
    digits: Dataset, numpy_kernels: Backend, tmp_path: Path
) -> None:
    np.savez(tmp_path / "step-000000001.npz", weights=np.ones(3))
    with pytest.raises(InputError, match="of another training"):
        fit(start(numpy_kernels), digits, training(), seed=4, folder=tmp_path)


@pytest.mark.parametrize(
    ("changes", "seed", "width", "named"),
    [
        ({"label_smoothing": 0.2}, 4, 16, "label_smoothing"),
        ({"steps": 28}, 4, 16, "steps"),
        ({"rule": "nadam"}, 4, 16, "rule"),
        ({"schedule": cosine(0.02, 27)}, 4, 16, "learning_rates"),
        ({"hyperparameters": {"beta1": 0.5}}, 4, 16, "hyperparameters"),
        ({}, 5, 16, "seed"),
        ({}, 4, 8, "model"),
    ],
)
def test_checkpoints_of_another_training_are_refused(
    changes: dict[str, Any], seed: int, width: int, named: str, digits: Dataset, numpy_kernels: Backend, tmp_path: Path
) -> None:
    first = training(steps=3)
    fit(start(numpy_kernels), digits, first, seed=4, folder=tmp_path)
    files = {path: path.read_bytes() for path in tmp_path.iterdir()}
    model = mlp(IMAGE, 10, width=width, normalization="batch", ghost_size=24, dropout=0.3)
    second = Training(**{**vars(first), **changes})
    with pytest.raises(InputError, match=rf"of another training \(.*{named}.* differ\); give another folder"):
        fit(Network(model, numpy_kernels, seed=0), digits, second, seed=seed, folder=tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == files


def test_the_best_checkpoint_gives_back_its_validation_error(
    digits: Dataset, numpy_kernels: Backend, tmp_path: Path
) -> None:
    settings = training("adam", evaluate_every=3, polyak_decay=0.5)
    result = fit(start(numpy_kernels), digits, settings, seed=4, folder=tmp_path, keep=2)
    best = best_checkpoint(tmp_path)
    assert (best.step, best.metric) == (result.best_step, result.best_error)
    assert len(list_checkpoints(tmp_path)) <= 3
    for checkpoint in list_checkpoints(tmp_path):
        network = start(numpy_kernels, seed=9)
        load_weights(network, checkpoint.path)
        found = evaluate(network, digits.valid)
        assert found.error == checkpoint.metric
        assert found.loss == read_checkpoint(checkpoint.path)["history.valid_loss"][-1]  # of the average, to the bit
    other = Network(mlp(IMAGE, 10, width=5), numpy_kernels, seed=0)
    with pytest.raises(InputError, match="build the model that it was trained with"):
        load_weights(other, best.path)


def test_a_folder_that_cannot_be_made_is_named_before_training(digits: Dataset, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    reports = Reports()
    with pytest.raises(InputError, match=r"cannot write checkpoints into .*file"):
        fit(start(kernels.load("numpy")), digits, training(), seed=4, folder=tmp_path / "file" / "x", report=reports)
    assert not reports


def test_checkpoints_do_not_change_the_training(digits: Dataset, numpy_kernels: Backend, tmp_path: Path) -> None:
    without, with_folder = start(numpy_kernels), start(numpy_kernels)
    expected = bits(without, fit(without, digits, training(), seed=4))
    assert bits(with_folder, fit(with_folder, digits, training(), seed=4, folder=tmp_path)) == expected
    assert not np.array_equal(without.theta, start(numpy_kernels).theta)


if __name__ == "__main__":
    run(Path(sys.argv[1]), sys.argv[2])

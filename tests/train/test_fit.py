"""The loop: what it learns, what it reports, what it never touches, and that it does the steps of PyTorch."""

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from refplay.data import Dataset, Split, batch_indices
from refplay.errors import InputError
from refplay.kernels import Backend
from refplay.nn import FAMILIES, Model, Network, mlp
from refplay.optim import constant, cosine, linear
from refplay.seeds import derive, generator
from refplay.train import Training, evaluate, fit

IMAGE = (8, 8, 1)


def short(**changes: Any) -> Training:
    """Return a training in which nothing is neutral, with some changes."""
    settings: dict[str, Any] = {
        "rule": "nesterov", "schedule": linear(0.05, 30, end_factor=0.2), "steps": 30, "batch_size": 32,
        "hyperparameters": {"momentum": 0.8}, "warmup_steps": 5, "weight_decay": 1e-3, "label_smoothing": 0.1,
        "clip_threshold": 1.5, "evaluate_every": 10,
    }  # fmt: skip
    return Training(**(settings | changes))


def test_an_mlp_reaches_five_percent_in_400_steps(digits: Dataset, numba_kernels: Backend) -> None:
    network = Network(mlp(IMAGE, 10), numba_kernels, seed=0)
    result = fit(network, digits, Training("nesterov", cosine(0.05, 400), 400, 64), seed=0)
    assert result.best_error < 0.05
    assert evaluate(network, digits.valid).error == result.curves["valid_error"].values[-1]


@pytest.mark.parametrize("family", ["convnet", "resnet"])
def test_images_are_learned_quickly(family: str, digits: Dataset, numba_kernels: Backend) -> None:
    model = FAMILIES[family](IMAGE, 10, width=8, normalization="batch", ghost_size=32)
    result = fit(Network(model, numba_kernels, seed=0), digits, short(steps=60, batch_size=64), seed=0)
    loss = result.curves["train_loss"].values
    floor = 0.1 * math.log(9 / 0.09) + 0.9 * math.log(1 / 0.91) - 0.01 * math.log(1 / 0.91)  # of smoothed labels
    assert loss[-5:].mean() - floor < 0.25 * (loss[0] - floor)
    assert result.best_error < 0.15


def test_the_steps_are_those_of_pytorch(digits: Dataset, numpy_kernels: Backend) -> None:
    """Nesterov with warmup, L2 decay of the weights alone, label smoothing and clipping, in double."""
    network = Network(mlp(IMAGE, 10, depth=1, width=16, activation="tanh"), numpy_kernels, seed=1, dtype="float64")
    p = {name: torch.tensor(view.copy(), requires_grad=True) for name, view in network.named(network.theta).items()}
    optimizer = torch.optim.SGD(
        [{"params": [v for n, v in p.items() if n.endswith(".w")], "weight_decay": 0.0},
         {"params": [v for n, v in p.items() if n.endswith(".b")]}],
        lr=0.05, momentum=0.8, nesterov=True,
    )  # fmt: skip
    training = short(steps=4, warmup_steps=2, weight_decay=0.01, clip_threshold=1.0)
    result = fit(network, digits, training, seed=7)
    for step in range(6):
        rows = batch_indices(len(digits.train.y), 32, derive(7, "shuffle"), step)
        x = torch.tensor(digits.train.x[rows].astype(np.float64)).flatten(1)
        z = torch.tanh(x @ p["1.dense.w"] + p["1.dense.b"]) @ p["3.dense.w"] + p["3.dense.b"]
        loss = F.cross_entropy(z, torch.tensor(digits.train.y[rows]), label_smoothing=0.1)
        decay = 0.005 * sum((v**2).sum() for n, v in p.items() if n.endswith(".w"))
        optimizer.zero_grad()
        (loss + decay).backward()
        norm = torch.linalg.vector_norm(torch.cat([v.grad.ravel() for v in p.values()])).item()
        for v in p.values():
            v.grad *= min(1.0, 1.0 / norm)
        for group in optimizer.param_groups:
            group["lr"] = 0.05 * step / 2 if step < 2 else 0.05 * (1 - 0.8 * (step - 2) / 30)
        optimizer.step()
        bound = 64 * (step + 1) * 10 * np.finfo(float).eps  # sums of 64 terms; errors of earlier steps add up
        assert result.curves["train_loss"].values[step] == pytest.approx(loss.item(), rel=bound)
        assert result.curves["gradient_norm"].values[step] == pytest.approx(norm, rel=bound)
    assert (result.curves["gradient_norm"].values > 1.0).any()  # the clip was felt, and the norm is from before it
    for name, view in network.named(network.theta).items():
        np.testing.assert_allclose(view, p[name].detach().numpy(), rtol=0, atol=64 * 6 * 10 * np.finfo(float).eps)


def test_decoupled_decay_is_that_of_adamw(digits: Dataset, numpy_kernels: Backend) -> None:
    network = Network(mlp(IMAGE, 10, depth=1, width=16), numpy_kernels, seed=1, dtype="float64")
    network.theta += 0.1 * generator(2).standard_normal(network.theta.shape)  # biases that a wrong decay would move
    p = {name: torch.tensor(view.copy(), requires_grad=True) for name, view in network.named(network.theta).items()}
    groups = [{"params": [p["1.dense.w"], p["3.dense.w"]]}, {"params": [p["1.dense.b"], p["3.dense.b"]],
                                                           "weight_decay": 0.0}]  # fmt: skip
    # One step: PyTorch's epsilon, which is added after the bias correction, is then ours / sqrt(1 - beta2).
    adamw = torch.optim.AdamW(groups, lr=0.02, betas=(0.8, 0.9), eps=1e-3 / math.sqrt(0.1), weight_decay=0.5)
    adam = {"beta1": 0.8, "beta2": 0.9, "epsilon": 1e-3}
    training = short(rule="adam", hyperparameters=adam, schedule=constant(0.02), steps=1, warmup_steps=0,
                     weight_decay=0.5, decoupled=True, clip_threshold=math.inf)  # fmt: skip
    fit(network, digits, training, seed=7)
    rows = batch_indices(len(digits.train.y), 32, derive(7, "shuffle"), 0)
    x = torch.tensor(digits.train.x[rows].astype(np.float64)).flatten(1)
    z = torch.relu(x @ p["1.dense.w"] + p["1.dense.b"]) @ p["3.dense.w"] + p["3.dense.b"]
    F.cross_entropy(z, torch.tensor(digits.train.y[rows]), label_smoothing=0.1).backward()
    adamw.step()
    for name, view in network.named(network.theta).items():
        # A gradient is good to 64 ulp of about 1, and the step divides it by at least 0.001 / sqrt(0.1).
        np.testing.assert_allclose(view, p[name].detach().numpy(), rtol=0, atol=0.02 * 64 * 2.3e-16 / 0.003)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_both_backends_give_the_same_curves(
    family: str, dtype: str, digits: Dataset, numpy_kernels: Backend, numba_kernels: Backend
) -> None:
    model = FAMILIES[family](IMAGE, 10, depth=2, width=8, normalization="batch", ghost_size=16, dropout=0.2)
    training = short(steps=4, warmup_steps=1)
    curves = [fit(Network(model, k, seed=3, dtype=dtype), digits, training, seed=4).curves
              for k in (numpy_kernels, numba_kernels)]  # fmt: skip
    # The longest sums are over a ghost batch (16 images of 64 pixels); the errors of the five steps add up.
    bound = 5 * 16 * 64 * np.finfo(dtype).eps
    for metric in ("train_loss", "gradient_norm", "valid_loss"):
        np.testing.assert_allclose(curves[0][metric].values, curves[1][metric].values, rtol=bound, err_msg=metric)


def test_the_same_seed_gives_the_same_bits_and_another_does_not(digits: Dataset, numba_kernels: Backend) -> None:
    model = mlp(IMAGE, 10, width=16, normalization="batch", dropout=0.2, ghost_size=32)
    runs = []
    for seed in (5, 5, 6):
        network = Network(model, numba_kernels, seed=1)
        result = fit(network, digits, short(), seed=seed)
        runs.append((network.theta, network.statistics, result.curves["gradient_norm"].values))
    for first, same, other in zip(*runs, strict=True):
        assert np.array_equal(first, same)
        assert not np.array_equal(first, other)


def test_each_step_and_each_seed_draws_its_own_dropout_masks(numpy_kernels: Backend) -> None:
    """All examples are the same and the learning rate is 0: nothing but the masks can change the loss."""
    same = Split(np.full((16, 4), 0.7, np.float32), np.ones(16, np.int64))
    data = Dataset("same", same, same, same, 2)

    def losses(seed: int, dropout: float) -> set[float]:
        network = Network(mlp((4,), 2, width=32, dropout=dropout), numpy_kernels, seed=0)
        training = short(rule="sgd", hyperparameters={}, schedule=constant(0.0), batch_size=8, steps=5, weight_decay=0)
        return set(fit(network, data, training, seed=seed).curves["train_loss"].values)

    assert len(losses(1, dropout=0.0)) == 1
    assert len(losses(1, dropout=0.5)) == 10  # 5 steps and 5 of warmup
    assert not losses(1, dropout=0.5) & losses(2, dropout=0.5)


def test_every_step_and_every_evaluation_is_reported_once(digits: Dataset, numpy_kernels: Backend) -> None:
    calls: list[tuple[int, dict[str, float]]] = []
    network = Network(mlp(IMAGE, 10, width=8), numpy_kernels, seed=0)
    training = short(steps=23, warmup_steps=2)
    result = fit(network, digits, training, seed=0, report=lambda step, /, **metrics: calls.append((step, metrics)))
    steps = [step for step, metrics in calls if "train_loss" in metrics]
    assert steps == list(range(25))  # 23 and the warmup
    assert [step for step, metrics in calls if "valid_error" in metrics] == [10, 20, 25]
    for metric in ("train_loss", "gradient_norm", "valid_loss", "valid_error"):
        told = [(step, metrics[metric]) for step, metrics in calls if metric in metrics]
        assert told == list(zip(*(c.tolist() for c in result.curves[metric]), strict=True))
    rates = [metrics["learning_rate"] for _, metrics in calls if "learning_rate" in metrics]
    np.testing.assert_allclose(rates[:4], [0.0, 0.025, 0.05, 0.05 * (1 - 0.8 / 30)], rtol=1e-15)


def test_the_test_set_is_never_read(digits: Dataset, numpy_kernels: Backend) -> None:
    hidden = digits._replace(test=Split(np.full((1, 1), np.nan, np.float32), np.array([-1])))
    seen = digits._replace(test=None)
    results = [fit(Network(mlp(IMAGE, 10, width=8), numpy_kernels, seed=0), data, short(steps=5), seed=0).best_error
               for data in (hidden, seen)]  # fmt: skip
    assert results[0] == results[1]


def test_the_polyak_average_is_what_is_evaluated(digits: Dataset, numpy_kernels: Backend) -> None:
    """After n steps, fewer than 1/(1 - decay), it is the mean of the parameters after each step."""
    thetas: list[np.ndarray] = []
    network = Network(mlp(IMAGE, 10, width=8), numpy_kernels, seed=0, dtype="float64")

    def keep(step: int, /, **metrics: float) -> None:
        if "valid_loss" not in metrics:
            thetas.append(network.theta.copy())

    result = fit(network, digits, short(polyak_decay=0.99, evaluate_every=5), seed=0, report=keep)
    assert len(thetas) == 35
    mean = Network(network.model, numpy_kernels, seed=0, dtype="float64")
    mean.assign(np.mean(thetas, axis=0), network.statistics)
    np.testing.assert_allclose(result.network.theta, mean.theta, rtol=0, atol=35 * np.finfo(float).eps)
    found = evaluate(mean, digits.valid)
    assert result.curves["valid_loss"].values[-1] == pytest.approx(found.loss, rel=64 * 35 * np.finfo(float).eps)
    assert abs(found.loss / evaluate(network, digits.valid).loss - 1) > 0.01


def test_l2_decay_is_in_the_logged_gradient_and_decoupled_decay_is_not(digits: Dataset, numpy_kernels: Backend) -> None:
    norms = {}
    for name, changes in {"none": {"weight_decay": 0.0}, "l2": {"weight_decay": 0.3},
                          "decoupled": {"weight_decay": 0.3, "decoupled": True}}.items():  # fmt: skip
        network = Network(mlp(IMAGE, 10, width=8), numpy_kernels, seed=0)
        norms[name] = fit(network, digits, short(steps=1, warmup_steps=0, **changes), seed=0).curves["gradient_norm"][1]
    assert norms["decoupled"] == norms["none"]
    assert norms["l2"] > 1.05 * norms["none"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rule": "adamw"}, "unknown update rule 'adamw'; choose one of sgd, momentum"),
        ({"hyperparameters": {"beta1": 0.9}}, "nesterov has no hyperparameter 'beta1'; it has momentum"),
        ({"steps": 0}, "steps = 0"),
        ({"batch_size": 2.0}, "batch_size = 2.0"),
        ({"warmup_steps": -1}, "warmup_steps = -1"),
        ({"weight_decay": math.nan}, "weight_decay = nan"),
        ({"label_smoothing": 1.0}, "label_smoothing = 1.0"),
        ({"clip_threshold": 0.0}, "clip_threshold = 0.0"),
        ({"polyak_decay": 1.0}, "polyak_decay = 1.0"),
        ({"hyperparameters": {"momentum": 1.0}}, "momentum = 1.0"),
        ({"hyperparameters": {"momentum": "0.9"}}, "momentum = '0.9'"),
        ({"weight_decay": "a"}, "weight_decay = 'a'"),
        ({"clip_threshold": math.nan}, "clip_threshold = nan"),
        ({"decoupled": 1}, "decoupled = 1"),
        ({"evaluation_batch": 64.5}, "evaluation_batch = 64.5"),
        ({"evaluation_batch": 31}, "evaluation_batch = 31 is below batch_size = 32"),
    ],
)
def test_a_bad_setting_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        short(**changes)


def test_a_batch_larger_than_the_training_set_is_refused(digits: Dataset, numpy_kernels: Backend) -> None:
    network = Network(mlp(IMAGE, 10, width=8), numpy_kernels, seed=0)
    with pytest.raises(InputError, match="batch_size = 2000 is above the 1197 training examples of digits"):
        fit(network, digits, short(batch_size=2000), seed=0)


@pytest.mark.parametrize("model", [mlp((64,), 10), mlp(IMAGE, 9)])
def test_a_model_for_other_data_is_refused(model: Model, digits: Dataset, numpy_kernels: Backend) -> None:
    with pytest.raises(InputError, match=r"digits has examples of shape \(8, 8, 1\) in 10 classes.* build the model"):
        fit(Network(model, numpy_kernels, seed=0), digits, short(), seed=0)


def test_vectors_train_as_well_as_images(numpy_kernels: Backend) -> None:
    """Two Gaussian clouds: a linear rule separates them, so an MLP must."""
    rng = generator(3)
    y = np.arange(300) % 2
    x = (rng.standard_normal((300, 4)) + 4.0 * y[:, None]).astype(np.float32)
    data = Dataset("clouds", Split(x[:200], y[:200]), Split(x[200:], y[200:]), Split(x[:0], y[:0]), 2)
    result = fit(Network(mlp((4,), 2, width=8), numpy_kernels, seed=0), data, short(steps=100), seed=0)
    assert result.best_error == 0.0

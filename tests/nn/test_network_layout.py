"""One vector, its layout, its initial values; nothing is allocated in a step."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from refplay.kernels import CONTRACT, Backend
from refplay.nn import Dense, Model, Network, convnet, mlp, resnet
from refplay.seeds import generator


def batch_for(network: Network, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = generator(1)
    x = rng.standard_normal((size, *network.model.input_shape)).astype(network.dtype)
    return x, rng.integers(0, network.model.classes, size), np.full(size, 1 / size, network.dtype)


def test_weights_come_first_and_every_number_belongs_to_one_parameter(model: Model, numpy_kernels: Backend) -> None:
    network = Network(model, numpy_kernels, seed=0)
    views = network.named(np.arange(network.theta.size))
    assert np.array_equal(np.concatenate([v.ravel() for v in views.values()]), np.arange(network.theta.size))
    for name, view in views.items():
        assert (view < network.decayed).all() == name.endswith(".w")
        assert (view >= network.decayed).all() == name.endswith((".b", ".gamma", ".beta"))


def test_layers_work_on_views_of_theta(numpy_kernels: Backend) -> None:
    network = Network(mlp((4,), 3, depth=1, width=5), numpy_kernels, seed=0, dtype="float64")
    x, _, _ = batch_for(network, 2)
    before = network.logits(x).copy()
    network.named(network.theta)["2.dense.b"][:] += [0.5, -1.0, 2.0]
    # One rounding of each of the two sums of six terms.
    np.testing.assert_allclose(network.logits(x) - before, [[0.5, -1.0, 2.0]] * 2, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("built", "count"),
    [
        (mlp((8, 8, 1), 10), 64 * 128 + 128 + 128 * 128 + 128 + 128 * 10 + 10),
        (mlp((7,), 3, depth=1, width=5, normalization="layer"), 7 * 5 + 5 + 2 * 5 + 5 * 3 + 3),
        (convnet((8, 8, 1), 10, width=4), 9 * 4 + 4 + 9 * 4 * 8 + 8 + 2 * 2 * 8 * 10 + 10),
        (  # stem, one block at 4 channels, one at 8 with a projection, logits; a norm has two numbers per channel
            resnet((8, 8, 3), 10, width=4, strides=(1, 2)),
            (27 * 4 + 4 + 8) + 2 * (36 * 4 + 4 + 8) + (36 * 8 + 8 + 16) + (72 * 8 + 8 + 16) + (4 * 8 + 8) + 80 + 10,
        ),
    ],
)
def test_parameter_counts_are_those_computed_by_hand(built: Model, count: int, numpy_kernels: Backend) -> None:
    assert Network(built, numpy_kernels, seed=0).theta.size == count


@pytest.mark.parametrize(("init", "variance"), [("he", 2 / 150), ("glorot", 2 / (150 + 250)), ("zero", 0.0)])
def test_initial_weights_have_the_variance_of_their_paper(init: str, variance: float, numpy_kernels: Backend) -> None:
    network = Network(Model((150,), 250, (Dense(250, init=init),)), numpy_kernels, seed=2, dtype="float64")
    w = network.named(network.theta)["0.dense.w"]
    five_sigma = 5 * variance * np.sqrt(2 / w.size)  # standard error of the variance of normal numbers
    assert abs(np.mean(w**2) - variance) <= five_sigma
    assert abs(w.mean()) <= 5 * np.sqrt(variance / w.size)
    assert (network.named(network.theta)["0.dense.b"] == 0).all()


def test_the_seed_decides_the_initial_weights(numpy_kernels: Backend) -> None:
    built = mlp((4,), 3, depth=1, width=5)
    one, same, other = (Network(built, numpy_kernels, seed=s).theta for s in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.isin(one[one != 0], other).any()
    double = Network(built, numpy_kernels, seed=1, dtype="float64").theta
    assert np.array_equal(one, double.astype(np.float32))


def test_only_the_contract_is_used_and_only_the_first_step_allocates(model: Model, numpy_kernels: Backend) -> None:
    calls: Counter[str] = Counter()

    def counting(name: str) -> object:
        def call(*args: object) -> object:
            calls[name] += 1
            return getattr(numpy_kernels, name)(*args)

        return call

    network = Network(model, SimpleNamespace(**{name: counting(name) for name in CONTRACT}), seed=0)
    x, y, w = batch_for(network, 6)
    network.loss_and_gradient(x, y, w)
    network.logits(x)
    allocated = calls["empty"] + calls["zeros"]
    assert allocated > 0
    for step in range(3):
        network.loss_and_gradient(x, y, w, step=step)
        network.logits(x)
    assert calls["empty"] + calls["zeros"] == allocated
    network.logits(x[:4])
    assert calls["empty"] + calls["zeros"] > allocated


def test_assign_copies_and_sharing_does_not(numpy_kernels: Backend) -> None:
    network = Network(mlp((4,), 3, depth=1, width=5, normalization="batch"), numpy_kernels, seed=0)
    x, _, _ = batch_for(network, 2)
    other_theta = Network(network.model, numpy_kernels, seed=9).theta
    other = network.sharing(other_theta)
    first, second = network.logits(x).copy(), other.logits(x).copy()
    assert not np.array_equal(first, second)
    assert other.statistics is network.statistics
    other_theta[:] = network.theta
    assert np.array_equal(other.logits(x), first)
    theta = np.zeros_like(network.theta)
    network.assign(theta, network.statistics)
    theta += 1.0
    assert (network.logits(x) == 0).all()
    assert np.array_equal(other.logits(x), first)

"""A peer is the same training: the losses of several steps are those of our own step.

Momentum and Nesterov have one equation everywhere, so in double precision PyTorch and JAX differ from us by rounding
alone. The bound: a loss is made of sums of at most a few hundred terms, so one step rounds by some 1e-14 of it, and
three updates at these learning rates amplify this by far less than a thousand: 1e-11.
"""

import sys

import numpy as np
import pytest

from refplay.data import Split, make_gather
from refplay.errors import InputError
from refplay.kernels import load
from refplay.nn import Model, Network, convnet, mlp, resnet
from refplay.procedures import peers
from refplay.procedures.peers import PEERS, check_peer, make_peer_gather, make_peer_step, sees_gpu
from refplay.train import make_step

BATCH, STEPS, ROUNDING = 12, 4, 1e-11
MODELS = {
    "flattened images": mlp((5, 4, 3), 4, depth=2, width=9, activation="tanh"),
    "vectors, ghost batch norm": mlp((7,), 3, depth=2, width=8, normalization="batch", ghost_size=4),
    "vectors, residual layer norm": mlp((7,), 3, depth=3, width=8, normalization="layer", residual="norm-inside",
                                        activation="gelu"),
    "convolutions": convnet((6, 5, 3), 4, depth=2, width=4, activation="gelu"),
    "convolutions, ghost batch norm": convnet((6, 5, 3), 4, depth=1, width=4, normalization="batch", ghost_size=6),
    "convolutions, layer norm": convnet((6, 5, 3), 4, depth=1, width=4, normalization="layer", activation="tanh"),
    "residual, batch norm": resnet((6, 5, 2), 3, width=4, strides=(1, 2), ghost_size=12),
    "residual, norm outside": resnet((6, 5, 2), 3, width=4, strides=(2,), residual="norm-outside", ghost_size=4),
}


@pytest.fixture(scope="module", autouse=True)
def double_precision_in_jax():
    import jax  # part of what tests need: without it they fail and are not skipped

    with jax.enable_x64(True):
        yield


def losses(model: Model, optimizer: str, peer: str, rate: float, **hyperparameters: float) -> np.ndarray:
    """Return, of our step and of the peer's, the losses of the same batches from the same parameters: [2, STEPS]."""
    network = Network(model, load("numpy"), seed=5, dtype="float64")
    theirs = make_peer_step(peer, network, optimizer, BATCH, hyperparameters, learning_rate=rate, threads=1)
    ours = make_step(network, optimizer, BATCH, hyperparameters=hyperparameters)
    rng = np.random.default_rng(1)
    found = []
    for _ in range(STEPS):
        x, labels = rng.normal(size=(BATCH, *model.input_shape)), rng.integers(0, model.classes, BATCH)
        found.append((ours(x, labels, rate), float(theirs(x, labels))))
    return np.array(found).T


@pytest.mark.parametrize("peer", ["torch", "torch-channels-last", "jax"])
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_every_model_trains_as_ours_does(model: Model, peer: str) -> None:
    ours, theirs = losses(model, "momentum", peer, 0.1, momentum=0.7)
    assert np.ptp(ours) > 1e-3  # it trained: another update would have shown
    np.testing.assert_allclose(theirs, ours, rtol=ROUNDING)


def test_a_compiled_model_trains_as_ours_does() -> None:
    ours, theirs = losses(MODELS["vectors, residual layer norm"], "momentum", "torch-compile", 0.1, momentum=0.7)
    np.testing.assert_allclose(theirs, ours, rtol=ROUNDING)


@pytest.mark.parametrize("peer", ["torch", "jax"])
@pytest.mark.parametrize(("optimizer", "hyperparameters"), [
    ("sgd", {}), ("momentum", {}), ("nesterov", {"momentum": 0.6}), ("nesterov", {"momentum": 0.0})])
def test_rules_of_one_equation(optimizer: str, hyperparameters: dict[str, float], peer: str) -> None:
    ours, theirs = losses(MODELS["flattened images"], optimizer, peer, 0.2, **hyperparameters)
    np.testing.assert_allclose(theirs, ours, rtol=ROUNDING)


@pytest.mark.parametrize("peer", ["torch", "jax"])
@pytest.mark.parametrize("beta", [0.6, 0.9])
def test_adam_agrees_up_to_the_place_of_epsilon(beta: float, peer: str) -> None:
    # They add epsilon to the corrected root, which at the first step makes 1/sqrt(1 - beta2) = 32 times ours of it. For
    # epsilon = 1e-14 and gradients above 1e-6 that changes an update by 1e-6 of itself at most, the loss by less.
    ours, theirs = losses(MODELS["flattened images"], "adam", peer, 0.01, epsilon=1e-14, beta1=beta)
    assert np.ptp(ours) > 1e-3
    np.testing.assert_allclose(theirs, ours, rtol=1e-6)


@pytest.mark.parametrize("peer", ["torch", "jax"])
@pytest.mark.parametrize("optimizer", ["rmsprop", "nadam"])
def test_rules_of_other_equations_train_too(optimizer: str, peer: str) -> None:
    model = MODELS["flattened images"]
    network = Network(model, load("numpy"), seed=5)
    step = make_peer_step(peer, network, optimizer, BATCH, {}, learning_rate=0.01)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(BATCH, *model.input_shape)).astype(np.float32)
    labels = rng.integers(0, model.classes, BATCH)
    found = [float(step(x, labels)) for _ in range(60)]
    assert found[-1] < 0.5 * found[0]


@pytest.mark.parametrize("peer", ["torch", "jax"])
def test_dropout_drops_in_the_peer_too(peer: str) -> None:
    model = mlp((6,), 3, depth=1, width=400, dropout=0.5)
    network = Network(model, load("numpy"), seed=5)
    step = make_peer_step(peer, network, "sgd", BATCH, learning_rate=0.0)
    x, labels = np.ones((BATCH, 6), np.float32), np.arange(BATCH) % 3
    assert len({float(step(x, labels)) for _ in range(5)}) == 5  # nothing moves at rate 0 but the masks


def test_the_network_is_left_as_it_was() -> None:
    network = Network(MODELS["residual, batch norm"], load("numpy"), seed=5, dtype="float64")
    before = network.theta.copy()
    for peer in ("torch", "jax"):
        step = make_peer_step(peer, network, "momentum", BATCH, learning_rate=0.5)
        step(np.ones((BATCH, 6, 5, 2)), np.zeros(BATCH, np.int64))
    np.testing.assert_array_equal(network.theta, before)


def test_memory_that_is_out_is_a_memory_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def out(*_: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] . DefaultCPUAllocator: can't allocate memory: you tried")

    network = Network(MODELS["flattened images"], load("numpy"), seed=5)
    step = make_peer_step("torch", network, "sgd", BATCH)
    monkeypatch.setattr(torch, "from_numpy", out)
    with pytest.raises(MemoryError, match="DefaultCPUAllocator"):
        step(np.ones((BATCH, 5, 4, 3), np.float32), np.zeros(BATCH, np.int64))


def test_memory_of_a_gpu_that_is_out_is_one_too() -> None:
    def out(*_: object) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 139.81 GiB")

    with pytest.raises(MemoryError, match=r"Tried to allocate 20\.00 GiB"):
        peers._with_memory_errors(out)(None, None)


@pytest.mark.parametrize("peer", ["torch", "jax"])
def test_a_peer_that_keeps_the_data_gathers_the_same_batches(peer: str) -> None:
    rng = np.random.default_rng(2)
    split = Split(rng.normal(size=(11, 3, 2)).astype(np.float32), rng.integers(0, 9, 11))
    theirs, ours = make_peer_gather(peer, split, 4, seed=3, gpu=False), make_gather(split, 4, seed=3)
    for step in (0, 1, 7, 8, 2):  # several epochs; on both sides of what is brought at a time, and back
        for a, b in zip(theirs(step), ours(step), strict=True):
            assert type(a).__module__.startswith(("torch", "jax"))
            np.testing.assert_array_equal(np.asarray(a), b)


def test_a_framework_built_for_the_cpu_sees_no_gpu() -> None:
    import torch

    assert sees_gpu("torch") == sees_gpu("torch-compile") == torch.cuda.is_available()
    if torch.version.cuda is None:
        assert not sees_gpu("torch")
    assert isinstance(sees_gpu("jax"), bool)


def test_unknown_names_and_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"unknown peer 'pytorch'; choose one of torch, .*jax"):
        check_peer("pytorch")
    network = Network(MODELS["flattened images"], load("numpy"), seed=5)
    with pytest.raises(InputError, match="unknown update rule 'adamw'"):
        make_peer_step("torch", network, "adamw", BATCH)
    monkeypatch.setattr(peers, "find_spec", lambda package: None if package == "optax" else sys)
    with pytest.raises(InputError, match=r"optax is not installed; .*pip install 'refplay\[peers\]'"):
        check_peer("jax")


def test_every_peer_needs_a_package() -> None:
    assert all(PEERS.values())

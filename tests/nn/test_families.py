"""Choosing an architecture means choosing hyperparameters: each one does something, and a bad one is named."""

from typing import Any

import numpy as np
import pytest

from refplay.errors import InputError
from refplay.kernels import Backend
from refplay.nn import FAMILIES, Activation, BatchNorm, Conv2D, Dense, Dropout, Model, Network, Residual, mlp, resnet

IMAGE = (8, 8, 1)


@pytest.mark.parametrize(
    ("family", "change"),
    [(family, change) for family in FAMILIES for change in (
        {"depth": 3}, {"width": 24}, {"activation": "gelu"}, {"normalization": "layer"}, {"dropout": 0.2},
        {"normalization": "batch", "ghost_size": 32},
    )] + [("mlp", {"residual": "norm-inside"}), ("resnet", {"residual": "norm-outside"}),
          ("resnet", {"zero_init": True}), ("resnet", {"strides": (1, 1, 2)})],
)  # fmt: skip
def test_every_hyperparameter_changes_the_model(family: str, change: dict[str, Any]) -> None:
    assert FAMILIES[family](IMAGE, 10, **change) != FAMILIES[family](IMAGE, 10)


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_dropout_is_there_at_its_rate_or_not_at_all(family: str) -> None:
    def rates(**change: Any) -> set[float]:
        layers = [layer for _, layer, _ in FAMILIES[family](IMAGE, 10, **change).places()]
        return {layer.rate for layer in layers if isinstance(layer, Dropout)}

    assert rates() == set()
    assert rates(dropout=0.2) == {0.2}


@pytest.mark.parametrize(
    ("family", "change", "message"),
    [
        ("mlp", {"depth": 0}, "depth is 0"),
        ("mlp", {"width": 2.5}, "width is 2.5"),
        ("mlp", {"activation": "swish"}, "unknown activation 'swish'; choose one of relu, tanh, gelu"),
        ("mlp", {"normalization": "group"}, "unknown normalization 'group'; choose one of none, batch, layer"),
        ("mlp", {"residual": "yes", "depth": 1}, "unknown residual form 'yes'"),
        ("mlp", {"width": 64.0}, "width is 64.0; it must be a whole number"),
        ("mlp", {"depth": "two"}, "depth is 'two'; it must be a whole number"),
        ("mlp", {"dropout": "0.5"}, "the dropout rate is '0.5'; it must be a number"),
        ("resnet", {"strides": 2}, "strides is 2; it must be a list"),
        ("resnet", {"zero_init": 1}, "zero_init is 1; it must be true or false"),
        ("mlp", {"residual": "yes"}, "unknown residual form 'yes'; choose one of none, norm-inside, norm-outside"),
        ("convnet", {"dropout": 1.0}, "dropout rate is 1.0"),
        ("convnet", {"depth": 4}, "does not fit into 1 x 1 pixels"),
        ("resnet", {"ghost_size": 0}, "ghost_size is 0"),
        ("resnet", {"strides": (1, 0)}, r"strides\[1\] is 0"),
        ("resnet", {"residual": "none", "zero_init": True}, "zero_init needs residual branches"),
    ],
)
def test_a_bad_hyperparameter_is_named(family: str, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        FAMILIES[family](IMAGE, 10, **change)


def test_layers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match=r"gives shape \(4,\); 3 classes need \(3,\)"):
        Model((5,), 3, (Dense(4),))
    with pytest.raises(InputError, match="put Flatten"):
        Model(IMAGE, 3, (Dense(3),))
    with pytest.raises(InputError, match=r"takes images .* \(5,\)"):
        Model((5,), 3, (Conv2D(3),))
    with pytest.raises(InputError, match="no parameters"):
        Model((5,), 5, (Activation(),))
    with pytest.raises(InputError, match=r"branch gives shape \(4,\), its shortcut \(3,\)"):
        Model((3,), 4, (Residual((Dense(4),)),))
    with pytest.raises(InputError, match="must end in"):
        Residual((Dense(3), Activation()))


def test_norm_inside_puts_the_norm_last_in_the_branch_and_norm_outside_after_the_sum() -> None:
    def after_stem(residual: str) -> tuple[object, ...]:
        return resnet(IMAGE, 10, strides=(1,), residual=residual).layers[3:5]

    block, following = after_stem("norm-inside")
    assert isinstance(block, Residual)
    assert isinstance(block.branch[-1], BatchNorm)
    assert isinstance(following, Activation)
    block, following = after_stem("norm-outside")
    assert isinstance(block, Residual)
    assert isinstance(block.branch[-1], Conv2D)
    assert isinstance(following, BatchNorm)


@pytest.mark.parametrize("residual", ["norm-inside", "norm-outside"])
def test_zero_init_begins_with_branches_that_add_nothing(residual: str, numpy_kernels: Backend) -> None:
    model = resnet(IMAGE, 10, width=2, strides=(1, 2), residual=residual, normalization="layer", zero_init=True)
    network = Network(model, numpy_kernels, seed=0, dtype="float64")
    network.logits(np.random.default_rng(0).standard_normal((3, *IMAGE)))
    places = [at for layer, at in network._pass(3, False).chain if isinstance(layer, Residual)]
    shortcuts = [at.shortcut[-1][1].y for at in places if at.shortcut]
    assert len(places) == 2
    assert (len(shortcuts), np.abs(shortcuts[0]).max() > 0.1) == (1, True)
    assert np.array_equal(places[1].branch[-1][1].y, shortcuts[0])  # the sum is written over the branch


def test_dropout_layers_draw_different_masks_in_training_only(numpy_kernels: Backend) -> None:
    model = Model((500,), 500, (Dense(500), Dropout(0.25), Dropout(0.5), Dense(500)))
    network = Network(model, numpy_kernels, seed=0, dtype="float64")
    x = np.random.default_rng(0).uniform(0.5, 1.0, (2, 500))
    arguments = (x, np.zeros(2, np.int64), np.ones(2))

    def masks(step: int) -> tuple[np.ndarray, np.ndarray]:
        network.loss_and_gradient(*arguments, seed=5, step=step)
        chain = network._pass(2, training=True).chain
        return chain[1][1].y != 0, chain[2][1].y != 0

    first, both = (mask.copy() for mask in masks(0))
    assert abs(first.mean() - 0.75) < 5 * np.sqrt(0.25 * 0.75 / 1000)
    assert abs(both.mean() - 0.375) < 5 * np.sqrt(0.375 * 0.625 / 1000)  # equal masks would leave 0.5
    assert np.array_equal(masks(0)[0], first)
    assert not np.array_equal(masks(1)[0], first)
    plain = Network(Model((500,), 500, (Dense(500), Dense(500))), numpy_kernels, seed=0, dtype="float64")
    assert np.array_equal(network.logits(x), plain.logits(x))


def test_an_mlp_of_digits_has_logits_for_each_class(numpy_kernels: Backend) -> None:
    network = Network(mlp(IMAGE, 10), numpy_kernels, seed=0)
    assert network.logits(np.ones((3, *IMAGE), np.float32)).shape == (3, 10)

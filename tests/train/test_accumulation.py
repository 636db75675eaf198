"""The gradient accumulated over pieces of a batch is that of the batch, within bounds derived from the sums."""

import numpy as np
import pytest

from refplay.errors import InputError
from refplay.kernels import load
from refplay.nn import Dense, Model, Network, convnet, mlp, resnet
from refplay.train import make_accumulated_gradient, make_accumulated_step, make_step

B, INPUTS, CLASSES = 48, 30, 5


def batch(model: Model, dtype: str, seed: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(0.3, 1.5, (B, *model.input_shape)).astype(dtype)
    return x, rng.integers(0, model.classes, B)


def both(model: Model, pieces: int, backend: str, dtype: str) -> tuple[np.ndarray, np.ndarray, Network]:
    """Return the gradient of the batch at once and in pieces."""
    network = Network(model, load(backend), seed=2, dtype=dtype)
    x, labels = batch(model, dtype)
    network.loss_and_gradient(x, labels, np.full(B, 1 / B, dtype))
    whole = network.gradient.copy()
    loss, total = make_accumulated_gradient(network, B, pieces)(x, labels, 0)
    assert loss > 0.1
    return whole, total.copy(), network


@pytest.mark.parametrize("pieces", [1, 2, 3, 48])
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_the_sum_over_pieces_is_the_gradient_within_a_derived_bound(backend: str, pieces: int) -> None:
    # One dense layer, z = x w + b, loss the mean of the cross-entropy, so dw = x^T dz with dz = (softmax(z) - q)/B.
    # Both ways compute the same real number in another order, so they differ by at most twice the error of either
    # (Higham, "Accuracy and stability of numerical algorithms", sec. 3.5; g_n = n u / (1 - n u), unit roundoff u):
    #   |error of z|  <= g_(I+1) (|x||w| + |b|) =: e, largest over the classes
    #   |error of dz| <= (2 e + (C+8) u) / B, as the softmax moves by at most 2 e, and its own exponentials (2 ulp
    #                    each), sum, quotient and weight round by (C+8) u
    #   |error of dw| <= |x|^T (|error of dz| + g_(B+1) |dz|), one more addition where pieces are summed
    model = Model((INPUTS,), CLASSES, (Dense(CLASSES),))
    whole, total, network = both(model, pieces, backend, "float32")
    x, labels = batch(model, "float32")
    w, b = (network.named(network.theta)[f"0.dense.{name}"].astype(np.float64) for name in "wb")
    x = x.astype(np.float64)
    u = np.finfo(np.float32).eps / 2

    def g(n: int) -> float:
        return n * u / (1 - n * u)

    z = x @ w + b
    p = np.exp(z - z.max(1, keepdims=True))
    dz = (p / p.sum(1, keepdims=True) - np.eye(CLASSES)[labels]) / B
    e = (g(INPUTS + 1) * (np.abs(x) @ np.abs(w) + np.abs(b))).max(1, keepdims=True)
    error = (2 * e + (CLASSES + 8) * u) / B + g(B + 1) * np.abs(dz)
    bound = 2 * np.concatenate([(np.abs(x).T @ error).ravel(), error.sum(0)])

    exact = np.concatenate([(x.T @ dz).ravel(), dz.sum(0)])
    assert np.all(np.abs(total - whole) <= bound)
    assert np.all(np.abs(total - exact) <= bound)
    assert np.median(bound / np.abs(exact)) < 1e-3  # the bound says something


@pytest.mark.parametrize("model", [
    mlp((5, 3, 1), 4, depth=3, width=20, activation="tanh", normalization="layer"),
    mlp((7,), 3, width=20, normalization="batch", ghost_size=8),
    convnet((8, 7, 2), 4, width=4, activation="gelu"),
    resnet((8, 7, 2), 4, width=4, strides=(1, 2), ghost_size=8),
], ids=["layer norm", "ghost batch norm", "convolutions", "residual"])
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_deep_models_in_double_precision(model: Model, backend: str) -> None:
    # Sums of at most some thousand terms of size 1, ten layers deep: rounding of about 1e-13 each way, and norms
    # divide by standard deviations of about 1. A missing or doubled piece would be seen in the first digit.
    whole, total, _ = both(model, 3, backend, "float64")
    np.testing.assert_allclose(total, whole, rtol=1e-10, atol=1e-12)


def test_training_in_pieces_is_training_with_the_batch() -> None:
    model = mlp((9,), 3, width=16, activation="tanh")
    networks = [Network(model, load("numpy"), seed=2, dtype="float64") for _ in range(2)]
    whole = make_step(networks[0], "adam", B, hyperparameters={"beta1": 0.7})
    pieces = make_accumulated_step(networks[1], "adam", B, 4, hyperparameters={"beta1": 0.7})
    for seed in range(5):
        x, labels = batch(model, "float64", seed)
        np.testing.assert_allclose(pieces(x, labels, 0.03), whole(x, labels, 0.03), rtol=1e-10)


@pytest.mark.parametrize(("batch_size", "pieces"), [(48, 5), (48, 0), (0, 1), (2, 4)])
def test_pieces_that_do_not_divide_the_batch_are_refused(batch_size: int, pieces: int) -> None:
    network = Network(mlp((4,), 3), load("numpy"), seed=1)
    with pytest.raises(InputError, match=f"a batch of {batch_size} cannot be cut into {pieces}"):
        make_accumulated_gradient(network, batch_size, pieces)


def test_pieces_below_the_ghost_size_would_be_another_gradient() -> None:
    network = Network(mlp((4,), 3, normalization="batch", ghost_size=16), load("numpy"), seed=1)
    make_accumulated_gradient(network, 48, 3)
    with pytest.raises(InputError, match="over 8 examples instead of 16"):
        make_accumulated_gradient(network, 48, 6)

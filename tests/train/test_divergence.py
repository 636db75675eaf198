"""A training that breaks down ends with its step and its reason."""

import math
import pickle

import numpy as np
import pytest

from refplay.data import Dataset
from refplay.kernels import Backend
from refplay.nn import Network, mlp
from refplay.optim import constant, cosine
from refplay.train import Diverged, Training, check_divergence, check_recovery, fit

START, LIMIT = 3.0, 30.0  # ten times the first loss, as log(10) is less


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_at_once(loss: float) -> None:
    with pytest.raises(Diverged, match=f"^step 2: the training loss is {loss}$") as caught:
        check_divergence([START, 1.0, loss], norm=1.0, classes=10)
    assert (caught.value.step, isinstance(caught.value, FloatingPointError)) == (2, True)


@pytest.mark.parametrize("norm", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_ends_at_once(norm: float) -> None:
    with pytest.raises(Diverged, match=f"^step 1: the norm of the gradient is {norm}$"):
        check_divergence([START, 1.0], norm=norm, classes=10)


def test_ten_high_losses_in_a_row_end_it_and_nine_do_not() -> None:
    high = LIMIT * 1.01
    check_divergence([START] + [high] * 9, norm=1.0, classes=10)
    check_divergence([START] + [high] * 5 + [LIMIT * 0.99] + [high] * 9, norm=1.0, classes=10)
    check_divergence([START] + [LIMIT * 0.99] * 50, norm=1.0, classes=10)
    with pytest.raises(Diverged, match=r"^step 10: the training loss was above 30 for 10 steps; it began at 3$"):
        check_divergence([START] + [high] * 10, norm=1.0, classes=10)


def test_a_loss_that_began_low_is_measured_against_a_uniform_guess() -> None:
    check_divergence([0.01] + [20.0] * 20, norm=1.0, classes=10)  # 10 log 10 = 23.03
    with pytest.raises(Diverged, match=r"above 23\.03"):
        check_divergence([0.01] + [24.0] * 20, norm=1.0, classes=10)


@pytest.mark.parametrize("backend", ["numpy_kernels", "numba_kernels"])
def test_a_huge_learning_rate_diverges_without_a_warning(
    backend: str, digits: Dataset, request: pytest.FixtureRequest, recwarn: pytest.WarningsRecorder
) -> None:
    network = Network(mlp((8, 8, 1), 10, width=16), request.getfixturevalue(backend), seed=0)
    seen: list[float] = []
    with pytest.raises(Diverged) as caught:
        fit(network, digits, Training("sgd", constant(1e4), 50, 32), seed=0,
            report=lambda step, /, **metrics: seen.append(metrics["train_loss"]))  # fmt: skip
    assert caught.value.step == len(seen) < 50
    assert np.isfinite(seen).all()
    assert not recwarn.list


def test_a_last_step_that_breaks_the_network_is_found_by_evaluation(digits: Dataset, numpy_kernels: Backend) -> None:
    network = Network(mlp((8, 8, 1), 10, width=16), numpy_kernels, seed=0)
    with pytest.raises(Diverged, match=r"^step 1: the validation loss is (nan|inf)$"):
        fit(network, digits, Training("sgd", constant(1e38), 1, 32), seed=0)


def test_it_travels_between_processes() -> None:
    error = pickle.loads(pickle.dumps(Diverged(7, "the training loss is nan")))
    assert (error.step, str(error)) == (7, "step 7: the training loss is nan")


def test_a_network_that_dies_has_diverged() -> None:
    """Both conditions are needed: a loss that shot up, and an end that is no better than a guess."""
    guess = math.log(10)
    check_recovery([START, 900.0] + [0.97 * guess] * 40, classes=10)  # recovered, if badly
    check_recovery([START, 1.9 * START] + [guess] * 40, classes=10)  # never far above its start: slow, not dead
    check_recovery([START] * 50, classes=10)
    with pytest.raises(Diverged, match=r"^step 1: the training loss rose to 900 and ended at 2\.303, a uniform guess$"):
        check_recovery([START, 900.0] + [guess] * 40, classes=10)
    with pytest.raises(Diverged, match=r"^step 2: .* ended at 50"):
        check_recovery([START, 2.0, 50.0], classes=10)


def test_too_large_a_learning_rate_kills_a_relu_network(digits: Dataset, numpy_kernels: Backend) -> None:
    """Nesterov at learning rate 1.9: the loss reaches 1e7 within ten steps, then every logit is constant."""
    network = Network(mlp(digits.train.x.shape[1:], digits.classes, width=64), numpy_kernels, seed=0)
    training = Training("nesterov", cosine(1.9, 100), steps=100, batch_size=64, hyperparameters={"momentum": 0.91})
    with pytest.raises(Diverged, match=r"a uniform guess$"):
        fit(network, digits, training, seed=0)
    assert np.ptp(network.logits(digits.valid.x), axis=0).max() == 0.0  # the same logits for every example: the biases

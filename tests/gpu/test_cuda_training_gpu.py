"""What only a GPU can do in reasonable time: real data, trainings to the end, large batches, memory that is used up."""

import numpy as np
import pytest

from refplay.analysis.throughput import measured
from refplay.data import Dataset, Split, load_dataset
from refplay.kernels import load
from refplay.nn import Network, convnet, mlp
from refplay.optim import constant, cosine
from refplay.procedures.setup import Setup
from refplay.procedures.throughput import measure
from refplay.train import Training, fit

pytestmark = pytest.mark.gpu

EPS = np.finfo("f4").eps
WIDTH = 128  # of the MLP: its longest sum


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_first_50_steps_on_digits_are_those_of_the_cpu(gpu, seed):
    """Each step rounds sums of 128 terms, and what the parameters have taken up of it adds up."""
    training = Training("nesterov", constant(0.05), 50, 64, clip_threshold=1.0, label_smoothing=0.1)
    gpu_curves, cpu_curves = (fit(Network(mlp((8, 8, 1), 10, width=WIDTH), k, seed=seed), load_dataset("digits"),
                                  training, seed=seed).curves for k in (gpu, load("numba")))
    bound = WIDTH * EPS * np.arange(1, 51)
    for metric in ("train_loss", "gradient_norm"):
        off = abs(gpu_curves[metric].values / cpu_curves[metric].values - 1)
        assert (off <= bound).all(), (metric, (off / bound).max())


def test_the_final_error_on_digits_is_that_of_the_cpu_within_trial_variance(gpu):
    digits, training = load_dataset("digits"), Training("nesterov", cosine(0.05, 400), 400, 64)
    errors = np.array([[fit(Network(mlp((8, 8, 1), 10), k, seed=seed), digits, training, seed=seed).best_error
                        for seed in range(5)] for k in (gpu, load("numba"))])
    means, deviation = errors.mean(axis=1), errors[1].std(ddof=1)
    assert abs(means[0] - means[1]) <= 3 * deviation * np.sqrt(2 / 5), errors
    assert means.max() < 0.05


@pytest.mark.parametrize(("model", "batch", "longest"), [
    (mlp((28, 28, 1), 10, width=256, normalization="layer"), 65536, 65536),
    (convnet((28, 28, 1), 10, width=16, activation="tanh", normalization="batch"), 1024, 1024 * 28 * 28),
])  # fmt: skip
def test_the_gradient_of_a_large_batch_is_that_of_the_cpu(gpu, rng, model, batch, longest):
    """Rounding errors of a sum grow as the root of its length where they do not all point one way; ten times that."""
    x = rng.random((batch, 28, 28, 1), np.float32)
    labels, weights = rng.integers(0, 10, batch), np.full(batch, 1 / batch, "f4")
    found = []
    for k in (gpu, load("numba")):
        network = Network(model, k, seed=1)
        loss = network.loss_and_gradient(k.asarray(x), k.asarray(labels), k.asarray(weights), step=3)
        found.append((loss, k.to_host(network.gradient).astype(float)))
    (loss, g), (expected_loss, expected) = found
    bound = 10 * np.sqrt(longest) * EPS
    assert loss == pytest.approx(expected_loss, rel=bound)
    assert np.linalg.norm(g - expected) <= bound * np.linalg.norm(expected)


def test_memory_that_is_used_up_is_a_record_and_is_free_again(backend):
    """One array of the step has 2^21 x 2^16 numbers, 512 GiB."""
    count = 2**21
    split = Split(np.ones((count, 1), np.float32), np.arange(count) % 2)
    few = Split(split.x[:2], split.y[:2])
    setup = Setup(mlp((1,), 2, depth=1, width=2**16), Dataset("ones", split, few, few, 2), "sgd", backend=backend)
    for _ in range(2):
        found = measure(setup, [64, count], memory=2**50, seconds=0.05)
        assert [timing.batch_size for timing in measured(found.ours)] == [64]
        assert found.ours[-1].failed == "out of memory"
        assert found.ended == f"batch size {count}: out of memory"

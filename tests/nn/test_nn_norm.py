"""Ghost batch norm against PyTorch's batch norm of each chunk, and its averages."""

import numpy as np
import pytest
import torch

from refplay.errors import InputError
from refplay.kernels import Backend
from refplay.nn import BatchNorm, Dense, Flatten, LayerNorm, Model, Network
from refplay.nn.norm import ghost_groups
from refplay.seeds import generator

CHANNELS, GHOST, DECAY = 3, 4, 0.75


def normed(numpy_kernels: Backend, ghost_size: int = GHOST) -> tuple[Network, np.ndarray, np.ndarray]:
    """Return images -> batch norm -> logits that are the flattened images (the dense layer is the identity)."""
    size = 2 * 2 * CHANNELS
    model = Model((2, 2, CHANNELS), size, (BatchNorm(ghost_size, decay=DECAY), Flatten(), Dense(size)))
    network = Network(model, numpy_kernels, seed=0, dtype="float64")
    parameters = network.named(network.theta)
    parameters["2.dense.w"][:] = np.eye(size)
    parameters["0.batchnorm.gamma"][:] = [0.5, 2.0, -1.5]
    parameters["0.batchnorm.beta"][:] = [1.0, -0.5, 0.25]
    return network, parameters["0.batchnorm.gamma"], parameters["0.batchnorm.beta"]


def batches(steps: int, size: int) -> np.ndarray:
    """Return [steps, size, 2, 2, C] whose chunks have different means, so that whole and ghost variances differ."""
    rng = generator(11)
    chunks = 5.0 * (np.arange(size) // GHOST)[:, None, None, None]
    return chunks + rng.normal(3.0, [0.5, 1.0, 2.0], (steps, size, 2, 2, CHANNELS))


def train(network: Network, x: np.ndarray) -> None:
    n = len(x)
    network.loss_and_gradient(x, np.zeros(n, np.int64), np.full(n, 1 / n))


def test_training_normalizes_each_chunk_as_pytorch_does(numpy_kernels: Backend) -> None:
    network, gamma, beta = normed(numpy_kernels)
    (x,) = batches(1, 8)
    train(network, x)
    y = network._pass(8, training=True).chain[0][1].y
    norm = torch.nn.BatchNorm2d(CHANNELS).double()
    norm.weight.data, norm.bias.data = torch.tensor(gamma), torch.tensor(beta)
    chunks = [norm(torch.tensor(c).permute(0, 3, 1, 2)).permute(0, 2, 3, 1) for c in np.split(x, 2)]
    # 16 values a chunk and channel, of size 10 / 0.5 before the norm: sums of 16 terms times the conditioning.
    np.testing.assert_allclose(y, torch.cat(chunks).detach().numpy(), rtol=0, atol=16 * 20 * 2.3e-16)


def test_the_averages_are_of_means_and_of_ghost_variances(numpy_kernels: Backend) -> None:
    network, _, _ = normed(numpy_kernels)
    mean, var, whole = np.zeros(CHANNELS), np.ones(CHANNELS), np.ones(CHANNELS)
    for x in batches(5, 8):
        train(network, x)
        chunks = np.split(x, 2)
        mean = DECAY * mean + (1 - DECAY) * np.mean([c.mean(axis=(0, 1, 2)) for c in chunks], axis=0)
        var = DECAY * var + (1 - DECAY) * np.mean([c.var(axis=(0, 1, 2)) for c in chunks], axis=0)
        whole = DECAY * whole + (1 - DECAY) * x.var(axis=(0, 1, 2))
    found = network.named_statistics()
    np.testing.assert_allclose(found["0.batchnorm.ema_mean"], mean, rtol=1e-14)  # a few roundings of each of 5 steps
    np.testing.assert_allclose(found["0.batchnorm.ema_var"], var, rtol=1e-13)
    assert (whole > 1.5 * var).all()  # the variance of the whole batch would be another number


def test_the_averages_of_one_group_are_pytorchs_up_to_bessel(numpy_kernels: Backend) -> None:
    network, _, _ = normed(numpy_kernels, ghost_size=8)
    norm = torch.nn.BatchNorm2d(CHANNELS, momentum=1 - DECAY).double()
    steps, m = 4, 8 * 2 * 2
    for x in batches(steps, 8):
        train(network, x)
        norm(torch.tensor(x).permute(0, 3, 1, 2))
    found, start = network.named_statistics(), DECAY**steps  # what is left of the initial variance of 1
    np.testing.assert_allclose(found["0.batchnorm.ema_mean"], norm.running_mean.numpy(), rtol=1e-14)
    unbiased = (found["0.batchnorm.ema_var"] - start) * m / (m - 1) + start
    np.testing.assert_allclose(unbiased, norm.running_var.numpy(), rtol=1e-13)


def test_evaluation_uses_the_averages_and_looks_at_one_example_at_a_time(numpy_kernels: Backend) -> None:
    network, gamma, beta = normed(numpy_kernels)
    x, other = batches(2, 8)
    train(network, x)
    statistics = network.statistics.copy()
    alone = network.logits(other[:1]).copy()
    assert np.array_equal(network.logits(other)[:1], alone)
    assert np.array_equal(network.statistics, statistics)
    mean, var = network.named_statistics().values()
    expected = gamma * (other[:1] - mean) / np.sqrt(var + 1e-5) + beta
    np.testing.assert_allclose(alone.reshape(expected.shape), expected, rtol=1e-13)


def test_layer_norm_of_images_normalizes_each_pixel_over_its_channels(numpy_kernels: Backend) -> None:
    model = Model((2, 2, CHANNELS), 12, (LayerNorm(), Flatten(), Dense(12)))
    network = Network(model, numpy_kernels, seed=0, dtype="float64")
    parameters = network.named(network.theta)
    parameters["2.dense.w"][:] = np.eye(12)
    parameters["0.layernorm.gamma"][:] = [0.5, 2.0, -1.5]
    (x,) = batches(1, 5)
    norm = torch.nn.LayerNorm(CHANNELS).double()
    norm.weight.data = torch.tensor(parameters["0.layernorm.gamma"])
    y = norm(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(network.logits(x).reshape(x.shape), y, rtol=0, atol=3 * 20 * 2.3e-16)


@pytest.mark.parametrize(("batch", "groups"), [(1, 1), (63, 1), (64, 1), (128, 2), (640, 10)])
def test_ghost_groups_hold_ghost_size_examples(batch: int, groups: int) -> None:
    assert ghost_groups(batch, 64) == groups


def test_a_batch_that_does_not_split_evenly_is_refused_with_both_sizes(numpy_kernels: Backend) -> None:
    network, _, _ = normed(numpy_kernels)
    with pytest.raises(InputError, match="batch size 6 is not a multiple of ghost size 4"):
        train(network, batches(1, 8)[0][:6])
    assert network.logits(batches(1, 8)[0][:6]).shape == (6, 12)  # evaluation has no groups

"""Gradients of whole networks on the GPU against PyTorch's, which computes them there too where it sees one."""

import numpy as np
import pytest
import torch

from refplay.nn import Network, convnet, mlp
from refplay.procedures.peers_torch import build

SMALL = {  # so small that the simulator has them done in seconds
    "mlp": (mlp((3, 2, 2), 3, depth=2, width=5, normalization="layer", activation="gelu"), 7, "float32"),
    "convnet": (convnet((4, 4, 2), 3, depth=1, width=2, normalization="batch", ghost_size=2), 4, "float64"),
}
LARGE = {  # no tanh before a maximum: where it saturates, many values are equal in float32, and either may win
    "mlp": (mlp((28, 28, 1), 10, depth=3, width=1024), 1000),
    "convnet": (convnet((28, 28, 1), 10, width=32, normalization="batch"), 512),
    "residual": (mlp((28, 28, 1), 10, depth=4, width=512, normalization="batch", residual="norm-inside",
                     activation="gelu"), 512),
}


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize(("model", "batch", "dtype"), SMALL.values(), ids=SMALL)
def test_gradients_are_those_of_pytorch(gpu, rng, model, batch, dtype):
    # A weight's gradient sums over the pixels of the batch, through up to 8 layers forward and back.
    compare(gpu, rng, model, batch, dtype, 8 * batch * 16 * float(np.finfo(dtype).eps))


@pytest.mark.gpu
@pytest.mark.parametrize(("model", "batch"), LARGE.values(), ids=LARGE)
def test_gradients_of_large_networks_are_those_of_pytorch(gpu, rng, model, batch):
    # Errors of long sums grow as the root of their length.
    compare(gpu, rng, model, batch, "float32", 10 * np.sqrt(batch * 32 * 32) * float(np.finfo("float32").eps))


def compare(gpu, rng, model, batch, dtype, bound):
    """Hold each parameter's gradient against PyTorch's, by the norm of the difference."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    network = Network(model, gpu, seed=1, dtype=dtype)
    x = rng.standard_normal((batch, *model.input_shape)).astype(dtype)
    labels = rng.integers(0, model.classes, batch)

    theirs = module(network, network.theta, batch).to(device, getattr(torch, dtype))
    given = torch.from_numpy(x).to(device)
    logits = theirs(given if isinstance(theirs[0], torch.nn.Flatten) else given.permute(0, 3, 1, 2))
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels).to(device))
    loss.backward()

    weights = np.full(batch, 1 / batch, dtype)
    found = network.loss_and_gradient(*(gpu.asarray(array) for array in (x, labels, weights)))
    assert found == pytest.approx(loss.item(), rel=bound)
    ours = module(network, network.gradient, batch)  # gradients in the places of parameters: in PyTorch's layouts
    largest = max(parameter.grad.norm().item() for parameter in theirs.parameters())
    for (name, parameter), gradient in zip(theirs.named_parameters(), ours.parameters(), strict=True):
        expected = parameter.grad.cpu()
        apart = torch.linalg.norm(gradient.detach() - expected).item()
        assert apart <= bound * max(expected.norm().item(), largest / 10), name


def module(network, vector, batch):
    """Return the network in PyTorch with the values of a vector like theta."""
    values = {name: network.kernels.to_host(value) for name, value in network.named(vector).items()}
    return build(network.model.layers, network.model.input_shape, values, batch)

"""One training step as a function, against PyTorch's step on the same parameters."""

import numpy as np
import torch

from refplay.kernels import load
from refplay.nn import Network, mlp
from refplay.train import make_step


def test_steps_with_momentum_on_an_mlp_follow_pytorch():
    network = Network(mlp((7,), 3, depth=2, width=5), load("numpy"), seed=3, dtype="float64")
    peer = torch.nn.Sequential(torch.nn.Linear(7, 5), torch.nn.ReLU(), torch.nn.Linear(5, 5), torch.nn.ReLU(),
                               torch.nn.Linear(5, 3)).double()
    ours = network.named(network.theta)
    layers = {"0.dense": peer[0], "2.dense": peer[2], "4.dense": peer[4]}
    with torch.no_grad():
        for name, layer in layers.items():
            layer.weight.copy_(torch.tensor(ours[f"{name}.w"].T))
            layer.bias.copy_(torch.tensor(ours[f"{name}.b"]))
    optimizer = torch.optim.SGD(peer.parameters(), lr=0.2, momentum=0.8)
    step = make_step(network, "momentum", 6, hyperparameters={"momentum": 0.8}, smoothing=0.1)

    rng = np.random.default_rng(0)
    for _ in range(5):
        x, labels = rng.normal(size=(6, 7)), rng.integers(0, 3, 6)
        expected = torch.nn.functional.cross_entropy(peer(torch.tensor(x)), torch.tensor(labels), label_smoothing=0.1)
        optimizer.zero_grad()
        expected.backward()
        optimizer.step()
        np.testing.assert_allclose(step(x, labels, 0.2), expected.item(), rtol=1e-12)
    for name, layer in layers.items():
        np.testing.assert_allclose(ours[f"{name}.w"].T, layer.weight.detach().numpy(), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(ours[f"{name}.b"], layer.bias.detach().numpy(), rtol=1e-9, atol=1e-12)

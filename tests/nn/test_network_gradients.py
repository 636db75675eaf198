"""The gradient of a whole network against central finite differences and against PyTorch, in double."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from refplay.kernels import Backend
from refplay.nn import Model, Network
from refplay.nn.layer import Layer
from refplay.seeds import generator

BATCH = 6  # two ghost batches of three
SMOOTHING = 0.1


@pytest.fixture
def network(model: Model, numpy_kernels: Backend) -> Network:
    """A network away from its neutral beginning: biases, gammas and betas are random too."""
    network = Network(model, numpy_kernels, seed=3, dtype="float64")
    network.theta += 0.3 * generator(4).standard_normal(network.theta.shape)
    return network


def examples(model: Model) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = generator(5)
    x = 0.5 + rng.standard_normal((BATCH, *model.input_shape))
    return x, rng.integers(0, model.classes, BATCH), rng.uniform(0.1, 0.4, BATCH)


def test_the_gradient_is_that_of_finite_differences(network: Network) -> None:
    x, labels, weights = examples(network.model)

    def loss() -> float:
        return network.loss_and_gradient(x, labels, weights, smoothing=SMOOTHING, seed=8, step=2)

    value = loss()
    gradient = network.gradient.copy()
    h = 1e-6  # small, so that no ReLU and no maximum changes sides between the two points
    chosen = some_of_each(network)
    differences = []
    for i in chosen:
        theta = network.theta[i]
        network.theta[i] = theta + h
        above = loss()
        network.theta[i] = theta - h
        differences.append((above - loss()) / (2 * h))
        network.theta[i] = theta
    # An evaluation of the loss (about 3) is good to some 20 ulp; h^2 f'''/6 is far below.
    np.testing.assert_allclose(gradient[chosen], differences, rtol=0, atol=20 * np.spacing(value) / h)
    assert np.abs(gradient).max() > 0.01


def some_of_each(network: Network) -> np.ndarray:
    """Return the places in theta of up to five numbers of every parameter, chosen by a seed."""
    rng, places = generator(6), network.named(np.arange(network.theta.size))
    return np.concatenate([rng.choice(view.ravel(), min(5, view.size), replace=False) for view in places.values()])


def torch_forward(layers: Sequence[Layer], x: torch.Tensor, p: dict[str, torch.Tensor], prefix: str) -> torch.Tensor:
    """Return the layers' output in PyTorch; images are [N,C,H,W] there. Ghost batch norm is batch norm of chunks."""
    for number, layer in enumerate(layers):
        kind = type(layer).__name__
        name = f"{prefix}{number}.{kind.lower()}"
        match kind:
            case "Dense":
                x = x @ p[f"{name}.w"] + p[f"{name}.b"]
            case "Conv2D":
                w = p[f"{name}.w"].permute(3, 2, 0, 1)
                x = F.conv2d(x, w, p[f"{name}.b"], stride=layer.stride, padding=layer.padding)
            case "Activation":
                x = getattr(F, layer.name)(x) if layer.name != "tanh" else torch.tanh(x)
            case "MaxPool2D":
                x = F.max_pool2d(x, layer.window, layer.stride)
            case "GlobalAveragePool":
                x = x.mean(dim=(2, 3))
            case "Flatten":
                x = x.permute(0, 2, 3, 1).flatten(1)
            case "BatchNorm":
                gamma, beta = p[f"{name}.gamma"], p[f"{name}.beta"]
                chunks = x.split(layer.ghost_size)
                x = torch.cat([F.batch_norm(c, None, None, gamma, beta, True, eps=layer.epsilon) for c in chunks])
            case "LayerNorm":
                last = x.movedim(1, -1)
                last = F.layer_norm(last, last.shape[-1:], p[f"{name}.gamma"], p[f"{name}.beta"], layer.epsilon)
                x = last.movedim(-1, 1)
            case "Residual":
                branch = torch_forward(layer.branch, x, p, f"{name}.branch.")
                x = branch + torch_forward(layer.shortcut, x, p, f"{name}.shortcut.")
            case "Dropout":  # the masks are refplay's own: held against finite differences above
                continue
            case _:
                raise AssertionError(kind)
    return x


def without_dropout(model: Model) -> bool:
    return not any(type(layer).__name__ == "Dropout" for _, layer, _ in model.places())


def test_loss_and_gradient_are_those_of_pytorch(network: Network) -> None:
    if not without_dropout(network.model):  # dropout that keeps everything: the same model, the same parameters
        network = Network(drop_nothing(network.model), network.kernels, seed=3, dtype="float64").sharing(network.theta)
    x, labels, weights = examples(network.model)
    loss = network.loss_and_gradient(x, labels, weights, smoothing=SMOOTHING)

    parameters = {name: torch.tensor(view, requires_grad=True) for name, view in network.named(network.theta).items()}
    images = torch.tensor(x).movedim(-1, 1) if x.ndim == 4 else torch.tensor(x)
    z = torch_forward(network.model.layers, images, parameters, "")
    each = F.cross_entropy(z, torch.tensor(labels), label_smoothing=SMOOTHING, reduction="none")
    expected = (each * torch.tensor(weights)).sum()
    expected.backward()

    # Sums here are at most BATCH * 5 * 6 terms long, and at most about ten layers follow each other.
    tolerance = 10 * BATCH * 30 * np.finfo(np.float64).eps
    assert loss == pytest.approx(expected.item(), rel=tolerance)
    for name, gradient in network.named(network.gradient).items():
        np.testing.assert_allclose(gradient, parameters[name].grad.numpy(), rtol=0, atol=tolerance, err_msg=name)


def drop_nothing(model: Model) -> Model:
    """Return the model with every dropout rate 0; numbers and names of the layers stay."""
    def strip(layers: Sequence[Layer]) -> tuple[Layer, ...]:
        stripped = []
        for layer in layers:
            kind = type(layer).__name__
            if kind == "Dropout":
                layer = replace(layer, rate=0.0)
            elif kind == "Residual":
                layer = replace(layer, branch=strip(layer.branch))
            stripped.append(layer)
        return tuple(stripped)

    return replace(model, layers=strip(model.layers))

"""refplay's models and update rules in PyTorch, for `refplay.procedures.peers`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from refplay.data import Gather, Split
from refplay.errors import InputError
from refplay.nn import (
    Activation,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool,
    Layer,
    LayerNorm,
    MaxPool2D,
    Network,
    Residual,
)
from refplay.nn.model import place_name
from refplay.nn.norm import ghost_groups
from refplay.train.on_device import AHEAD, rows_ahead

Values = dict[str, np.ndarray]  # of the network's parameters by name: "0.dense.w"


def make_step(
    network: Network, optimizer: str, batch_size: int, hyperparameters: Mapping[str, float], learning_rate: float,
    threads: int, seed: int, variant: str, gpu: bool,
) -> Callable[[Any, Any], Any]:
    """Return the training step; `variant` is "", "channels-last" or "compile". Arguments as in `make_peer_step`."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    layers, shape = network.model.layers, network.model.input_shape
    values = {name: network.kernels.to_host(value) for name, value in network.named(network.theta).items()}
    model = build(layers, shape, values, batch_size).to(dtype=getattr(torch, network.dtype))
    if gpu:
        model = model.to("cuda")
        torch.backends.cudnn.allow_tf32 = False  # a product of TensorFloat-32 has 10 bits; ours have 23
    layout = torch.channels_last if variant == "channels-last" else torch.contiguous_format
    if variant == "channels-last":
        model = model.to(memory_format=layout)
    rule = make_optimizer(optimizer, model.parameters(), learning_rate, hyperparameters)
    images = _are_images(layers, shape)

    def loss_of(x: Any, labels: Any) -> Any:
        return torch.nn.functional.cross_entropy(model(x), labels)

    forward = torch.compile(loss_of) if variant == "compile" else loss_of

    def step(x: Any, labels: Any) -> Any:
        batch = x if gpu else torch.from_numpy(x)
        if images:  # a view where there is one channel or the layout is channels-last, else a copy
            batch = batch.permute(0, 3, 1, 2).contiguous(memory_format=layout)
        loss = forward(batch, labels if gpu else torch.from_numpy(labels))
        rule.zero_grad()
        loss.backward()
        rule.step()
        return loss.detach()

    return step


def make_gather(split: Split, batch_size: int, seed: int, gpu: bool) -> Gather:
    """Return what gathers batches on the device. Arguments as in `make_peer_gather`."""
    import torch

    device = "cuda" if gpu else "cpu"
    examples, labels = (torch.from_numpy(array).to(device) for array in split)

    ahead, first = None, 0

    def gather(step: int) -> Any:
        nonlocal ahead, first
        if ahead is None or not first <= step < first + AHEAD:  # a copy for each step would be waited for
            ahead, first = torch.from_numpy(rows_ahead(len(split.y), batch_size, seed, step)).to(device), step
        rows = ahead[step - first]
        return examples[rows], labels[rows]

    return gather


def make_optimizer(name: str, parameters: Any, learning_rate: float, chosen: Mapping[str, float]) -> Any:
    """Return PyTorch's optimizer of a rule's name, fused where PyTorch has it so."""
    from torch import optim

    if name in ("sgd", "momentum", "nesterov"):
        gamma = chosen.get("momentum", 0.0)  # nesterov=True needs a momentum above 0; with 0 it is the same as without
        return optim.SGD(parameters, learning_rate, gamma, nesterov=name == "nesterov" and gamma > 0, fused=True)
    if name == "rmsprop":
        return optim.RMSprop(parameters, learning_rate, alpha=chosen["rho"], eps=chosen["epsilon"],
                             momentum=chosen["momentum"], foreach=True)
    betas = chosen["beta1"], chosen["beta2"]
    if name == "adam":
        return optim.Adam(parameters, learning_rate, betas, chosen["epsilon"], fused=True)
    return optim.NAdam(parameters, learning_rate, betas, chosen["epsilon"], foreach=True)


def build(layers: Sequence[Layer], shape: tuple[int, ...], values: Values, batch_size: int, prefix: str = "") -> Any:
    """Return `layers` on inputs of `shape` as one module with the parameters `values`.

    PyTorch keeps images as CHW, so it flattens them in another order than refplay. Where a dense layer follows, the
    rows of its weights are reordered once and for all; before anything else the image is brought to HWC.
    """
    from torch import nn

    modules: list[Any] = []
    nchw, order = _are_images(layers, shape), None
    for number, layer in enumerate(layers):
        name = place_name(prefix, number, layer)
        if isinstance(layer, Flatten):
            if nchw and _dense_follows(layers[number + 1 :]):
                order = np.arange(int(np.prod(shape))).reshape(shape).transpose(2, 0, 1).ravel()
            elif nchw:
                modules.append(_permute()(0, 2, 3, 1))
            modules.append(nn.Flatten())
        elif isinstance(layer, Dense):
            w = values[f"{name}.w"] if order is None else values[f"{name}.w"][order]
            modules.append(_dense(w, values[f"{name}.b"]))
            order = None
        elif isinstance(layer, Residual):
            branch, shortcut = (build(part, shape, values, batch_size, f"{name}.{which}.") for which, part in
                                (("branch", layer.branch), ("shortcut", layer.shortcut)))
            modules.append(_residual()(branch, shortcut))
        else:
            modules += _plain(layer, name, shape, values, batch_size)
        shape = layer.output_shape(shape)
    return nn.Sequential(*modules)


def _are_images(layers: Sequence[Layer], shape: tuple[int, ...]) -> bool:
    """Return whether the input is to be NCHW; images that are flattened at once stay as they come."""
    return len(shape) == 3 and not (layers and isinstance(layers[0], Flatten))


def _dense_follows(layers: Sequence[Layer]) -> bool:
    rest = (layer for layer in layers if not isinstance(layer, Activation | Dropout))  # those act element by element
    return isinstance(next(rest, None), Dense)


def _plain(layer: Layer, name: str, shape: tuple[int, ...], values: Values, batch_size: int) -> list[Any]:
    from torch import nn

    if isinstance(layer, Conv2D):
        return [_conv(layer, shape[-1], values[f"{name}.w"], values[f"{name}.b"])]
    if isinstance(layer, Activation):
        return [{"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}[layer.name]()]
    if isinstance(layer, MaxPool2D):
        return [nn.MaxPool2d(layer.window, layer.stride)]
    if isinstance(layer, GlobalAveragePool):
        return [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    if isinstance(layer, Dropout):
        return [nn.Dropout(layer.rate)]
    if isinstance(layer, BatchNorm):
        kind = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
        norm = kind(shape[-1], eps=layer.epsilon, momentum=1.0 - layer.decay)
        groups = ghost_groups(batch_size, layer.ghost_size)
        return [_with_values(norm if groups == 1 else _ghost()(norm, groups), norm, name, values)]
    if isinstance(layer, LayerNorm):
        last = nn.LayerNorm(shape[-1], eps=layer.epsilon)
        whole = [last] if len(shape) == 1 else [_permute()(0, 2, 3, 1), last, _permute()(0, 3, 1, 2)]
        return [_with_values(nn.Sequential(*whole), last, name, values)]
    raise InputError(f"the peer torch has no counterpart of the layer {type(layer).__name__}; measure without --peer")


def _tensor(values: np.ndarray) -> Any:
    from torch import from_numpy, nn

    return nn.Parameter(from_numpy(np.array(values, order="C")))  # a copy: the network keeps its own


def _dense(w: np.ndarray, b: np.ndarray) -> Any:
    from torch import nn

    dense = nn.Linear(*w.shape)
    dense.weight, dense.bias = _tensor(w.T), _tensor(b)
    return dense


def _conv(layer: Conv2D, inputs: int, w: np.ndarray, b: np.ndarray) -> Any:
    from torch import nn

    conv = nn.Conv2d(inputs, layer.channels, layer.size, layer.stride, layer.padding)
    conv.weight, conv.bias = _tensor(w.transpose(3, 2, 0, 1)), _tensor(b)  # HWIO to OIHW
    return conv


def _with_values(module: Any, norm: Any, name: str, values: Values) -> Any:
    norm.weight, norm.bias = _tensor(values[f"{name}.gamma"]), _tensor(values[f"{name}.beta"])
    return module


# PyTorch's modules are classes; these functions make theirs when torch is there.


def _permute() -> Any:
    from torch import nn

    class Permute(nn.Module):
        def __init__(self, *axes: int) -> None:
            super().__init__()
            self.axes = axes

        def forward(self, x: Any) -> Any:
            return x.permute(self.axes)

    return Permute


def _residual() -> Any:
    from torch import nn

    class ShortcutPlusBranch(nn.Module):
        def __init__(self, branch: Any, shortcut: Any) -> None:
            super().__init__()
            self.branch, self.shortcut = branch, shortcut

        def forward(self, x: Any) -> Any:
            return self.shortcut(x) + self.branch(x)

    return ShortcutPlusBranch


def _ghost() -> Any:
    import torch

    class GhostBatchNorm(torch.nn.Module):
        """Batch norm on each chunk of the batch. Its running averages are PyTorch's; training does not read them."""

        def __init__(self, norm: Any, groups: int) -> None:
            super().__init__()
            self.norm, self.groups = norm, groups

        def forward(self, x: Any) -> Any:
            return torch.cat([self.norm(chunk) for chunk in x.chunk(self.groups)])

    return GhostBatchNorm

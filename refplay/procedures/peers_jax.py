"""refplay's models and update rules in JAX, for `refplay.procedures.peers`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
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

Values = dict[str, Any]  # of the network's parameters (or averages) by name: "0.dense.w"


def make_step(
    network: Network, optimizer: str, hyperparameters: Mapping[str, float], learning_rate: float, seed: int, gpu: bool
) -> Callable[[Any, Any], Any]:
    """Return the training step. Arguments as in `make_peer_step`."""
    import jax
    import jax.numpy as jnp
    import optax

    device = gpus()[0] if gpu else jax.devices("cpu")[0]
    to_host = network.kernels.to_host

    def copies(views: Values) -> Values:  # JAX may share NumPy's memory, and the network goes on training
        return {name: jax.device_put(jnp.array(to_host(view), copy=True), device) for name, view in views.items()}

    rule = make_optimizer(optimizer, learning_rate, hyperparameters)
    values = copies(network.named(network.theta))
    averages = copies(network.named_statistics())
    state, key, layers = rule.init(values), jax.random.key(seed), network.model.layers

    def loss_of(values: Values, averages: Values, x: Any, labels: Any, key: Any) -> tuple[Any, Values]:
        moved: Values = {}
        z = apply(layers, x, values, averages, moved, key)
        return optax.softmax_cross_entropy_with_integer_labels(z, labels).mean(), moved

    @partial(jax.jit, donate_argnums=(0, 1, 2))
    def train(values: Values, averages: Values, state: Any, count: Any, x: Any, labels: Any) -> Any:
        gradient = jax.value_and_grad(loss_of, has_aux=True)
        with jax.default_matmul_precision("highest") if gpu else nullcontext():  # float32 in place of TensorFloat-32
            (loss, averages), g = gradient(values, averages, x, labels, jax.random.fold_in(key, count))
        updates, state = rule.update(g, state, values)
        return optax.apply_updates(values, updates), averages, state, count + 1, loss

    count = jnp.zeros((), jnp.int32)

    def step(x: Any, labels: Any) -> Any:
        nonlocal values, averages, state, count
        with jax.default_device(device):
            values, averages, state, count, loss = train(values, averages, state, count, x, labels)
        return loss

    return step


def gpus() -> list[Any]:
    """Return the GPUs that JAX sees."""
    import jax

    try:
        return list(jax.devices("gpu"))
    except RuntimeError:  # JAX's way to say that there is none
        return []


def make_gather(split: Split, batch_size: int, seed: int, gpu: bool) -> Gather:
    """Return what gathers batches on the device. Arguments as in `make_peer_gather`."""
    import jax

    device = gpus()[0] if gpu else jax.devices("cpu")[0]
    examples, labels = (jax.device_put(array, device) for array in split)

    ahead, first = None, 0

    @jax.jit
    def take(examples: Any, labels: Any, ahead: Any, row: Any) -> Any:
        return examples[ahead[row]], labels[ahead[row]]

    def gather(step: int) -> Any:
        nonlocal ahead, first
        if ahead is None or not first <= step < first + AHEAD:
            ahead, first = jax.device_put(rows_ahead(len(split.y), batch_size, seed, step), device), step
        return take(examples, labels, ahead, step - first)

    return gather


def make_optimizer(name: str, learning_rate: float, chosen: Mapping[str, float]) -> Any:
    """Return optax's optimizer of a rule's name."""
    import optax

    if name in ("sgd", "momentum", "nesterov"):
        return optax.sgd(learning_rate, chosen.get("momentum") or None, nesterov=name == "nesterov")
    if name == "rmsprop":
        return optax.rmsprop(learning_rate, chosen["rho"], chosen["epsilon"], initial_scale=1.0,
                             momentum=chosen["momentum"] or None)
    kind = optax.adam if name == "adam" else optax.nadam
    return kind(learning_rate, chosen["beta1"], chosen["beta2"], chosen["epsilon"])


def apply(
    layers: Sequence[Layer], x: Any, values: Values, averages: Values, moved: Values, key: Any, prefix: str = ""
) -> Any:
    """Return the output of `layers` in training; puts the averages that batch norm has moved into `moved`."""
    import jax

    for number, layer in enumerate(layers):
        name = place_name(prefix, number, layer)
        if isinstance(layer, Residual):
            keys = jax.random.split(jax.random.fold_in(key, number))
            y = apply(layer.branch, x, values, averages, moved, keys[0], f"{name}.branch.")
            x = apply(layer.shortcut, x, values, averages, moved, keys[1], f"{name}.shortcut.") + y
        elif isinstance(layer, Dropout):
            keep = jax.random.bernoulli(jax.random.fold_in(key, number), 1.0 - layer.rate, x.shape)
            x = jax.numpy.where(keep, x / (1.0 - layer.rate), 0.0)
        elif isinstance(layer, BatchNorm):
            x = _batch_norm(layer, name, x, values, averages, moved)
        else:
            x = _plain(layer, name, x, values)
    return x


def _plain(layer: Layer, name: str, x: Any, values: Values) -> Any:
    import jax
    from jax import lax

    if isinstance(layer, Flatten):
        return x.reshape(x.shape[0], -1)
    if isinstance(layer, Dense):
        return x @ values[f"{name}.w"] + values[f"{name}.b"]
    if isinstance(layer, Conv2D):
        y = lax.conv_general_dilated(x, values[f"{name}.w"], (layer.stride,) * 2, [(layer.padding,) * 2] * 2,
                                     dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return y + values[f"{name}.b"]
    if isinstance(layer, Activation):
        gelu = partial(jax.nn.gelu, approximate=False)
        activations: dict[str, Callable[[Any], Any]] = {"relu": jax.nn.relu, "tanh": jax.numpy.tanh, "gelu": gelu}
        return activations[layer.name](x)
    if isinstance(layer, MaxPool2D):
        return lax.reduce_window(x, -np.inf, lax.max, (1, layer.window, layer.window, 1),
                                 (1, layer.stride, layer.stride, 1), "VALID")
    if isinstance(layer, GlobalAveragePool):
        return x.mean(axis=(1, 2))
    if isinstance(layer, LayerNorm):
        return _normalize(x, -1, layer.epsilon)[0] * values[f"{name}.gamma"] + values[f"{name}.beta"]
    raise InputError(f"the peer jax has no counterpart of the layer {type(layer).__name__}; measure without --peer")


def _batch_norm(layer: BatchNorm, name: str, x: Any, values: Values, averages: Values, moved: Values) -> Any:
    groups = ghost_groups(x.shape[0], layer.ghost_size)
    y, mean, var = _normalize(x.reshape(groups, -1, x.shape[-1]), 1, layer.epsilon)
    for which, of_groups in (("ema_mean", mean), ("ema_var", var)):
        before = averages[f"{name}.{which}"]
        moved[f"{name}.{which}"] = layer.decay * before + (1.0 - layer.decay) * of_groups.mean(axis=(0, 1))
    return y.reshape(x.shape) * values[f"{name}.gamma"] + values[f"{name}.beta"]


def _normalize(x: Any, axis: int, epsilon: float) -> tuple[Any, Any, Any]:
    from jax import lax

    mean, var = x.mean(axis=axis, keepdims=True), x.var(axis=axis, keepdims=True)
    return (x - mean) * lax.rsqrt(var + epsilon), mean, var

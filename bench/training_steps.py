"""One training step of every contender, from the same initial weights on the same batches."""

from __future__ import annotations

from typing import Any

import numpy as np
from work import Work
from workloads import LEARNING_RATE, MODELS, Batches, draw_batches

from refplay.kernels import load
from refplay.nn import Network
from refplay.procedures import peers_jax
from refplay.procedures.machine import cores
from refplay.procedures.peers import make_peer_step
from refplay.train import make_step

SCANNED = 32  # steps in one call of jax-scan
AHEAD = 8  # steps that jax-ahead gives away before it waits


def training_step(contender: str, model: str, batch: int) -> Work:
    """Return the step of a contender; a batch comes as NumPy arrays, and taking it is part of the step."""
    kernels = load("numba" if contender == "ours" else "numpy")
    network = Network(MODELS[model](batch), kernels, seed=1)
    batches = draw_batches(network.model.input_shape, batch)
    if contender == "ours":
        return _ours(network, batch, batches)
    if contender == "jax-scan":
        return _jax_scan(network, batches)
    if contender == "torch-compile":
        _forget_compiled()
    kind = {"torch-malloc": "torch", "jax-ahead": "jax"}.get(contender, contender)  # those differ around the step only
    step = make_peer_step(kind, network, "adam", batch, learning_rate=LEARNING_RATE, threads=cores())
    following = batches.feed()
    if contender == "jax-ahead":
        return Work(lambda: float([step(*following()) for _ in range(AHEAD)][-1]), AHEAD)

    def call() -> float:
        return float(step(*following()))

    return Work(call, check=call())


def _ours(network: Network, batch: int, batches: Batches) -> Work:
    step, following = make_step(network, "adam", batch), batches.feed()

    def call() -> float:
        x, labels = following()
        return step(x, labels, LEARNING_RATE)

    return Work(call, check=call())


def _forget_compiled() -> None:
    """Compile for this batch size alone: for the second one it sees, torch.compile makes code for every size."""
    import torch

    torch._dynamo.reset()


def _jax_scan(network: Network, batches: Batches) -> Work:
    """Many steps in one call of JAX, over batches stacked beforehand: less than a step at a time."""
    import jax
    import optax

    layers = network.model.layers
    rule = peers_jax.make_optimizer("adam", LEARNING_RATE, {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8})
    values = {name: jax.numpy.array(value) for name, value in network.named(network.theta).items()}
    averages = {name: jax.numpy.array(value) for name, value in network.named_statistics().items()}

    def loss_of(values: Any, averages: Any, x: Any, labels: Any) -> tuple[Any, Any]:
        moved: dict[str, Any] = {}
        z = peers_jax.apply(layers, x, values, averages, moved, jax.random.key(0))
        return optax.softmax_cross_entropy_with_integer_labels(z, labels).mean(), moved

    def train(carry: Any, pair: Any) -> tuple[Any, Any]:
        values, averages, state = carry
        (loss, averages), g = jax.value_and_grad(loss_of, has_aux=True)(values, averages, *pair)
        updates, state = rule.update(g, state, values)
        return (optax.apply_updates(values, updates), averages, state), loss

    scan = jax.jit(lambda carry, pairs: jax.lax.scan(train, carry, pairs), donate_argnums=0)
    following, carry = batches.feed(), (values, averages, rule.init(values))
    x, labels = (np.stack(part) for part in zip(*(following() for _ in range(SCANNED)), strict=True))
    carry, losses = scan(carry, (x, labels))
    first = float(losses[0])

    def call() -> float:
        nonlocal carry
        carry, losses = scan(carry, (x, labels))
        return float(losses[-1])

    return Work(call, SCANNED, first)

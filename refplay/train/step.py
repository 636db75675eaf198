"""One training step as one function: forward pass, loss, backward pass, update."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, SupportsFloat

import numpy as np

from refplay.kernels import Array
from refplay.kernels import recorder as new_recorder
from refplay.kernels import resident as new_resident
from refplay.nn import Network
from refplay.nn.replay import record_pass, run
from refplay.optim import RULES
from refplay.train.on_device import DeviceLoss

Step = Callable[[Array, Array, float], SupportsFloat]
ROWS_AHEAD = 64  # steps whose numbers are brought to the device at once


def make_step(
    network: Network,
    rule: str,
    batch_size: int,
    *,
    hyperparameters: Mapping[str, float] | None = None,
    smoothing: float = 0.0,
    seed: int = 0,
) -> Step:
    """Return a function `step(x, labels, rate) -> loss` that trains `network` by one batch each time it is called.

    It minimizes the mean loss of the batch, neither measures nor clips the norm of the gradient, and need not leave a
    gradient behind: what it does is what a loop of PyTorch or JAX does, and what throughput is measured of. The state
    of the rule and the step count are its own. `refplay.train.fit` is the loop that also watches, clips and decays.

    On a device a step is not waited for: `float` of the loss does, until the next step overwrites it.

    Parameters
    ----------
    network : Network
    rule : str
        A name of `refplay.optim.RULES`.
    batch_size : int, 1 or more
        Examples of every batch, B.
    hyperparameters : mapping of str to float
        Of the rule, without the learning rate; what is missing has the rule's default.
    smoothing : float
        Label smoothing, 0 <= smoothing < 1.
    seed : int
        Of the dropout masks.

    Of the function returned: x is float[B, ...] of the network's dtype, labels int64[B], rate the learning rate.
    """
    k = network.kernels
    update = RULES[rule].update
    chosen = {**RULES[rule].hyperparameters, **(hyperparameters or {})}
    weights = k.asarray(np.full(batch_size, 1.0 / batch_size, network.dtype))
    theta, g = network.theta, network.gradient
    device = new_resident(k)
    if device is not None and device.make_tape(1) is not None:
        return _captured(network, rule, weights, chosen, smoothing, seed, device)
    state, count, gradient = RULES[rule].init(theta, k), 0, make_gradient(network)

    recorder = new_recorder(k, network.dtype)
    if recorder is not None:
        recording, loss = record_step(network, rule, recorder, batch_size, state, chosen, smoothing, seed)
        recording.point("weights", weights)

    def replay(x: Array, labels: Array, rate: float) -> float:
        nonlocal state, count
        state = update(theta, g, state, lr=rate, **chosen, kernels=recording)
        count += 1
        return run(recording, x, labels, count - 1, loss)

    def step(x: Array, labels: Array, rate: float) -> SupportsFloat:
        nonlocal state, count
        loss = gradient(x, labels, weights, smoothing=smoothing, seed=seed, step=count)
        state = update(theta, g, state, lr=rate, **chosen, kernels=k)
        count += 1
        return loss

    return step if recorder is None else replay


def _captured(
    network: Network, rule: str, weights: Array, hyperparameters: Mapping[str, float], smoothing: float, seed: int,
    device: Any,
) -> Step:  # fmt: skip
    """Return the step on a device with graphs: captured when the same arrays come again, and then replayed.

    A graph works on the arrays that it was captured with, and on no others: where a batch comes in other arrays, its
    step is launched kernel by kernel. `DeviceBatches` gives every batch in the same.
    """
    k, theta, g, update = network.kernels, network.theta, network.gradient, RULES[rule].update
    tape, loss = device.make_tape(ROWS_AHEAD), DeviceLoss(k)
    state, count = RULES[rule].init(theta, k), 0
    ahead: list[Any] = []  # the states after the steps whose numbers are on the device
    noted: float | None = None  # the rate that they have
    given: tuple[Array | None, Array | None] = None, None
    options: dict[str, Any] = {"smoothing": smoothing, "seed": seed}
    graph: Any = None

    def step(x: Array, labels: Array, rate: float) -> SupportsFloat:
        nonlocal ahead, noted, state, count, given, graph

        def launches() -> None:
            tape.capture()
            loss.take(network.backpropagate(tape.layers, x, labels, weights, step=count, **options))
            update(theta, g, state, lr=rate, **hyperparameters, kernels=tape)
            tape.advance()

        if not ahead or rate != noted:
            # A rate that stays is taken to stay on, and one that moves to move at each step.
            ahead, rows = [], ROWS_AHEAD if rate == noted else 1
            for row in range(rows):
                tape.note(row)
                last = ahead[-1] if ahead else state
                ahead.append(update(theta, g, last, lr=rate, **hyperparameters, kernels=tape))
            tape.bring(count)
            noted = rate
        if x is given[0] and labels is given[1]:
            graph = graph or device.Graph(launches)
            graph.launch()
        else:
            given, graph = (x, labels), None
            launches()
        state, count = ahead.pop(0), count + 1
        return loss

    return step


def make_gradient(network: Network) -> Callable[..., SupportsFloat]:
    """Return the network's `loss_and_gradient`; on a device, one that does not wait for the loss."""
    if new_resident(network.kernels) is None:
        return network.loss_and_gradient
    loss = DeviceLoss(network.kernels)

    def gradient(x: Array, labels: Array, weights: Array, **options: Any) -> SupportsFloat:
        loss.take(network.backpropagate(network.kernels, x, labels, weights, **options))
        return loss

    return gradient


def record_step(
    network: Network, rule: str, recorder: Any, batch_size: int, state: Any, hyperparameters: Mapping[str, float],
    smoothing: float, seed: int,
) -> tuple[Any, np.ndarray]:  # fmt: skip
    """Return the recording of a step, with the inputs "x", "labels" and "weights", and its loss, float64[1]."""
    loss = record_pass(network, recorder, batch_size, smoothing, seed)
    RULES[rule].update(network.theta, network.gradient, state, lr=0.0, **hyperparameters, kernels=recorder)
    return recorder.finish(needed=(loss,)), loss

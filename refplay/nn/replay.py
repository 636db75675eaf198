"""Passes over a network as one compiled program, where the backend can record one.

What a network does in a step is a sequence of kernel calls that is the same at every step. A backend with a recorder
(`refplay.kernels.recorder`) takes it down once per batch size; a replay then costs one call from Python.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from refplay.kernels import Array

if TYPE_CHECKING:
    from refplay.nn.network import Network

Replay = Callable[[Array, Array, Array, int], float]  # (x, labels, weights, step) -> loss


def record_gradient(network: Network, recorder: Any, batch: int, smoothing: float, seed: int) -> Replay:
    """Return the recorded form of `Network.loss_and_gradient` for one batch size."""
    loss = record_pass(network, recorder, batch, smoothing, seed)
    recording = recorder.finish(needed=(loss, network.gradient))

    def replay(x: Array, labels: Array, weights: Array, step: int) -> float:
        recording.point("weights", weights)
        return run(recording, x, labels, step, loss)

    return replay


def record_pass(network: Network, recorder: Any, batch: int, smoothing: float, seed: int) -> np.ndarray:
    """Record forward pass, loss and backward pass of inputs "x", "labels", "weights"; return the loss, float64[1]."""
    x = recorder.input("x", (batch, *network.model.input_shape))
    labels = recorder.input("labels", (batch,), "int64")
    weights = recorder.input("weights", (batch,))
    losses = network.backpropagate(recorder, x, labels, weights, smoothing=smoothing, seed=seed)
    loss = np.zeros(1)
    recorder.total(losses, loss)
    return loss


def run(recording: Any, x: Array, labels: Array, step: int, loss: np.ndarray) -> float:
    """Run a recording on one batch; `step` is that of the dropout masks."""
    recording.point("x", x)
    recording.point("labels", labels.astype(np.int64, copy=False))
    recording.rewrite("dropout_forward", step)
    recording.rewrite("dropout_backward", step)
    recording.run()
    return float(loss[0])

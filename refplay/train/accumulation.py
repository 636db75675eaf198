"""Gradient accumulation: a large batch in small pieces. It saves memory and no time.

Source: playbook, "Determining the feasible batch sizes and estimating training throughput".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, SupportsFloat

import numpy as np

from refplay.errors import InputError
from refplay.kernels import Array
from refplay.kernels import resident as new_resident
from refplay.nn import BatchNorm, Model, Network
from refplay.nn.norm import ghost_groups
from refplay.optim import RULES
from refplay.train.on_device import DeviceLoss
from refplay.train.step import Step


def make_accumulated_gradient(
    network: Network, batch_size: int, pieces: int, *, smoothing: float = 0.0, seed: int = 0
) -> Callable[[Array, Array, int], tuple[SupportsFloat, Array]]:
    r"""Return a function `gradient(x, labels, step) -> (loss, g)` that sums the gradient of a batch over its pieces.

    With :math:`B` the batch size, :math:`k` the number of pieces :math:`P_1, \dots, P_k` and :math:`\ell_i` the loss of
    example :math:`i`,

    .. math::
        g = \sum_{j=1}^{k} \nabla \frac1B \sum_{i \in P_j} \ell_i

    which is the gradient of the whole batch. With dropout the masks are others: those of k steps.

    Parameters
    ----------
    network : Network
    batch_size : int
        B, a multiple of `pieces`.
    pieces : int, 1 or more
        k.
    smoothing, seed
        As in `make_step`.

    Of the function returned: x is float[B, ...], labels int64[B], step counts from 0; the next call overwrites g.

    Raises
    ------
    InputError
        A batch that cannot be cut so, or batch norm that would see smaller (ghost) batches than in the whole batch.
    """
    check_pieces(network.model, batch_size, pieces)
    k, size = network.kernels, batch_size // pieces
    weights = k.asarray(np.full(size, 1.0 / batch_size, network.dtype))
    total = k.zeros(network.theta.shape, network.dtype)
    on_device = None if new_resident(k) is None else DeviceLoss(k, pieces)

    def gradient(x: Array, labels: Array, step: int) -> tuple[SupportsFloat, Array]:
        loss = 0.0
        for piece in range(pieces):
            part = slice(piece * size, (piece + 1) * size)
            options: dict[str, Any] = {"smoothing": smoothing, "seed": seed, "step": step * pieces + piece}
            if on_device is None:
                loss += network.loss_and_gradient(x[part], labels[part], weights, **options)
            else:
                on_device.take(network.backpropagate(k, x[part], labels[part], weights, **options), piece)
            k.axpby(1.0, network.gradient, 1.0 if piece else 0.0, total)  # total <- g, then total + g
        return loss if on_device is None else on_device, total

    return gradient


def make_accumulated_step(
    network: Network, rule: str, batch_size: int, pieces: int, *, hyperparameters: Mapping[str, float] | None = None
) -> Step:
    """Return a training step like that of `make_step` that takes the gradient of its batch in `pieces`."""
    gradient = make_accumulated_gradient(network, batch_size, pieces)
    k, update = network.kernels, RULES[rule].update
    chosen = {**RULES[rule].hyperparameters, **(hyperparameters or {})}
    state, count = RULES[rule].init(network.theta, k), 0

    def step(x: Array, labels: Array, rate: float) -> SupportsFloat:
        nonlocal state, count
        loss, g = gradient(x, labels, count)
        state = update(network.theta, g, state, lr=rate, **chosen, kernels=k)
        count += 1
        return loss

    return step


def check_pieces(model: Model, batch_size: int, pieces: int) -> None:
    """Raise InputError where a batch in so many pieces would not have the gradient of the whole."""
    if pieces < 1 or batch_size < 1 or batch_size % pieces:
        raise InputError(f"a batch of {batch_size} cannot be cut into {pieces} equal pieces; choose a number that "
                         f"divides it")
    for _, layer, _ in model.places():
        if isinstance(layer, BatchNorm):
            whole, piece = (size // ghost_groups(size, layer.ghost_size) for size in (batch_size, batch_size // pieces))
            if piece != whole:
                raise InputError(f"in {pieces} pieces batch norm would normalize over {piece} examples instead of "
                                 f"{whole}; choose fewer pieces or a ghost_size of at most {piece}")

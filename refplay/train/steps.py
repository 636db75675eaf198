"""The steps of a training up to its next evaluation: one after the other on the host, all at once on a device.

On the host a step is looked at when it is done. A device works through what it is given while Python goes on; looking
at a step would make them wait for each other. So all steps up to the next evaluation are given to it in one go, the
batches are gathered where they are used, losses and norms go into a log on the device, and that is read at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from typing import Any

import numpy as np

from refplay.data import Dataset, make_gather
from refplay.kernels import Array
from refplay.kernels import resident as new_resident
from refplay.nn import Network
from refplay.optim import RULES, add_l2_gradient, clip_by_norm, decay_weights, update_average
from refplay.seeds import derive
from refplay.train.divergence import check_divergence
from refplay.train.on_device import DeviceBatches
from refplay.train.progress import Progress
from refplay.train.training import Training

Steps = Callable[[Progress, int], Iterator[tuple[int, float, float]]]
Update = Callable[[Progress], None]

MOST_EXAMPLES = 2**24  # that a device is given at once: their indices are 128 MB


def make_steps(network: Network, data: Dataset, training: Training, seed: int) -> Steps:
    """Return the function `steps(progress, until)` that trains `network` until so many steps are done.

    It yields each step with the loss of its batch and the norm of its gradient before clipping, which are then in
    `progress` too. It raises `Diverged` for the step that shows it; a device has gone on by then, to no purpose.

    What does not change from step to step is prepared here. Arguments as of `fit`.
    """
    device = new_resident(network.kernels)
    if device is None:
        return _on_host(network, data, training, seed)
    return _on_device(network, data, training, seed, device)


def _on_host(network: Network, data: Dataset, training: Training, seed: int) -> Steps:
    k, g, decayed = network.kernels, network.gradient, network.decayed
    update = _make_update(network, training, k)
    gather = make_gather(data.train, training.batch_size, derive(seed, "shuffle"), network.dtype)
    weights, options = _equal_weights(network, training), _options(training, seed)

    def gradient(step: int) -> tuple[float, float]:
        """Return the loss of the batch and the norm of the gradient before clipping; write the clipped gradient."""
        x, y = (k.asarray(array) for array in gather(step))
        loss = network.loss_and_gradient(x, y, weights, step=step, **options)
        if training.weight_decay and not training.decoupled:
            add_l2_gradient(network.theta[:decayed], g[:decayed], training.weight_decay, kernels=k)
        return loss, clip_by_norm(g, training.clip_threshold, kernels=k)

    def steps(progress: Progress, until: int) -> Iterator[tuple[int, float, float]]:
        while progress.step < until:
            step = progress.step
            loss, norm = gradient(step)
            _watch(progress, loss, norm, data.classes)
            update(progress)
            yield step, loss, norm

    return steps


def _on_device(network: Network, data: Dataset, training: Training, seed: int, device: Any) -> Steps:
    k = network.kernels
    most = max(1, min(training.evaluate_every, training.total_steps, MOST_EXAMPLES // training.batch_size))
    batches = DeviceBatches(data.train, training.batch_size, derive(seed, "shuffle"), k, network.dtype, ahead=most)
    log = k.zeros((2, most), "float64")
    gradient = _make_gradient(network, training, seed, batches, log[0], device)
    take = _launched if device.make_tape(1) is None else _captured
    take_steps = take(network, training, gradient, log[1], most, device)

    def steps(progress: Progress, until: int) -> Iterator[tuple[int, float, float]]:
        while progress.step < until:
            begun, count = progress.step, min(until - progress.step, most)
            batches.bring(begun, begun + count)
            take_steps(progress, count)
            rows = k.to_host(log)[:, :count].T.tolist()  # here, and nowhere before, the host waits
            for step, (loss, norm) in enumerate(rows, begun):
                _watch(progress, loss, norm, data.classes)
                yield step, loss, norm

    return steps


def _make_gradient(
    network: Network, training: Training, seed: int, batches: DeviceBatches, losses: Array, device: Any
) -> Callable[[Any, int, Any], None]:
    """Return the function that logs the loss of a batch and writes its gradient, not yet clipped.

    It takes the functions of a backend, the step, and its row among those at hand, an int or a counter on the device.
    """
    weights, options = _equal_weights(network, training), _options(training, seed)
    decayed, g_decayed = network.theta[: network.decayed], network.gradient[: network.decayed]

    def gradient(k: Any, step: int, row: Any) -> None:
        loss = network.backpropagate(k, *batches.at(row), weights, step=step, **options)
        device.total(loss, losses, row)
        if training.weight_decay and not training.decoupled:
            add_l2_gradient(decayed, g_decayed, training.weight_decay, kernels=network.kernels)

    return gradient


def _launched(
    network: Network, training: Training, gradient: Callable[..., None], norms: Array, most: int, device: Any
) -> Callable[[Progress, int], None]:
    """Return the function that takes so many steps kernel by kernel."""
    k, update = network.kernels, _make_update(network, training, network.kernels)

    def take_steps(progress: Progress, count: int) -> None:
        for row in range(count):
            gradient(k, progress.step, row)
            device.clip(network.gradient, training.clip_threshold, norms, row)
            update(progress)

    return take_steps


def _captured(
    network: Network, training: Training, gradient: Callable[..., None], norms: Array, most: int, device: Any
) -> Callable[[Progress, int], None]:
    """Return the function that takes so many steps as replays of one graph; see `refplay.kernels.cupy_cuda.tape`."""
    tape = device.make_tape(most)
    update = _make_update(network, training, tape)
    graph: Any = None
    captured: Progress | None = None  # the one whose arrays the graph moves

    def take_steps(progress: Progress, count: int) -> None:
        nonlocal graph, captured
        first = copy(progress)
        for row in range(count):
            tape.note(row)
            update(progress)
        tape.bring(first.step)

        def launches() -> None:
            tape.capture()
            gradient(tape.layers, first.step, tape.row)
            tape.clip(network.gradient, training.clip_threshold, norms)
            update(copy(first))
            tape.advance()

        if progress is not captured:
            graph, captured = device.Graph(launches), progress
        for _ in range(count):
            graph.launch()

    return take_steps


def _make_update(network: Network, training: Training, k: Any) -> Update:
    """Return the function that ends a step, by the functions `k`: weights, state and average move by the gradient."""
    rule, theta, g = RULES[training.rule], network.theta, network.gradient
    hyperparameters = {**rule.hyperparameters, **training.hyperparameters}
    rates, decayed = training.learning_rates(), theta[: network.decayed]

    def update(progress: Progress) -> None:
        rate = float(rates(progress.step))
        if training.weight_decay and training.decoupled:
            decay_weights(decayed, rate, training.weight_decay, kernels=k)
        progress.rule_state = rule.update(theta, g, progress.rule_state, lr=rate, **hyperparameters, kernels=k)
        if progress.average is not None:
            assert training.polyak_decay is not None
            progress.average = update_average(
                theta, progress.average, decay=training.polyak_decay, bias_free=True, kernels=k
            )
        progress.step += 1

    return update


def _equal_weights(network: Network, training: Training) -> Any:
    """Return weights that make the loss of a batch a mean."""
    return network.kernels.asarray(np.full(training.batch_size, 1.0 / training.batch_size, network.dtype))


def _options(training: Training, seed: int) -> dict[str, Any]:
    return {"smoothing": float(training.label_smoothing), "seed": derive(seed, "dropout")}


def _watch(progress: Progress, loss: float, norm: float, classes: int) -> None:
    """Keep the loss and the norm of the step that follows those kept; raise `Diverged` where it has failed."""
    progress.train_loss.append(loss)
    progress.gradient_norm.append(norm)
    check_divergence(progress.train_loss, norm, classes)

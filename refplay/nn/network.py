"""A network: a model with its parameters in one vector, and the forward and backward pass over them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import prod
from typing import NamedTuple

import numpy as np

from refplay.kernels import Array, Backend
from refplay.kernels import recorder as new_recorder
from refplay.nn.layer import Layer, Mode, Parameter, Place, Shape, backward, forward
from refplay.nn.layers import Activation, Conv2D, Dense, Dropout, MaxPool2D, Residual
from refplay.nn.model import Model, place_name
from refplay.nn.replay import Replay, record_gradient
from refplay.seeds import generator

Chain = list[tuple[Layer, Place]]


class Slot(NamedTuple):
    """Where one parameter lies in a vector."""

    place: str  # of its layer: "3.dense"
    parameter: Parameter
    start: int
    stop: int


class Pass(NamedTuple):
    """What one batch size needs: the layers with their buffers, and the arrays of the loss."""

    chain: Chain
    learned: Chain  # from the first layer with parameters on: nothing before it needs a gradient
    loss: Array  # [B]
    dz: Array | None  # [B, classes]; None in evaluation
    between: frozenset[int]  # ids of the buffers that a layer writes and nobody but the activation beside it reads


class Network:
    """A model with parameters.

    All parameters lie in one vector `theta`, their gradients in `gradient` in the same order: first what weight decay
    acts on (the weights of dense layers and convolutions), `theta[:decayed]`, then biases and norm parameters. The
    averages of batch norm lie in `statistics`. Layers work on views. The buffers of a batch size are allocated when it
    is first seen, so a training step allocates no array.

    Parameters
    ----------
    model : Model
        From `mlp`, `convnet`, `resnet`, or your own.
    kernels : Backend
        From `refplay.kernels.load`.
    seed : int
        Of the initial weights, drawn in double on the host: the same on every backend.
    dtype : {"float32", "float64"}
        Of everything.

    >>> from refplay import kernels
    >>> from refplay.nn import mlp
    >>> network = Network(mlp((4,), 3, depth=1, width=5), kernels.load("numpy"), seed=1)
    >>> network.theta.shape, network.decayed          # 4 x 5 + 5 x 3 weights decay; 5 + 3 biases do not
    ((43,), 35)
    >>> list(network.named(network.theta))
    ['0.dense.w', '2.dense.w', '0.dense.b', '2.dense.b']
    """

    def __init__(self, model: Model, kernels: Backend, seed: int, dtype: str = "float32") -> None:
        self.model, self.kernels, self.dtype = model, kernels, dtype
        parameters = [(name, p) for name, layer, shape in model.places() for p in layer.parameters(shape)]
        by_decay = [row for row in parameters if row[1].decays] + [row for row in parameters if not row[1].decays]
        self._slots = _layout(by_decay)
        self._averaged = _layout([(name, p) for name, layer, shape in model.places() for p in layer.statistics(shape)])
        self.decayed = sum(slot.stop - slot.start for slot in self._slots if slot.parameter.decays)
        dropouts = [name for name, layer, _ in model.places() if isinstance(layer, Dropout)]
        self._dropout_numbers = {name: number for number, name in enumerate(dropouts)}

        rng = generator(seed, "init")
        drawn = {(name, p.name): rng.normal(p.mean, p.std, p.shape) for name, p in parameters}
        theta = np.concatenate([drawn[slot.place, slot.parameter.name].ravel() for slot in self._slots])
        ones = [np.full(prod(slot.parameter.shape), slot.parameter.mean) for slot in self._averaged]
        self.gradient = kernels.zeros(theta.shape, dtype)
        self.assign(theta, np.concatenate([np.empty(0), *ones]))

    def assign(self, theta: np.ndarray, statistics: np.ndarray) -> None:
        """Take copies of these host vectors as parameters and statistics."""
        self.theta = self.kernels.asarray(np.array(theta, self.dtype))
        self.statistics = self.kernels.asarray(np.array(statistics, self.dtype))
        self._passes: dict[tuple[int, bool], Pass] = {}  # the views of the old vectors go with it
        self._replays: dict[tuple[int, float, int], Replay | None] = {}

    def sharing(self, theta: Array) -> Network:
        """Return this network on another parameter vector, such as the Polyak average, with the same statistics."""
        other = Network.__new__(Network)
        other.__dict__.update(self.__dict__)
        other.theta, other._passes, other._replays = theta, {}, {}
        return other

    def named(self, vector: Array) -> dict[str, Array]:
        """Return the views of `vector` (theta, gradient, or any of their shape) by the names of the parameters."""
        return {f"{s.place}.{s.parameter.name}": _view(vector, s) for s in self._slots}

    def named_statistics(self) -> dict[str, Array]:
        """Return the views of the averages of batch norm by name."""
        return {f"{s.place}.{s.parameter.name}": _view(self.statistics, s) for s in self._averaged}

    def logits(self, x: Array) -> Array:
        """Return z[B,classes] of x[B,...] without dropout, with averaged statistics. The next call overwrites it."""
        return forward(self.kernels, self._pass(x.shape[0], training=False).chain, x, Mode(training=False))

    def losses(self, x: Array, labels: Array, weights: Array) -> tuple[np.ndarray, np.ndarray]:
        """Return, on the host, the cross-entropy [B] of each example times its weight, and the logits [B,classes].

        In evaluation, like `logits`; the next call overwrites both.
        """
        z, loss = self.logits(x), self._pass(x.shape[0], training=False).loss
        self.kernels.softmax_cross_entropy(z, labels, weights, 0.0, loss, None)
        return self.kernels.to_host(loss), self.kernels.to_host(z)

    def loss_and_gradient(
        self, x: Array, labels: Array, weights: Array, *, smoothing: float = 0.0, seed: int = 0, step: int = 0
    ) -> float:
        """Return the loss of a training batch and overwrite `gradient` with its gradient.

        Also moves the averages of batch norm, once a call.

        Parameters
        ----------
        x : float[B, ...]
            Examples of the model's input shape.
        labels : int64[B] or int32[B]
        weights : float[B]
            Of the examples; 1/B each makes the loss a mean.
        smoothing : float
            Label smoothing, 0 <= smoothing < 1.
        seed, step : int
            Of the dropout masks.
        """
        recorded = self._recorded(x.shape[0], smoothing, seed)
        if recorded is not None:
            return recorded(x, labels, weights, step)
        loss = self.backpropagate(self.kernels, x, labels, weights, smoothing=smoothing, seed=seed, step=step)
        return float(self.kernels.to_host(loss).sum(dtype=np.float64))

    def backpropagate(
        self, k: Backend, x: Array, labels: Array, weights: Array, *, smoothing: float = 0.0, seed: int = 0,
        step: int = 0,
    ) -> Array:  # fmt: skip
        """Do the work of `loss_and_gradient` with the kernels `k`, which may be a recorder; return the losses [B].

        Kernels that have a `between` are told which arrays they need not write where they put two layers together.
        """
        run, mode = self._pass(x.shape[0], training=True), Mode(True, seed, step)
        if hasattr(k, "between"):
            k.between = run.between
        z = forward(k, run.chain, x, mode)
        k.softmax_cross_entropy(z, labels, weights, smoothing, run.loss, run.dz)
        assert run.dz is not None
        backward(k, run.learned, run.dz, mode)
        return run.loss

    def _recorded(self, batch: int, smoothing: float, seed: int) -> Replay | None:
        """Return the recorded form of `loss_and_gradient` where the backend can record, made at the first call."""
        key = (batch, smoothing, seed)
        if key not in self._replays:
            recorder = new_recorder(self.kernels, self.dtype) if batch else None
            self._replays[key] = None if recorder is None else record_gradient(self, recorder, *key)
        return self._replays[key]

    def _pass(self, batch: int, training: bool) -> Pass:
        """Return the layers with buffers for this batch size, allocated at the first call for it."""
        if (batch, training) not in self._passes:
            chain = self._chain(self.model.layers, self.model.input_shape, "", batch, training)
            first = min(int(slot.place.split(".")[0]) for slot in self._slots)
            if isinstance(chain[first][0], Dense | Conv2D):
                setattr(chain[first][1], "dx", None)  # noqa: B010 (the kernels take None, the type of a place does not)
            loss = self.kernels.empty((batch,), self.dtype)
            dz = self.kernels.empty((batch, self.model.classes), self.dtype) if training else None
            between = frozenset(_between(chain) if training else ())
            self._passes[batch, training] = Pass(chain, chain[first:], loss, dz, between)
        return self._passes[batch, training]

    def _chain(self, layers: Sequence[Layer], shape: Shape, prefix: str, batch: int, training: bool) -> Chain:
        """Return the layers, each with its place."""
        chain: Chain = []
        for number, layer in enumerate(layers):
            name = place_name(prefix, number, layer)
            buffers = layer.buffers(shape, batch, training)
            at = Place(**{key: self.kernels.empty(s, self.dtype) for key, s in buffers.items()})
            for slot in self._slots:
                if slot.place == name:
                    setattr(at, slot.parameter.name, _view(self.theta, slot))
                    setattr(at, "d" + slot.parameter.name, _view(self.gradient, slot))
            for slot in self._averaged:
                if slot.place == name:
                    setattr(at, slot.parameter.name, _view(self.statistics, slot))
            if isinstance(layer, Dropout):
                at.number = self._dropout_numbers[name]
            if isinstance(layer, Residual):
                at.branch = self._chain(layer.branch, shape, f"{name}.branch.", batch, training)
                at.shortcut = self._chain(layer.shortcut, shape, f"{name}.shortcut.", batch, training)
            chain.append((layer, at))
            shape = layer.output_shape(shape)
        return chain


def _between(chain: Chain) -> Iterator[int]:
    """Yield the ids of the arrays that pass between a layer and an activation: y forwards, dx backwards.

    Of neighbours in one chain, as what stands before a residual layer is read by its branch and its shortcut; and of
    layers that are known not to read it themselves, backwards.
    """
    for (layer, at), (following, after) in pairwise(chain):
        if type(layer) in (Dense, Conv2D) and type(following) is Activation:
            yield id(at.y)
        if type(layer) is Activation and type(following) in (Dense, MaxPool2D):
            yield id(after.dx)
    for layer, at in chain:
        if isinstance(layer, Residual):
            yield from _between(at.branch)
            yield from _between(at.shortcut)


def _layout(parameters: list[tuple[str, Parameter]]) -> list[Slot]:
    """Return the parameters one after the other in a vector."""
    slots, start = [], 0
    for place, parameter in parameters:
        stop = start + prod(parameter.shape)
        slots.append(Slot(place, parameter, start, stop))
        start = stop
    return slots


def _view(vector: Array, slot: Slot) -> Array:
    return vector[slot.start : slot.stop].reshape(slot.parameter.shape)

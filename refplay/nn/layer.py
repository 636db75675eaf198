"""What every layer of refplay is: a description (a frozen dataclass) with an explicit forward and backward.

A layer holds no array. What it works on lies in its *place* in a network: views into the network's one parameter
vector, gradient vector and vector of statistics, and the buffers of one batch size. So a layer reads as its equation::

    def forward(self, k, at, x, mode):
        at.x = x
        k.dense_forward(x, at.w, at.b, at.y)          # y = x w + b
        return at.y

    def backward(self, k, at, dy, mode):
        k.dense_backward(at.x, at.w, dy, at.dx, at.dw, at.db)
        return at.dx

`k` is a backend of `refplay.kernels`; nothing but its contract, slices and reshapes is used, so a layer runs on every
backend.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import NamedTuple, Protocol

from refplay.errors import InputError
from refplay.kernels import Array, Backend

Shape = tuple[int, ...]  # of one example: the batch axis is never part of it


class Parameter(NamedTuple):
    """A parameter (or a statistic) of a layer and how it begins: normal with this mean and standard deviation."""

    name: str
    shape: Shape
    decays: bool  # weights decay, biases and norm parameters do not
    mean: float
    std: float


class Place(SimpleNamespace):
    """What a layer owns in a network, under the names that it gave; a parameter as `w`, its gradient as `dw`.

    A layer of your own may use other names: they are those of its `parameters`, `statistics` and `buffers`.
    """

    x: Array  # what the forward pass got
    shape: Shape  # in which it was seen, where that differs
    y: Array
    dx: Array  # None in the first layer that learns: nobody asks for the gradient of the examples
    w: Array
    b: Array
    dw: Array
    db: Array
    gamma: Array
    beta: Array
    dgamma: Array
    dbeta: Array
    mean: Array
    var: Array
    ema_mean: Array
    ema_var: Array
    number: int  # of a dropout layer among those of the network
    branch: list[tuple[Layer, Place]]  # of a residual layer
    shortcut: list[tuple[Layer, Place]]


class Mode(NamedTuple):
    """How a pass runs. Training: batch statistics and dropout; else the averaged statistics and no dropout."""

    training: bool
    seed: int = 0  # of the dropout masks
    step: int = 0


class Layer(Protocol):
    """What a network asks of a layer. `shape` is the shape of one example of the layer's input."""

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of one example of the output; InputError where the layer cannot take this input."""

    def parameters(self, shape: Shape) -> tuple[Parameter, ...]:
        """Return what is learned."""

    def statistics(self, shape: Shape) -> tuple[Parameter, ...]:
        """Return what is averaged over training instead of learned."""

    def buffers(self, shape: Shape, batch: int, training: bool) -> dict[str, Shape]:
        """Return the shapes of the arrays for one batch size, by name; `dx` and its kin only for training."""

    def forward(self, k: Backend, at: Place, x: Array, mode: Mode) -> Array:
        """Return y; keeps at its place what the backward pass needs."""

    def backward(self, k: Backend, at: Place, dy: Array, mode: Mode) -> Array:
        """Return dx and overwrite the gradients of the parameters; leaves `dy` and what forward kept as they are."""


class Plain:
    """The methods of a layer that learns nothing, averages nothing and keeps the shape."""

    def output_shape(self, shape: Shape) -> Shape:
        return shape

    def parameters(self, shape: Shape) -> tuple[Parameter, ...]:
        return ()

    def statistics(self, shape: Shape) -> tuple[Parameter, ...]:
        return ()

    def buffers(self, shape: Shape, batch: int, training: bool) -> dict[str, Shape]:
        y = {"y": (batch, *self.output_shape(shape))}
        return {**y, "dx": (batch, *shape)} if training else y


def initial_std(init: str, fan_in: int, fan_out: int) -> float:
    r"""Return the standard deviation of initial weights.

    ``"he"``
        :math:`\sqrt{2/\text{fan\_in}}`: keeps the variance of activations through ReLU layers
        (He et al. 2015, "Delving deep into rectifiers", eq. 10).
    ``"glorot"``
        :math:`\sqrt{2/(\text{fan\_in}+\text{fan\_out})}`: for units that are linear around 0, such as tanh and logits
        (Glorot and Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks", eq. 12).
    ``"zero"``
        0: for the last layer of a residual branch, which then begins as the identity.

    >>> initial_std("he", 50, 10), initial_std("glorot", 40, 10)
    (0.2, 0.2)
    """
    if init == "he":
        return math.sqrt(2.0 / fan_in)
    if init == "glorot":
        return math.sqrt(2.0 / (fan_in + fan_out))
    if init == "zero":
        return 0.0
    raise InputError(f"unknown initialization {init!r}; choose one of he, glorot, zero")


def forward(k: Backend, chain: Sequence[tuple[Layer, Place]], x: Array, mode: Mode) -> Array:
    """Return the output of layers applied one after the other."""
    for layer, at in chain:
        x = layer.forward(k, at, x, mode)
    return x


def backward(k: Backend, chain: Sequence[tuple[Layer, Place]], dy: Array, mode: Mode) -> Array:
    """Return the gradient of the chain's input: the chain rule, last layer first."""
    for layer, at in reversed(chain):
        dy = layer.backward(k, at, dy, mode)
    return dy

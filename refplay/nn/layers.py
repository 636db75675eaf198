"""The plain layers: dense, convolution, activation, pooling, dropout, flatten, residual."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from numbers import Real

from refplay.errors import InputError
from refplay.kernels import Array, Backend
from refplay.nn.layer import Layer, Mode, Parameter, Place, Plain, Shape, backward, forward, initial_std
from refplay.nn.norm import BatchNorm, LayerNorm

ACTIVATIONS = ("relu", "tanh", "gelu")


@dataclass(frozen=True)
class Dense(Plain):
    """y[B,O] = x[B,I] w[I,O] + b[O]."""

    units: int
    init: str = "he"

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 1:
            raise InputError(f"a dense layer takes vectors, but gets examples of shape {shape}; put Flatten() first")
        return (self.units,)

    def parameters(self, shape: Shape) -> tuple[Parameter, ...]:
        (inputs,) = shape
        std = initial_std(self.init, inputs, self.units)
        return Parameter("w", (inputs, self.units), True, 0.0, std), Parameter("b", (self.units,), False, 0.0, 0.0)

    def forward(self, k: Backend, at: Place, x: Array, mode: Mode) -> Array:
        at.x = x
        k.dense_forward(x, at.w, at.b, at.y)
        return at.y

    def backward(self, k: Backend, at: Place, dy: Array, mode: Mode) -> Array:
        k.dense_backward(at.x, at.w, dy, at.dx, at.dw, at.db)
        return at.dx


@dataclass(frozen=True)
class Conv2D(Plain):
    """Cross-correlation of x[N,H,W,C] with w[R,R,C,K], plus b[K]; `padding` zeros on every side."""

    channels: int
    size: int = 3
    stride: int = 1
    padding: int = 1
    init: str = "he"

    def output_shape(self, shape: Shape) -> Shape:
        height, width = _window_output("a convolution", shape, self.size, self.stride, self.padding)
        return height, width, self.channels

    def parameters(self, shape: Shape) -> tuple[Parameter, ...]:
        area, inputs = self.size**2, shape[-1]
        std = initial_std(self.init, area * inputs, area * self.channels)
        w = Parameter("w", (self.size, self.size, inputs, self.channels), True, 0.0, std)
        return w, Parameter("b", (self.channels,), False, 0.0, 0.0)

    def forward(self, k: Backend, at: Place, x: Array, mode: Mode) -> Array:
        at.x = x
        k.conv2d_forward(x, at.w, at.b, at.y, self.stride, self.padding)
        return at.y

    def backward(self, k: Backend, at: Place, dy: Array, mode: Mode) -> Array:
        k.conv2d_backward(at.x, at.w, dy, at.dx, at.dw, at.db, self.stride, self.padding)
        return at.dx


@dataclass(frozen=True)
class Activation(Plain):
    """y = relu(x), tanh(x) or gelu(x), element by element."""

    name: str = "relu"

    def __post_init__(self) -> None:
        if self.name not in ACTIVATIONS:
            raise InputError(f"unknown activation {self.name!r}; choose one of {', '.join(ACTIVATIONS)}")

    def forward(self, k: Backend, at: Place, x: Array, mode: Mode) -> Array:
        at.x = x
        getattr(k, self.name + "_forward")(x, at.y)
        return at.y

    def backward(self, k: Backend, at: Place, dy: Array, mode: Mode) -> Array:
        getattr(k, self.name + "_backward")(at.x, at.y, dy, at.dx)
        return at.dx


@dataclass(frozen=True)
class MaxPool2D(Plain):
    """The largest value of each window x window patch, every `stride` pixels."""

    window: int = 2
    stride: int = 2

    def output_shape(self, shape: Shape) -> Shape:
        return *_window_output("a pooling layer", shape, self.window, self.stride, 0), shape[-1]

    def forward(self, k: Backend, at: Place, x: Array, mode: Mode) -> Array:
        at.x = x
        k.max_pool2d_forward(x, at.y, self.window, self.stride)
        return at.y

    def backward(self, k: Backend, at: Place, dy: Array, mode: Mode) -> Array:
        k.max_pool2d_backward(at.x, at.y, dy, at.dx, self.window, self.stride)
        return at.dx


@dataclass(frozen=True)
class GlobalAveragePool(Plain):
    """y[N,C] = mean of x[N,H,W,C] over H and W."""

    def output_shape(self, shape: Shape) -> Shape:
        _check_image("a global average pool", shape)
        return (shape[-1],)

    def forward(self, k: Backend, at: Place, x: Array, mode: Mode) -> Array:
        k.global_avg_pool_forward(x, at.y)
        return at.y

    def backward(self, k: Backend, at: Place, dy: Array, mode: Mode) -> Array:
        k.global_avg_pool_backward(dy, at.dx)
        return at.dx


@dataclass(frozen=True)
class Dropout(Plain):
    """In training, zeros each value with probability `rate` and scales the others by 1/(1-rate); else nothing.

    The mask is a function of (seed, step, which dropout layer it is), so nothing of it is stored or checkpointed.
    """

    rate: float

    def __post_init__(self) -> None:
        if isinstance(self.rate, bool) or not isinstance(self.rate, Real) or not 0.0 <= self.rate < 1.0:
            raise InputError(f"the dropout rate is {self.rate!r}; it must be a number of at least 0 and below 1")

    def forward(self, k: Backend, at: Place, x: Array, mode: Mode) -> Array:
        if not mode.training or self.rate == 0.0:
            return x
        k.dropout_forward(x, at.y, self.rate, mode.seed, mode.step, at.number)
        return at.y

    def backward(self, k: Backend, at: Place, dy: Array, mode: Mode) -> Array:
        if self.rate == 0.0:
            return dy
        k.dropout_backward(dy, at.dx, self.rate, mode.seed, mode.step, at.number)
        return at.dx


@dataclass(frozen=True)
class Flatten(Plain):
    """Each example as one vector: a view, nothing is computed."""

    def output_shape(self, shape: Shape) -> Shape:
        return (prod(shape),)

    def buffers(self, shape: Shape, batch: int, training: bool) -> dict[str, Shape]:
        return {}

    def forward(self, k: Backend, at: Place, x: Array, mode: Mode) -> Array:
        at.shape = x.shape
        return x.reshape(x.shape[0], prod(x.shape[1:]))

    def backward(self, k: Backend, at: Place, dy: Array, mode: Mode) -> Array:
        return dy.reshape(at.shape)


@dataclass(frozen=True)
class Residual(Plain):
    """y = shortcut(x) + branch(x); without a shortcut, y = x + branch(x) (He et al. 2016, arXiv:1512.03385).

    The sum is written over the output of the branch. So the branch ends in a layer whose backward pass does not
    read its output: a dense or convolution layer, or a norm.
    """

    branch: tuple[Layer, ...]
    shortcut: tuple[Layer, ...] = ()

    def __post_init__(self) -> None:
        if not self.branch or not isinstance(self.branch[-1], Dense | Conv2D | BatchNorm | LayerNorm):
            raise InputError("a residual branch must end in a dense layer, a convolution or a norm")

    def output_shape(self, shape: Shape) -> Shape:
        ends = []
        for layers in (self.branch, self.shortcut):
            end = shape
            for layer in layers:
                end = layer.output_shape(end)
            ends.append(end)
        if ends[0] != ends[1]:
            raise InputError(f"a residual branch gives shape {ends[0]}, its shortcut {ends[1]}; they must be equal")
        return ends[0]

    def buffers(self, shape: Shape, batch: int, training: bool) -> dict[str, Shape]:
        return {}  # those of its layers suffice

    def forward(self, k: Backend, at: Place, x: Array, mode: Mode) -> Array:
        y = forward(k, at.branch, x, mode)
        s = forward(k, at.shortcut, x, mode)
        k.axpby(1.0, s.reshape(s.size), 1.0, y.reshape(y.size))  # y <- s + y
        return y

    def backward(self, k: Backend, at: Place, dy: Array, mode: Mode) -> Array:
        dx = backward(k, at.branch, dy, mode)
        ds = backward(k, at.shortcut, dy, mode)
        k.axpby(1.0, ds.reshape(ds.size), 1.0, dx.reshape(dx.size))  # dx <- ds + dx
        return dx


def _check_image(who: str, shape: Shape) -> None:
    if len(shape) != 3:
        raise InputError(f"{who} takes images [height, width, channels], but gets examples of shape {shape}")


def _window_output(who: str, shape: Shape, size: int, stride: int, padding: int) -> tuple[int, int]:
    """Return how many windows fit vertically and horizontally."""
    _check_image(who, shape)
    height, width = ((side + 2 * padding - size) // stride + 1 for side in shape[:2])
    if min(height, width) < 1:
        pixels = f"{shape[0]} x {shape[1]} pixels"
        raise InputError(f"{who} of size {size} does not fit into {pixels}; make the model less deep")
    return height, width

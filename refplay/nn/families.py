"""Model families: choosing an architecture means choosing the hyperparameters of one constructor.

Each constructor takes the shape of one example and the number of classes, and keyword-only hyperparameters that a
study may tune like any other. Source: playbook, "Choosing the model architecture"; for the place of normalization and
the zero initialization of residual branches, "How can optimization failures be debugged and mitigated?".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any

from refplay.errors import InputError
from refplay.nn.layer import Layer, Shape
from refplay.nn.layers import (
    Activation,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool,
    MaxPool2D,
    Residual,
)
from refplay.nn.model import Model
from refplay.nn.norm import BatchNorm, LayerNorm

NORMALIZATIONS = ("none", "batch", "layer")
RESIDUALS = ("none", "norm-inside", "norm-outside")


def mlp(
    input_shape: Shape,
    classes: int,
    *,
    depth: int = 2,
    width: int = 128,
    activation: str = "relu",
    normalization: str = "none",
    residual: str = "none",
    dropout: float = 0.0,
    ghost_size: int = 64,
) -> Model:
    """Return a multilayer perceptron: `depth` times (dense, norm, activation, dropout), then a dense layer of logits.

    Parameters
    ----------
    input_shape : tuple of int
        Of one example; images are flattened.
    classes : int
        How many logits.
    depth, width : int, 1 or more
        Hidden layers and their units.
    activation : {"relu", "tanh", "gelu"}
        Weights begin as `initial_std` says: He for relu and gelu, Glorot for tanh and for the logits.
    normalization : {"none", "batch", "layer"}
        Between dense layer and activation.
    residual : {"none", "norm-inside", "norm-outside"}
        "norm-inside" is x + norm(f(x)), the form to prefer; "norm-outside" is norm(x + f(x)), which is known to train
        badly. f is the dense layer. The first hidden layer changes the width and has no residual.
    dropout : float
        Rate after each activation, 0 <= dropout < 1.
    ghost_size : int, 1 or more
        Examples per ghost batch of batch norm.

    Raises
    ------
    InputError
        Where a value is out of range or no such choice exists.

    >>> mlp((4,), 3, depth=1, width=5).layers
    (Dense(units=5, init='he'), Activation(name='relu'), Dense(units=3, init='glorot'))
    """
    _check_positive(depth=depth, width=width, classes=classes)
    _check_residual(residual)
    norm = _norm(normalization, ghost_size)
    layers: list[Layer] = [Flatten()] if len(input_shape) > 1 else []
    for number in range(depth):
        dense = Dense(width, init=_init(activation))
        layers += _residual([dense], (), norm, residual if number else "none")
        layers += [Activation(activation), *_dropout(dropout)]
    return Model(tuple(input_shape), classes, (*layers, Dense(classes, init="glorot")))


def convnet(
    input_shape: Shape,
    classes: int,
    *,
    depth: int = 2,
    width: int = 16,
    activation: str = "relu",
    normalization: str = "none",
    dropout: float = 0.0,
    ghost_size: int = 64,
) -> Model:
    """Return a convolutional network: `depth` times (3x3 convolution, norm, activation, 2x2 max pool), then logits.

    Each stage halves the image and doubles the channels, beginning with `width`. Dropout comes before the logits.
    The other arguments and errors are those of `mlp`; `input_shape` is (height, width, channels).

    >>> convnet((8, 8, 1), 10, depth=1).layers[:3]  # doctest: +NORMALIZE_WHITESPACE
    (Conv2D(channels=16, size=3, stride=1, padding=1, init='he'), Activation(name='relu'),
     MaxPool2D(window=2, stride=2))
    """
    _check_positive(depth=depth, width=width, classes=classes)
    norm = _norm(normalization, ghost_size)
    layers: list[Layer] = []
    for stage in range(depth):
        layers += [Conv2D(width * 2**stage, init=_init(activation)), *norm, Activation(activation), MaxPool2D()]
    layers += [Flatten(), *_dropout(dropout), Dense(classes, init="glorot")]
    return Model(tuple(input_shape), classes, tuple(layers))


def resnet(
    input_shape: Shape,
    classes: int,
    *,
    depth: int = 1,
    width: int = 16,
    strides: Sequence[int] = (1, 2, 2),
    activation: str = "relu",
    normalization: str = "batch",
    residual: str = "norm-inside",
    zero_init: bool = False,
    dropout: float = 0.0,
    ghost_size: int = 64,
) -> Model:
    """Return a small wide residual network (Zagoruyko and Komodakis 2016, arXiv:1605.07146).

    A 3x3 convolution; one stage for each entry of `strides`, of `depth` blocks; global average pooling; logits. Stage
    i has width * 2**i channels, and its first block takes the stride. A block is y = activation(x + norm(f(x))) with
    f = conv, norm, activation, dropout, conv. Where the shape changes, x goes through a 1x1 convolution. (The paper
    puts norm and activation before the convolutions; here normalization comes last before the sum, as the playbook
    advises.)

    Parameters
    ----------
    strides : sequence of int
        Of the stages. A change of one of them, (1, 1, 2) for (1, 2, 2), can make training unstable at large learning
        rates.
    residual : {"norm-inside", "norm-outside", "none"}
        "norm-outside" is activation(norm(x + f(x))); "none" leaves the shortcuts out.
    zero_init : bool
        Whether the last layer of each branch begins at zero, so that a block begins as the identity.

    The other arguments and errors are those of `convnet`.

    >>> model = resnet((8, 8, 1), 10, depth=2, strides=(1, 2))
    >>> [type(layer).__name__ for layer in model.layers].count("Residual")
    4
    """
    if isinstance(strides, str) or not isinstance(strides, Sequence):
        raise InputError(f"strides is {strides!r}; it must be a list of whole numbers, one for each stage")
    _check_positive(depth=depth, width=width, classes=classes, **{f"strides[{i}]": s for i, s in enumerate(strides)})
    _check_residual(residual)
    if not isinstance(zero_init, bool):
        raise InputError(f"zero_init is {zero_init!r}; it must be true or false")
    if zero_init and residual == "none":
        raise InputError("zero_init needs residual branches; choose residual = 'norm-inside', or zero_init = false")
    norm, init = _norm(normalization, ghost_size), _init(activation)
    layers: list[Layer] = [Conv2D(width, init=init), *norm, Activation(activation)]
    channels = width
    for stage, stage_stride in enumerate(strides):
        for stride in [stage_stride] + [1] * (depth - 1):
            wider = width * 2**stage
            f = [Conv2D(wider, stride=stride, init=init), *norm, Activation(activation), *_dropout(dropout),
                 Conv2D(wider, init=init)]  # fmt: skip
            changes = stride > 1 or wider != channels
            shortcut = (Conv2D(wider, size=1, stride=stride, padding=0, init="glorot"),) if changes else ()
            layers += [*_residual(f, shortcut, norm, residual, zero_init), Activation(activation)]
            channels = wider
    layers += [GlobalAveragePool(), Dense(classes, init="glorot")]
    return Model(tuple(input_shape), classes, tuple(layers))


FAMILIES: dict[str, Callable[..., Model]] = {"mlp": mlp, "convnet": convnet, "resnet": resnet}


def _residual(
    f: list[Layer], shortcut: tuple[Layer, ...], norm: list[Layer], residual: str, zero: bool = False
) -> list[Layer]:
    """Return norm(f(x)), x + norm(f(x)) or norm(x + f(x))."""
    if residual == "none":
        return [*f, *norm]
    branch = [*f, *norm] if residual == "norm-inside" else f
    if zero:
        last: Any = branch[-1]
        branch = [*branch[:-1], replace(last, init="zero")]
    return [Residual(tuple(branch), shortcut), *(norm if residual == "norm-outside" else [])]


def _check_residual(residual: str) -> None:
    if residual not in RESIDUALS:
        raise InputError(f"unknown residual form {residual!r}; choose one of {', '.join(RESIDUALS)}")


def _norm(normalization: str, ghost_size: int) -> list[Layer]:
    _check_positive(ghost_size=ghost_size)
    if normalization not in NORMALIZATIONS:
        raise InputError(f"unknown normalization {normalization!r}; choose one of {', '.join(NORMALIZATIONS)}")
    norms: dict[str, list[Layer]] = {"none": [], "batch": [BatchNorm(ghost_size)], "layer": [LayerNorm()]}
    return norms[normalization]


def _dropout(rate: float) -> list[Layer]:
    return [Dropout(rate)] if rate != 0.0 else []


def _init(activation: str) -> str:
    return "glorot" if activation == "tanh" else "he"


def _check_positive(**values: Any) -> None:
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < 1:
            raise InputError(f"{name} is {value!r}; it must be a whole number of at least 1")

"""A model is data: an input shape, a number of classes, and layers. `Network` gives it parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from refplay.errors import InputError
from refplay.nn.layer import Layer, Shape
from refplay.nn.layers import Residual


@dataclass(frozen=True)
class Model:
    """A classifier: `layers` applied to examples of shape `input_shape` give `classes` logits.

    Raises
    ------
    InputError
        Where a layer cannot take what the one before it gives, or the last one does not give one logit per class.

    >>> from refplay.nn import Activation, Dense
    >>> Model((4,), 3, (Dense(5), Activation("tanh"), Dense(3))).classes
    3
    """

    input_shape: Shape
    classes: int
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        shape = self.input_shape
        for layer in self.layers:
            shape = layer.output_shape(shape)
        if shape != (self.classes,):
            raise InputError(f"the last layer gives shape {shape}; {self.classes} classes need {(self.classes,)}")
        if not any(layer.parameters(shape) for _, layer, shape in self.places()):
            raise InputError("the model has no parameters; give it at least one dense layer or convolution")

    def places(self) -> Iterator[tuple[str, Layer, Shape]]:
        """Yield (name, layer, shape of its input) of every layer in order, those inside residual blocks included.

        >>> from refplay.nn import mlp
        >>> [(name, shape) for name, _, shape in mlp((2, 2, 1), 3, depth=1, width=7).places()]
        [('0.flatten', (2, 2, 1)), ('1.dense', (4,)), ('2.activation', (7,)), ('3.dense', (7,))]
        """
        yield from _walk(self.layers, self.input_shape, "")


def _walk(layers: tuple[Layer, ...], shape: Shape, prefix: str) -> Iterator[tuple[str, Layer, Shape]]:
    for number, layer in enumerate(layers):
        name = place_name(prefix, number, layer)
        yield name, layer, shape
        if isinstance(layer, Residual):
            yield from _walk(layer.branch, shape, f"{name}.branch.")
            yield from _walk(layer.shortcut, shape, f"{name}.shortcut.")
        shape = layer.output_shape(shape)


def place_name(prefix: str, number: int, layer: Layer) -> str:
    """Return the name of a layer in its model: its number and its kind, such as "3.dense"."""
    return f"{prefix}{number}.{type(layer).__name__.lower()}"

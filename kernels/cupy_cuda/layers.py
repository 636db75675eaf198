"""The backend's functions for the layers of a captured step, where it is known what comes next.

A dense layer is launched when the function after it is known: where that is an activation of its output, as one product
that applies the activation to each value before it is written. The step of dropout masks is a counter on the GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import check, dropout, product


class Layers:
    """The functions of a backend, of which dense layers wait for what follows; `end()` when nothing does."""

    def __init__(self, backend: Any, step: Any) -> None:
        self._backend, self._step = backend, step
        self._waiting: tuple[Any, Any, Any, Any] | None = None  # x, w, b, y of a dense layer

    def __getattr__(self, name: str) -> Callable[..., Any]:
        self.end()
        return getattr(self._backend, name)  # type: ignore[no-any-return]

    def end(self) -> None:
        """Launch the dense layer that waits, if there is one."""
        if self._waiting:
            waiting, self._waiting = self._waiting, None
            product.nn(*waiting)

    def dense_forward(self, x: Any, w: Any, b: Any, y: Any) -> None:
        """Take note of y = x w + b."""
        self.end()
        check.dense_forward(x, w, b, y)
        self._waiting = x, w, b, y

    def relu_forward(self, x: Any, y: Any) -> None:
        """y = max(x, 0)."""
        self._activation("relu", x, y)

    def tanh_forward(self, x: Any, y: Any) -> None:
        """y = tanh x."""
        self._activation("tanh", x, y)

    def gelu_forward(self, x: Any, y: Any) -> None:
        """y = x Phi(x)."""
        self._activation("gelu", x, y)

    def _activation(self, name: str, x: Any, y: Any) -> None:
        """Write y = activation(x); where a dense layer waits to write x, both in one product.

        x is written too: whether anybody reads it once more, as a residual connection does, cannot be known here.
        """
        if self._waiting is None or x is not self._waiting[3] or y is x:
            self.end()
            getattr(self._backend, f"{name}_forward")(x, y)
            return
        getattr(check, f"{name}_forward")(x, y)
        (inputs, w, b, _), self._waiting = self._waiting, None
        product.nn(inputs, w, b, y, name, x)

    def dropout_forward(self, x: Any, y: Any, rate: float, seed: int, step: int, layer: int) -> None:
        """As of the backend; the step is that of the replay."""
        self.end()
        dropout.dropout(x, y, rate, seed, self._step, layer)

    def dropout_backward(self, dy: Any, dx: Any, rate: float, seed: int, step: int, layer: int) -> None:
        """As of the backend; the step is that of the replay."""
        self.end()
        dropout.dropout(dy, dx, rate, seed, self._step, layer)

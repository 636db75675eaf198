"""The backend's functions for the layers of a captured step, where it is known what comes next.

Some functions are launched when the one after them is known, because both can be one launch:

- a dense layer or convolution whose output an activation takes: it is applied to each value before it is written;
- the gradient of a dense layer's input, or of what was pooled, that goes back through a relu next: likewise.

What such a pair hands over is not written at all where nobody else reads it, which the network knows (`between`). The
step of dropout masks is a counter on the GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from . import check, conv, dropout, pool, product


class Held(NamedTuple):
    """A function that waits for the next one."""

    output: Any  # what it writes
    alone: Callable[[], None]
    joined: Callable[..., None]  # with what follows: (activation, y, z) forward, (y, dx) backward
    backward: bool
    rectified: Any = None  # backward: the output of the relu that can be joined; None: any


class Layers:
    """The functions of a backend, of which some wait for what follows; `end()` when nothing does.

    Attributes
    ----------
    between : frozenset of int
        The ids of arrays that nobody but an activation reads; see `Network.backpropagate`.
    """

    def __init__(self, backend: Any, step: Any) -> None:
        self._backend, self._step = backend, step
        self._held: Held | None = None
        self.between: frozenset[int] = frozenset()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        self.end()
        return getattr(self._backend, name)  # type: ignore[no-any-return]

    def end(self) -> None:
        """Launch what waits, if there is something."""
        if self._held:
            held, self._held = self._held, None
            held.alone()

    def forget(self) -> None:
        """Launch nothing of what waits."""
        self._held = None

    def dense_forward(self, x: Any, w: Any, b: Any, y: Any) -> None:
        """Take note of y = x w + b."""
        self.end()
        check.dense_forward(x, w, b, y)
        self._held = Held(y, lambda: product.nn(x, w, b, y), lambda name, out, z: product.nn(x, w, b, out, name, z),
                          backward=False)  # fmt: skip

    def conv2d_forward(self, x: Any, w: Any, b: Any, y: Any, stride: int, padding: int) -> None:
        """Take note of y = x * w + b."""
        self.end()
        check.conv2d_forward(x, w, b, y, stride, padding)
        self._held = Held(y, lambda: conv.forward(x, w, b, y, stride, padding),
                          lambda name, out, z: conv.forward(x, w, b, out, stride, padding, name, z),
                          backward=False)  # fmt: skip

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
        """Write y = activation(x), together with what waits to write x; gelu's x is read again backwards."""
        held = self._held
        if not held or held.backward or x is not held.output or y is x:
            self.end()
            getattr(self._backend, f"{name}_forward")(x, y)
            return
        getattr(check, f"{name}_forward")(x, y)
        self._held = None
        held.joined(name, y, None if id(x) in self.between and name != "gelu" else x)

    def dense_backward(self, x: Any, w: Any, dy: Any, dx: Any, dw: Any, db: Any) -> None:
        """dw = x^T dy, db = sum_B dy; take note of dx = dy w^T."""
        self.end()
        check.dense_backward(x, w, dy, dx, dw, db)
        product.tn(x, dy, dw, db)
        if dx is not None:
            self._held = Held(dx, lambda: product.nt(dy, w, dx), lambda y, out: product.nt(dy, w, out, y),
                              backward=True)  # fmt: skip

    def max_pool2d_backward(self, x: Any, y: Any, dy: Any, dx: Any, window: int, stride: int) -> None:
        """Take note of the gradient of a max pool, where windows do not overlap."""
        self.end()
        check.max_pool2d_backward(x, y, dy, dx, window, stride)
        if window > stride:
            pool.max_pool_backward(x, y, dy, dx, window, stride)
        else:
            self._held = Held(dx, lambda: pool.max_pool_backward(x, y, dy, dx, window, stride),
                              lambda _, out: pool.max_pool_backward(x, y, dy, out, window, stride, rectified=True),
                              backward=True, rectified=x)  # fmt: skip

    def relu_backward(self, x: Any, y: Any, dy: Any, dx: Any) -> None:
        """dx = dy where y > 0, together with what waits to write dy if nobody else reads that."""
        held = self._held
        joins = held and held.backward and dy is held.output and id(dy) in self.between
        if not held or not joins or (held.rectified is not None and held.rectified is not y):
            self.end()
            self._backend.relu_backward(x, y, dy, dx)
            return
        check.relu_backward(x, y, dy, dx)
        self._held = None
        held.joined(y, dx)

    def dropout_forward(self, x: Any, y: Any, rate: float, seed: int, step: int, layer: int) -> None:
        """As of the backend; the step is that of the replay."""
        self.end()
        dropout.dropout(x, y, rate, seed, self._step, layer)

    def dropout_backward(self, dy: Any, dx: Any, rate: float, seed: int, step: int, layer: int) -> None:
        """As of the backend; the step is that of the replay."""
        self.end()
        dropout.dropout(dy, dx, rate, seed, self._step, layer)

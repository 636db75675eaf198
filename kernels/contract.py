"""The contract: the functions that every backend offers, exactly these.

Sizes have one meaning everywhere: B or N examples, H x W pixels, C channels in, K channels (filters) out, R x S the
extent of a filter, OH x OW the pixels out, I and O features in and out, G ghost batches of M examples each, n values.
B, N, G and n may be 0, every other size is at least 1.

Arrays are float32 or float64, C-contiguous, owned by the caller; all float arrays of one call share one dtype; what
stands behind the arrow `->` is written. An output may not overlap its inputs unless the line says so. What is computed
from scalars alone (1 - beta2, the bias correction) is computed in double and rounded at most once, to the
dtype of the arrays, before it meets them.

A bad argument is a TypeError (not an array of this backend, wrong dtype, not a number) or a ValueError (wrong shape,
not contiguous, not writable, out of range) that names it, before anything is written. NaN and infinities in arrays are
not errors: they propagate, and the training loop ends the trial as infeasible.
"""

from typing import Any, Protocol, TypeAlias

from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]


class PrecisionError(ValueError):
    """A precision of products that a backend, a GPU or a kernel does not have."""


class Backend(Protocol):
    """A backend: a package whose functions are these. The equations stand in `refplay.kernels.numpy_ref`."""

    # arrays of this backend; dtype "float32", "float64", "int32" or "int64"
    def empty(self, shape: int | tuple[int, ...], dtype: str = "float32") -> Array: ...
    def zeros(self, shape: int | tuple[int, ...], dtype: str = "float32") -> Array: ...
    def asarray(self, host_array: Array) -> Array: ...
    def to_host(self, array: Array) -> Array: ...
    def synchronize(self) -> None: ...

    # x[B,I] w[I,O] b[O] -> y[B,O]
    def dense_forward(self, x: Array, w: Array, b: Array, y: Array) -> None: ...
    # x[B,I] w[I,O] dy[B,O] -> dx[B,I] or None, dw[I,O] db[O]
    def dense_backward(self, x: Array, w: Array, dy: Array, dx: Array | None, dw: Array, db: Array) -> None: ...

    # x[N,H,W,C] w[R,S,C,K] b[K] -> y[N,OH,OW,K]   OH = (H + 2 padding - R) // stride + 1
    def conv2d_forward(self, x: Array, w: Array, b: Array, y: Array, stride: int, padding: int) -> None: ...
    # x[N,H,W,C] w[R,S,C,K] dy[N,OH,OW,K] -> dx[N,H,W,C] or None, dw[R,S,C,K] db[K]
    def conv2d_backward(
        self, x: Array, w: Array, dy: Array, dx: Array | None, dw: Array, db: Array, stride: int, padding: int
    ) -> None: ...

    # x[N,H,W,C] -> y[N,OH,OW,C]   OH = (H - window) // stride + 1
    def max_pool2d_forward(self, x: Array, y: Array, window: int, stride: int) -> None: ...
    # x[N,H,W,C] y[N,OH,OW,C] dy[N,OH,OW,C] -> dx[N,H,W,C]
    def max_pool2d_backward(self, x: Array, y: Array, dy: Array, dx: Array, window: int, stride: int) -> None: ...
    # x[N,H,W,C] -> y[N,C]
    def global_avg_pool_forward(self, x: Array, y: Array) -> None: ...
    # dy[N,C] -> dx[N,H,W,C]
    def global_avg_pool_backward(self, dy: Array, dx: Array) -> None: ...

    # x -> y and x, y, dy -> dx, all of one shape; y may be x in relu and tanh, dx may be dy in all three
    def relu_forward(self, x: Array, y: Array) -> None: ...
    def relu_backward(self, x: Array, y: Array, dy: Array, dx: Array) -> None: ...
    def tanh_forward(self, x: Array, y: Array) -> None: ...
    def tanh_backward(self, x: Array, y: Array, dy: Array, dx: Array) -> None: ...
    def gelu_forward(self, x: Array, y: Array) -> None: ...
    def gelu_backward(self, x: Array, y: Array, dy: Array, dx: Array) -> None: ...

    # x[G,M,C] gamma[C] beta[C] -> y[G,M,C] mean[G,C] var[G,C]
    def batch_norm_forward(
        self, x: Array, gamma: Array, beta: Array, y: Array, mean: Array, var: Array, epsilon: float
    ) -> None: ...
    # x[G,M,C] gamma[C] mean[G,C] var[G,C] dy[G,M,C] -> dx[G,M,C] dgamma[C] dbeta[C]
    def batch_norm_backward(
        self, x: Array, gamma: Array, mean: Array, var: Array, dy: Array, dx: Array, dgamma: Array, dbeta: Array,
        epsilon: float,
    ) -> None: ...  # fmt: skip
    # x[B,C] gamma[C] beta[C] mean[C] var[C] -> y[B,C]; y may be x
    def batch_norm_inference(
        self, x: Array, gamma: Array, beta: Array, mean: Array, var: Array, y: Array, epsilon: float
    ) -> None: ...
    # x[B,C] gamma[C] beta[C] -> y[B,C] mean[B] var[B]
    def layer_norm_forward(
        self, x: Array, gamma: Array, beta: Array, y: Array, mean: Array, var: Array, epsilon: float
    ) -> None: ...
    # x[B,C] gamma[C] mean[B] var[B] dy[B,C] -> dx[B,C] dgamma[C] dbeta[C]
    def layer_norm_backward(
        self, x: Array, gamma: Array, mean: Array, var: Array, dy: Array, dx: Array, dgamma: Array, dbeta: Array,
        epsilon: float,
    ) -> None: ...  # fmt: skip

    # x -> y and dy -> dx of one shape; y may be x, dx may be dy
    def dropout_forward(self, x: Array, y: Array, rate: float, seed: int, step: int, layer: int) -> None: ...
    def dropout_backward(self, dy: Array, dx: Array, rate: float, seed: int, step: int, layer: int) -> None: ...

    # z[B,C] labels[B] (int64 or int32) weights[B] -> loss[B], dz[B,C] or None
    def softmax_cross_entropy(
        self, z: Array, labels: Array, weights: Array, smoothing: float, loss: Array, dz: Array | None
    ) -> None: ...

    # the six rules: g[n] -> theta[n] and the state, in place
    def sgd(self, theta: Array, g: Array, lr: float) -> None: ...
    def momentum(self, theta: Array, g: Array, v: Array, lr: float, gamma: float) -> None: ...
    def nesterov(self, theta: Array, g: Array, v: Array, lr: float, gamma: float) -> None: ...
    def rmsprop(
        self, theta: Array, g: Array, v: Array, m: Array, lr: float, gamma: float, rho: float, epsilon: float
    ) -> None: ...
    def adam(
        self, theta: Array, g: Array, m: Array, v: Array, t: int, lr: float, beta1: float, beta2: float, epsilon: float
    ) -> None: ...
    def nadam(
        self, theta: Array, g: Array, m: Array, v: Array, t: int, lr: float, beta1: float, beta2: float, epsilon: float
    ) -> None: ...

    # g[n] -> float;  g[n] in place;  x[n] and y[n] in place, y may be x
    def l2_norm(self, g: Array) -> float: ...
    def scale(self, g: Array, s: float) -> None: ...
    def axpby(self, a: float, x: Array, b: float, y: Array) -> None: ...


CONTRACT: tuple[str, ...] = tuple(name for name in vars(Backend) if not name.startswith("_"))

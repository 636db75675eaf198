"""What is measured on a GPU: kernels of a backend, the operator of PyTorch that does the same, and what both must move.

A case counts the bytes that no implementation can avoid: each input read once, each output written once; and what batch
norm normalizes twice, first for the moments, as it is larger than all caches. Of products it counts the operations.
PyTorch's operators allocate what they return from a pool that costs next to nothing. Products are in gpu_products.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from math import prod
from typing import Any, NamedTuple

import numpy as np

from refplay.kernels import resident

EPSILON = 1e-5
CLASSES, FEATURES, CHANNELS, GROUPS = 1024, 1024, 256, 4
# The convolutions of the ConvNet (28x28) and of a WideResNet (32x32): N, H, W, C, K; 3x3 filters, padding 1.
CONVOLUTIONS = {"convnet-1": (512, 28, 28, 1, 32), "convnet-2": (512, 14, 14, 32, 64),
                "wide-1": (128, 32, 32, 160, 160), "wide-2": (128, 16, 16, 320, 320), "wide-3": (128, 8, 8, 640, 640)}
SMALL_CONVOLUTIONS = {"convnet-1": (2, 7, 7, 1, 4), "wide-1": (1, 5, 6, 20, 12)}  # of a dry run


CLOSE = 1e-4  # of the norm of a result; rounding in float32 explains less
ONE_STEP = 1e-6  # of parameters, which a step moves by a thousandth


class Case(NamedTuple):
    """One thing to measure. `calls` are those of the contenders, ours first.

    Each returns its result; where it does not, `values` gives ours and PyTorch's after each has been called once.
    Without that, results are not compared: the same work has other results there.
    """

    name: str
    calls: dict[str, Callable[[], Any]]
    bytes: int
    operations: int = 0
    ceiling: str = "copy"  # or the precision of cuBLAS's product: see gpu_clock.Ceilings
    close: float = CLOSE  # how far results may lie apart, of their norm
    values: Callable[[], tuple[Any, Any]] | None = None
    short: bool = False  # shorter than the launch of a call from Python takes: measured in graphs, where there are


class Arrays:
    """Draws arrays for a case: as NumPy, on the GPU for us, and the same memory for PyTorch where it is on the GPU."""

    def __init__(self, kernels: Any, torch: Any, device: str) -> None:
        self.kernels, self.torch, self.device, self._rng = kernels, torch, device, np.random.default_rng(4)

    def draw(self, *shape: int) -> tuple[Any, Any]:
        """Return normal values in two copies: ours and PyTorch's."""
        values = self._rng.standard_normal(shape, np.float32)
        values += np.float32(0.3)
        return self.kernels.asarray(values), self.torch.from_numpy(values).to(self.device)

    def empty(self, *shape: int) -> Any:
        """Return memory for our results."""
        return self.kernels.empty(shape)


def size_of(*shapes: tuple[int, ...]) -> int:
    """Return the bytes of float32 arrays of these shapes."""
    return 4 * sum(prod(shape) for shape in shapes)


def activations(a: Arrays, n: int) -> Iterator[Case]:
    k, f = a.kernels, a.torch.nn.functional
    (x, tx), (dy, tdy), y, dx = a.draw(n), a.draw(n), a.empty(n), a.empty(n)
    forward = {"relu": a.torch.relu, "tanh": a.torch.tanh, "gelu": f.gelu}
    ops = a.torch.ops.aten
    for name, peer in forward.items():
        ours = getattr(k, f"{name}_forward")
        yield Case(f"{name}_forward", {"ours": lambda run=ours: (run(x, y), y)[1],
                                       "torch": lambda run=peer: run(tx)}, size_of((n,), (n,)))
        ty = peer(tx)
        back = {"relu": lambda ty=ty: ops.threshold_backward(tdy, ty, 0),
                "tanh": lambda ty=ty: ops.tanh_backward(tdy, ty), "gelu": lambda: ops.gelu_backward(tdy, tx)}[name]
        ours = getattr(k, f"{name}_backward")
        yield Case(f"{name}_backward", {"ours": lambda run=ours: (run(x, y, dy, dx), dx)[1], "torch": back},
                   size_of((n,), (n,), (n,)))


def rules(a: Arrays, n: int) -> Iterator[Case]:
    """The six rules, one step after the other on the same vectors; PyTorch's RMSProp and NAdam are other equations."""
    from rule_cases import LEARNING_RATE, hyperparameters

    from refplay.optim import RULES
    from refplay.procedures.peers_torch import make_optimizer

    for name in RULES:
        (theta, ttheta), (g, tg) = a.draw(n), a.draw(n)
        chosen, update = hyperparameters(name), RULES[name].update
        held = [RULES[name].init(theta, a.kernels)]

        def step(theta: Any = theta, g: Any = g, held: list[Any] = held, update: Any = update,
                 chosen: Any = chosen) -> None:
            held[0] = update(theta, g, held[0], lr=LEARNING_RATE, **chosen, kernels=a.kernels)

        parameter = a.torch.nn.Parameter(ttheta)
        parameter.grad = tg
        peer = make_optimizer(name, [parameter], LEARNING_RATE, chosen).step
        vectors = {"sgd": 3, "momentum": 5, "nesterov": 5}.get(name, 7)
        values = None if name in ("rmsprop", "nadam") else lambda theta=theta, theirs=ttheta: (theta, theirs)
        yield Case(name, {"ours": step, "torch": peer}, vectors * 4 * n, close=ONE_STEP, values=values)


def norm_on_gpu(kernels: Any) -> Callable[[Any], Any]:
    """Return the norm of a vector as a training step takes it, which stays in the memory of the GPU, float64[1]."""
    log, device = kernels.zeros(2, "float64"), resident(kernels)
    if kernels.__name__.endswith("cupy_cuda"):  # with the factor of clipping
        from refplay.kernels.cupy_cuda.reduce import norm_and_factor

        return lambda x: (norm_and_factor(x, 1.0, log), log[:1])[1]
    return lambda x: (device.clip(x, math.inf, log, 0), log[:1])[1]


def vectors(a: Arrays, n: int) -> Iterator[Case]:
    k = a.kernels
    (x, tx), (y, ty), out = a.draw(n), a.draw(n), a.empty(n)
    yield Case("l2_norm", {"ours": lambda: k.l2_norm(x), "torch": lambda: float(tx.norm())}, 4 * n)
    norm = norm_on_gpu(k)
    yield Case("norm on the GPU", {"ours": lambda: norm(x), "torch": lambda: tx.norm()}, 4 * n)  # nobody waits for it
    yield Case("axpby", {"ours": lambda: k.axpby(0.5, x, 0.5, y), "torch": lambda: ty.mul_(0.5).add_(tx, alpha=0.5)},
               12 * n, values=lambda: (y, ty))
    # The last one that is compared: ours and theirs are turned over different numbers of times.
    yield Case("scale", {"ours": lambda: k.scale(x, -1.0), "torch": lambda: tx.mul_(-1.0)}, 8 * n,
               values=lambda: (x, tx))
    yield Case("dropout", {"ours": lambda: k.dropout_forward(x, out, 0.1, 1, 2, 3),
                           "torch": lambda: a.torch.nn.functional.dropout(tx, 0.1)}, 8 * n)


def norms(a: Arrays, n: int) -> Iterator[Case]:
    k, ops, rows = a.kernels, a.torch.ops.aten, n // (GROUPS * CHANNELS)
    (x, tx), (dy, tdy) = a.draw(GROUPS, rows, CHANNELS), a.draw(GROUPS, rows, CHANNELS)
    (gamma, tgamma), (beta, tbeta) = a.draw(CHANNELS), a.draw(CHANNELS)
    y, dx, mean, var = a.empty(*x.shape), a.empty(*x.shape), a.empty(GROUPS, CHANNELS), a.empty(GROUPS, CHANNELS)
    dgamma, dbeta = a.empty(CHANNELS), a.empty(CHANNELS)

    def side_by_side(t: Any) -> Any:  # ghost batches as channels: one call of PyTorch normalizes all
        return t.permute(1, 0, 2).reshape(rows, GROUPS * CHANNELS)

    def apart_again(t: Any) -> Any:
        return t.reshape(rows, GROUPS, CHANNELS).permute(1, 0, 2)

    gx, gdy, wide = side_by_side(tx).contiguous(), side_by_side(tdy).contiguous(), tgamma.repeat(GROUPS)
    _, tmean, tinverse = ops.native_batch_norm(gx, wide, tbeta.repeat(GROUPS), None, None, True, 0.1, EPSILON)
    many = tbeta.repeat(GROUPS)

    def torch_forward() -> Any:
        return ops.native_batch_norm(gx, wide, many, None, None, True, 0.1, EPSILON)[0]

    def torch_backward() -> Any:
        wanted = [True, True, True]
        return ops.native_batch_norm_backward(gdy, gx, wide, None, None, tmean, tinverse, True, EPSILON, wanted)[0]

    yield Case("batch_norm_forward", {
        "ours": lambda: k.batch_norm_forward(x, gamma, beta, y, mean, var, EPSILON), "torch": torch_forward},
        size_of(x.shape) * 3, values=lambda: (y, apart_again(torch_forward())))
    yield Case("batch_norm_backward", {
        "ours": lambda: k.batch_norm_backward(x, gamma, mean, var, dy, dx, dgamma, dbeta, EPSILON),
        "torch": torch_backward}, size_of(x.shape) * 5, values=lambda: (dx, apart_again(torch_backward())))
    b = n // FEATURES
    (x2, tx2), (dy2, tdy2) = a.draw(b, FEATURES), a.draw(b, FEATURES)
    (gamma2, tgamma2), (beta2, tbeta2) = a.draw(FEATURES), a.draw(FEATURES)
    y2, dx2, mean2, var2 = a.empty(b, FEATURES), a.empty(b, FEATURES), a.empty(b), a.empty(b)
    dgamma2, dbeta2 = a.empty(FEATURES), a.empty(FEATURES)
    _, tmean2, tinverse2 = ops.native_layer_norm(tx2, [FEATURES], tgamma2, tbeta2, EPSILON)
    yield Case("layer_norm_forward", {
        "ours": lambda: (k.layer_norm_forward(x2, gamma2, beta2, y2, mean2, var2, EPSILON), y2)[1],
        "torch": lambda: ops.native_layer_norm(tx2, [FEATURES], tgamma2, tbeta2, EPSILON)[0]}, size_of(x2.shape) * 2)
    yield Case("layer_norm_backward", {
        "ours": lambda: (k.layer_norm_backward(x2, gamma2, mean2, var2, dy2, dx2, dgamma2, dbeta2, EPSILON), dx2)[1],
        "torch": lambda: ops.native_layer_norm_backward(tdy2, tx2, [FEATURES], tmean2, tinverse2, tgamma2, tbeta2,
                                                        [True, True, True])[0]}, size_of(x2.shape) * 3)


def loss(a: Arrays, n: int) -> Iterator[Case]:
    k, b = a.kernels, n // CLASSES
    (z, tz), dz, per_example = a.draw(b, CLASSES), a.empty(b, CLASSES), a.empty(b)
    labels = np.arange(b) * 7 % CLASSES
    weights = k.asarray(np.full(b, 1 / b, np.float32))
    tlabels, on_gpu = a.torch.from_numpy(labels).to(a.device), k.asarray(labels)
    tz.requires_grad_(True)

    def peer() -> Any:
        tz.grad = None
        a.torch.nn.functional.cross_entropy(tz, tlabels).backward()
        return tz.grad

    yield Case("softmax_cross_entropy", {
        "ours": lambda: (k.softmax_cross_entropy(z, on_gpu, weights, 0.0, per_example, dz), dz)[1], "torch": peer},
        size_of(z.shape) * 2)


def convolutions(a: Arrays, n: int) -> Iterator[Case]:
    """The passes of a convolution, against cuDNN in float32 with channels last and first; small where `n` is."""
    k, ops = a.kernels, a.torch.ops.aten
    for name, (images, h, w, c, filters) in CONVOLUTIONS.items() if n >= 2**20 else SMALL_CONVOLUTIONS.items():
        (x, tx), (weight, tweight) = a.draw(images, h, w, c), a.draw(3, 3, c, filters)
        (b, tb), (dy, tdy) = a.draw(filters), a.draw(images, h, w, filters)
        y, dx, dw, db = a.empty(*dy.shape), a.empty(*x.shape), a.empty(*weight.shape), a.empty(filters)

        def cudnn(layout: Any, tx: Any = tx, tdy: Any = tdy, tw: Any = tweight, tb: Any = tb) -> tuple[Any, Any]:
            i, g = (t.permute(0, 3, 1, 2).contiguous(memory_format=layout) for t in (tx, tdy))
            w = tw.permute(3, 2, 0, 1).contiguous(memory_format=layout)
            wanted = [w.shape[0]], [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [True] * 3
            return (lambda: a.torch.conv2d(i, w, tb, padding=1).permute(0, 2, 3, 1),
                    lambda: ops.convolution_backward(g, i, w, *wanted)[0].permute(0, 2, 3, 1))

        last, first = cudnn(a.torch.channels_last), cudnn(a.torch.contiguous_format)
        ours = (lambda x=x, w=weight, b=b, y=y: (k.conv2d_forward(x, w, b, y, 1, 1), y)[1],
                lambda x=x, w=weight, dy=dy, dx=dx, dw=dw, db=db: (
                    k.conv2d_backward(x, w, dy, dx, dw, db, 1, 1), dx)[1])
        moved, operations = size_of(x.shape, weight.shape, y.shape), 2 * images * h * w * 9 * c * filters
        for i, (way, times) in enumerate((("forward", 1), ("backward", 2))):
            calls = {"ours": ours[i], "cudnn": last[i], "cudnn-nchw": first[i]}
            yield Case(f"conv2d_{way} {name}", calls, times * moved, times * operations, "float32", short=True)

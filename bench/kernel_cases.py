"""One kernel at 2^20 values: ours, and the operator of PyTorch that does the same, called without autograd.

PyTorch's operators allocate what they return, ours write into arrays; nothing else differs. The checks are the mean
absolute values of the results.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from work import Work

from refplay.kernels import load
from refplay.procedures.machine import cores

EPSILON = 1e-5


def kernel(contender: str, name: str, size: int) -> Work:
    """Return a kernel such as "layer_norm_forward" by a contender, on `size` values: 2^20, which the shapes give."""
    topic, _, way = name.rpartition("_")
    made = OURS[topic](way) if contender == "ours" else _in_torch(topic, way, contender)
    call, result = made
    call()  # the result of a backward pass is there after a call
    return Work(call, check=float(np.abs(np.asarray(result(), np.float64)).mean()))


def draw(*shape: int) -> np.ndarray:
    """Return normal values, the same for the same shape."""
    return np.random.default_rng(shape).normal(0.3, 1.1, shape).astype(np.float32)


# Shapes of 2^20 values. Batch norm: 64 images of 16x16 and 64 channels in 4 ghost batches.
GROUPS, ROWS, CHANNELS = 4, 16 * 256, 64
EXAMPLES, FEATURES = 4096, 256
LABELLED, CLASSES = 8192, 128
IMAGES = (64, 16, 16, 64)


def _our_batch_norm(way: str) -> Any:
    k, x, dy = load("numba"), draw(GROUPS, ROWS, CHANNELS), draw(GROUPS, ROWS, CHANNELS)[::-1].copy()
    gamma, beta, y, dx = draw(CHANNELS), draw(CHANNELS), np.empty_like(x), np.empty_like(x)
    (mean, var), (dgamma, dbeta) = np.empty((2, GROUPS, CHANNELS), np.float32), np.empty((2, CHANNELS), np.float32)
    k.batch_norm_forward(x, gamma, beta, y, mean, var, EPSILON)
    if way == "forward":
        return lambda: k.batch_norm_forward(x, gamma, beta, y, mean, var, EPSILON), lambda: y
    return lambda: k.batch_norm_backward(x, gamma, mean, var, dy, dx, dgamma, dbeta, EPSILON), lambda: dx


def _our_layer_norm(way: str) -> Any:
    k, x, dy = load("numba"), draw(EXAMPLES, FEATURES), draw(EXAMPLES, FEATURES)[::-1].copy()
    gamma, beta, y, dx = draw(FEATURES), draw(FEATURES), np.empty_like(x), np.empty_like(x)
    (mean, var), (dgamma, dbeta) = np.empty((2, EXAMPLES), np.float32), np.empty((2, FEATURES), np.float32)
    k.layer_norm_forward(x, gamma, beta, y, mean, var, EPSILON)
    if way == "forward":
        return lambda: k.layer_norm_forward(x, gamma, beta, y, mean, var, EPSILON), lambda: y
    return lambda: k.layer_norm_backward(x, gamma, mean, var, dy, dx, dgamma, dbeta, EPSILON), lambda: dx


def _our_softmax_cross_entropy(way: str) -> Any:
    k, z, labels = load("numba"), draw(LABELLED, CLASSES), np.arange(LABELLED) * 7 % CLASSES
    weights, loss = np.full(LABELLED, 1 / LABELLED, np.float32), np.empty(LABELLED, np.float32)
    dz = np.empty_like(z)
    if way == "forward":
        return lambda: k.softmax_cross_entropy(z, labels, weights, 0.0, loss, None), lambda: loss.sum()
    return lambda: k.softmax_cross_entropy(z, labels, weights, 0.0, loss, dz), lambda: dz


def _our_max_pool2d(way: str) -> Any:
    k, x = load("numba"), draw(*IMAGES)
    n, h, w, c = IMAGES
    dy, y, dx = draw(n, h // 2, w // 2, c), np.empty((n, h // 2, w // 2, c), np.float32), np.empty_like(x)
    k.max_pool2d_forward(x, y, 2, 2)
    if way == "forward":
        return lambda: k.max_pool2d_forward(x, y, 2, 2), lambda: y
    return lambda: k.max_pool2d_backward(x, y, dy, dx, 2, 2), lambda: dx


OURS: dict[str, Callable[[str], Any]] = {
    "batch_norm": _our_batch_norm, "layer_norm": _our_layer_norm,
    "softmax_cross_entropy": _our_softmax_cross_entropy, "max_pool2d": _our_max_pool2d,
}  # fmt: skip


def _in_torch(topic: str, way: str, contender: str) -> Any:
    import torch

    torch.set_num_threads(cores())
    torch.set_grad_enabled(False)
    layout = torch.channels_last if contender == "torch-channels-last" else torch.contiguous_format
    makers = {
        "batch_norm": _torch_batch_norm, "layer_norm": _torch_layer_norm,
        "softmax_cross_entropy": _torch_softmax_cross_entropy, "max_pool2d": _torch_max_pool2d,
    }  # fmt: skip
    call = makers[topic](torch, torch.ops.aten, way == "forward", layout)
    return call, lambda: call().contiguous().numpy()


def _torch_batch_norm(torch: Any, aten: Any, forward: bool, layout: Any) -> Any:
    """Ghost batches stand side by side as channels, so that one call normalizes all: the fastest form there is."""

    def side_by_side(values: np.ndarray) -> Any:  # [G, M, C] -> [N, G C, H, W]
        images = values.reshape(GROUPS, -1, 16, 16, CHANNELS).transpose(1, 0, 4, 2, 3)
        flat = np.ascontiguousarray(images).reshape(-1, GROUPS * CHANNELS, 16, 16)
        return torch.from_numpy(flat).contiguous(memory_format=layout)

    x, dy = draw(GROUPS, ROWS, CHANNELS), draw(GROUPS, ROWS, CHANNELS)[::-1]
    x, dy = side_by_side(x), side_by_side(dy)
    gamma, beta = (torch.from_numpy(np.tile(draw(CHANNELS), GROUPS)) for _ in range(2))
    if forward:
        return lambda: aten.native_batch_norm(x, gamma, beta, None, None, True, 0.1, EPSILON)[0]
    _, mean, inverse = aten.native_batch_norm(x, gamma, beta, None, None, True, 0.1, EPSILON)
    wanted = [True, True, True]
    return lambda: aten.native_batch_norm_backward(
        dy, x, gamma, None, None, mean, inverse, True, EPSILON, wanted)[0]  # fmt: skip


def _torch_layer_norm(torch: Any, aten: Any, forward: bool, layout: Any) -> Any:
    x, dy = torch.from_numpy(draw(EXAMPLES, FEATURES)), torch.from_numpy(draw(EXAMPLES, FEATURES)[::-1].copy())
    gamma, beta = torch.from_numpy(draw(FEATURES)), torch.from_numpy(draw(FEATURES))
    if forward:
        return lambda: aten.native_layer_norm(x, [FEATURES], gamma, beta, EPSILON)[0]
    _, mean, inverse = aten.native_layer_norm(x, [FEATURES], gamma, beta, EPSILON)
    wanted = [True, True, True]
    return lambda: aten.native_layer_norm_backward(dy, x, [FEATURES], mean, inverse, gamma, beta, wanted)[0]


def _torch_softmax_cross_entropy(torch: Any, aten: Any, forward: bool, layout: Any) -> Any:
    z, labels = torch.from_numpy(draw(LABELLED, CLASSES)), torch.from_numpy(np.arange(LABELLED) * 7 % CLASSES)
    if forward:
        return lambda: torch.nn.functional.cross_entropy(z, labels)
    one, mean, nothing = torch.ones(()), 1, -100

    def loss_and_gradient() -> Any:
        p = aten._log_softmax(z, 1, False)
        _, total = aten.nll_loss_forward(p, labels, None, mean, nothing)
        dp = aten.nll_loss_backward(one, p, labels, None, mean, nothing, total)
        return aten._log_softmax_backward_data(dp, p, 1, z.dtype)

    return loss_and_gradient


def _torch_max_pool2d(torch: Any, aten: Any, forward: bool, layout: Any) -> Any:
    n, h, w, c = IMAGES
    x = torch.from_numpy(draw(*IMAGES)).permute(0, 3, 1, 2).contiguous(memory_format=layout)
    dy = torch.from_numpy(draw(n, h // 2, w // 2, c)).permute(0, 3, 1, 2).contiguous(memory_format=layout)
    if forward:
        return lambda: aten.max_pool2d_with_indices(x, [2, 2], [2, 2])[0]
    indices = aten.max_pool2d_with_indices(x, [2, 2], [2, 2])[1]
    return lambda: aten.max_pool2d_with_indices_backward(
        dy, x, [2, 2], [2, 2], [0, 0], [1, 1], False, indices)  # fmt: skip

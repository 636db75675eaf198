"""Fewer passes over memory: runs of recorded calls that one kernel can do at once.

- A dense layer, a convolution or a batch norm followed by a ReLU: the sums are cut off at 0 before they are stored. The
  same bits.
- A convolution, a ReLU and a max pool whose windows do not overlap: the activation between them is never stored, and
  the gradient goes back through the winners of the windows alone. Sums of the gradient run in another order.
- The gradient of a dense layer's weights and an update rule: each value of the gradient goes into the rule from the
  register that it was summed in. The same bits of theta and state; the gradient itself is not stored.

A fusion needs that nobody else asks for what is no longer stored: no other recorded call, and nobody afterwards.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from ..contract import Array
from . import optim
from .conv_pool import LARGEST_WINDOW
from .convolve import new_frame
from .program import word

RULES = ("sgd", "momentum", "nesterov", "rmsprop", "adam", "nadam")
SCALARS = {name: getattr(optim, f"{name}_scalars") for name in RULES}


class Op(NamedTuple):
    """A recorded call: its name in the contract (or of a fused form), arguments, and options of the fused form."""

    name: str
    arguments: tuple[Any, ...]
    options: dict[str, Any] = {}  # noqa: RUF012 (never written to)


def fuse(ops: list[Op], needed: tuple[Array, ...]) -> list[Op]:
    """Return ops that do the same with fewer passes over memory, but for what only the ops themselves read."""
    ops = _fuse_pooled_blocks(ops, needed)
    ops = _fuse_relu(ops, needed)
    ops = _fuse_updates(ops, needed)
    return _share_frames(ops)


def _mentions(ops: list[Op], needed: tuple[Array, ...]) -> Counter[int]:
    """Count by address how often each array is named; the x of relu_backward is not read, y tells all."""
    arrays = [array for op in ops for i, array in enumerate(op.arguments)
              if isinstance(array, np.ndarray) and not (op.name == "relu_backward" and i == 0)]
    return Counter(word(array) for array in [*arrays, *needed])


def _same(a: Any, b: Any) -> bool:
    return isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.size == b.size and word(a) == word(b)


def _fuse_relu(ops: list[Op], needed: tuple[Array, ...]) -> list[Op]:
    """Dense layer, convolution or batch norm, then ReLU of what it wrote."""
    places = {"dense_forward": 3, "conv2d_forward": 3, "batch_norm_forward": 3}  # of y among the arguments
    mentions, fused, skip = _mentions(ops, needed), [], False
    for op, following in zip(ops, [*ops[1:], None], strict=True):
        if skip:
            skip = False
            continue
        if op.name in places and following is not None and following.name == "relu_forward":
            at = places[op.name]
            y, (x, h) = op.arguments[at], following.arguments
            if _same(x, y) and mentions[word(y)] == 2:
                op = Op(op.name, (*op.arguments[:at], h.reshape(y.shape), *op.arguments[at + 1 :]), {"floor": 0.0})
                skip = True
        fused.append(op)
    return fused


def _fuse_pooled_blocks(ops: list[Op], needed: tuple[Array, ...]) -> list[Op]:
    """Convolution, ReLU, max pool, and the three ops of their backward pass."""
    mentions = _mentions(ops, needed)
    names = [op.name for op in ops]
    replaced: dict[int, Op | None] = {}
    for i in _runs(names, ["conv2d_forward", "relu_forward", "max_pool2d_forward"]):
        x, w, b, y, stride, padding = ops[i].arguments
        h, (pooled_from, p, window, pool_stride) = ops[i + 1].arguments[1], ops[i + 2].arguments
        if not (_same(ops[i + 1].arguments[0], y) and _same(pooled_from, h)
                and window == pool_stride <= LARGEST_WINDOW):
            continue
        for j in _runs(names, ["max_pool2d_backward", "relu_backward", "conv2d_backward"]):
            (_, p2, dp, dh, *_), (_, _, dh2, dy), (_, _, dy2, dx, dw, db, *_) = (o.arguments for o in ops[j : j + 3])
            chained = _same(p2, p) and _same(dh, dh2) and _same(dy, dy2)
            once = [mentions[word(array)] for array in (y, h, dh, dy)]
            if chained and once == [2, 4, 2, 2]:
                winners = np.empty(p.shape, np.uint8)
                replaced |= dict.fromkeys([i + 1, i + 2, j + 1, j + 2])
                replaced[i] = Op("conv_relu_pool", (x, w, b, p, winners, stride, padding, window))
                replaced[j] = Op("conv_relu_pool_backward",
                                 (x, w, p, winners, dp, dx, dw, db, stride, padding, window))
    return [new for i, op in enumerate(ops) if (new := replaced.get(i, op)) is not None]


def _fuse_updates(ops: list[Op], needed: tuple[Array, ...]) -> list[Op]:
    """Dense layers' weight gradients, where an update rule is all that reads the gradient."""
    rules = [op for op in ops if op.name in RULES]
    if len(rules) != 1:
        return ops
    (rule,) = rules
    theta, g, *rest = rule.arguments
    state = [a for a in rest if isinstance(a, np.ndarray)]
    scalars = rest[len(state) :]
    readers = [op for op in ops if op is not rule and any(_offset(a, g) is not None for a in op.arguments)]
    if any(_offset(a, g) is not None for a in needed) or not all(op.name.endswith("_backward") for op in readers):
        return ops
    fused, done = [], []
    for op in ops:
        start = _offset(op.arguments[4], g) if op.name == "dense_backward" else None
        shared = sum(_offset(a, g) == start for reader in readers for a in reader.arguments) > 1
        if start is None or shared or _offset(op.arguments[1], theta) != start:
            fused.append(op)
            continue
        x, w, dy, dx, dw, db = op.arguments
        stop = start + dw.size
        fused += [Op("dense_input_gradient", (w, dy, dx))] if dx is not None else []
        made = SCALARS[rule.name](*scalars)
        fused += [Op("column_sums", (dy, db)),
                  Op("dense_update", (rule.name, made, x, dy, *[v[start:stop] for v in (theta, *state)]))]
        done.append((start, stop))
    at = fused.index(rule)
    ends = [0, *[end for pair in sorted(done) for end in pair], theta.size]
    left = [Op(rule.name, (*[v[start:stop] for v in (theta, g, *state)], *scalars))
            for start, stop in zip(ends[::2], ends[1::2], strict=True) if start < stop]
    return [*fused[:at], *left, *fused[at + 1 :]]


def _offset(a: Any, vector: Array) -> int | None:
    """Return at which value of `vector` the array `a` begins; None where it lies elsewhere."""
    if not isinstance(a, np.ndarray):
        return None
    offset = word(a) - word(vector)
    return offset // vector.itemsize if 0 <= offset < vector.nbytes else None


def _share_frames(ops: list[Op]) -> list[Op]:
    """Let the backward pass of a convolution find the framed images that its forward pass has made."""
    frames: dict[tuple[int, int], Array] = {}
    shared = []
    places = {"conv2d_forward": -1, "conv2d_backward": -1, "conv_relu_pool": -2, "conv_relu_pool_backward": -2}
    for op in ops:
        if op.name in places:
            x, padding = op.arguments[0], op.arguments[places[op.name]]
            frame = frames.setdefault((word(x), padding), new_frame(x, padding))
            op = Op(op.name, op.arguments, {**op.options, "frame": frame})
        shared.append(op)
    return shared


def _runs(names: list[str], pattern: list[str]) -> list[int]:
    return [i for i in range(len(names)) if names[i : i + len(pattern)] == pattern]

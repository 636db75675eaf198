"""What keeps a training on the GPU: the work between two steps that would otherwise wait for the host.

A GPU works through what it is given while Python goes on. A step that looks at a number of the last one (its loss, the
norm to clip by) makes both wait for each other; so here such numbers are written into a log on the GPU, which the
training loop reads once for many steps, and what depends on them is decided there.

`refplay.kernels.resident` returns this module. Its functions are no part of the contract: `refplay.train` calls them on
arrays that it has made itself, and nothing checks them.
"""

from __future__ import annotations

from importlib.metadata import version
from math import inf
from typing import Any

import numpy as np

from .. import gpu
from .device import BLOCK, SIMULATED, blocks_for, cuda, free_and_total, kernel, launch
from .elementwise import PER_THREAD
from .reduce import write_norm, write_sum


def bring(host: np.ndarray, array: Any) -> None:
    """host[n, ...] -> the first n of array."""
    array[: len(host)].copy_to_device(host)


def gather(examples: Any, labels: Any, indices: Any, step: int, x: Any, y: Any) -> None:
    """examples[N,F] labels[N] indices[S,B] -> x[B,F] y[B]: the batch of one of S steps, x[b] = examples[indices[s,b]].

    Labels and indices are int64.
    """
    values = examples.shape[1]
    launch(_gather, x.shape[0], min(BLOCK, 32 * blocks_for(values, 32)), examples, labels, indices, step, x, y)


def total(x: Any, log: Any, i: int) -> None:
    """x[n] -> log[i]: the sum, in double. For the losses of a batch; for a long vector one block is too little."""
    write_sum(x, log, i)


def clip(g: Any, threshold: float, log: Any, i: int) -> None:
    """g[n] -> log[i], g: the norm |g|, in double; g <- (threshold / |g|) g where |g| is above the threshold and finite.

    The same as `refplay.optim.clipping.clip_by_norm`, whose threshold may be infinity.
    """
    write_norm(g, log, i)
    if threshold < inf:
        launch(_clip, blocks_for(g.size, PER_THREAD * BLOCK), BLOCK, g, np.float64(threshold), log, i)


def misses(z: Any, labels: Any, missed: Any) -> None:
    """z[B,C] labels[B] -> missed[B]: 1 where the first of the largest logits is not that of the label, else 0."""
    launch(_misses, blocks_for(z.shape[0]), BLOCK, z, labels, missed)


def make_tape(rows: int) -> None:
    """Return what captures a step to replay it as one graph: numba-cuda has no graphs, each kernel is launched."""


def machine() -> dict[str, str]:
    """Return what measurements belong to: the device, the newest CUDA that its driver knows, and what compiles."""
    package = {"numba-cuda": version("numba-cuda")}
    if SIMULATED:
        return {"device": "Numba's CUDA simulator", **package}
    found = gpu.find()
    return {"device": found.device, "driver": f"CUDA {gpu.dotted(found.driver)}", **package}


def memory() -> int | None:
    """Return how many bytes of memory the device has; None where they are those of the host."""
    return None if SIMULATED else free_and_total()[1]


@kernel
def _gather(examples, labels, indices, step, x, y):
    """Block b copies example b of the batch; its threads take neighbouring values."""
    b = cuda.blockIdx.x
    row = indices[step, b]
    for f in range(cuda.threadIdx.x, x.shape[1], cuda.blockDim.x):
        x[b, f] = examples[row, f]
    if cuda.threadIdx.x == 0:
        y[b] = labels[row]


@kernel
def _clip(g, threshold, log, i):
    """Thread j of a block owns four values, as in `elementwise`. All read the norm; nobody writes it here."""
    norm = log[i]
    if threshold < norm and norm < inf:  # else, and for NaN, g stays
        shrink = threshold / norm
        first = cuda.blockIdx.x * (PER_THREAD * BLOCK) + cuda.threadIdx.x
        values = cuda.local.array(PER_THREAD, g.dtype)
        for k in range(PER_THREAD):
            if first + k * BLOCK < g.size:
                values[k] = g[first + k * BLOCK]
        for k in range(PER_THREAD):
            if first + k * BLOCK < g.size:
                g[first + k * BLOCK] = shrink * values[k]  # in double, rounded once, as `scale` does


@kernel
def _misses(z, labels, missed):
    """Thread b owns example b. A NaN counts as the largest, as in NumPy's argmax."""
    b = cuda.grid(1)
    if b < z.shape[0]:
        answer = 0
        best = z[b, 0]
        for c in range(1, z.shape[1]):
            value = z[b, c]
            if best == best and not value <= best:
                answer = c
                best = value
        missed[b] = 0 if answer == labels[b] else 1

"""What keeps a training on the GPU: the work between two steps that would otherwise wait for the host.

The functions of `refplay.kernels.numba_cuda.resident`, which says why, without `clip`: here that is the `tape`'s. Where
they take a number that changes from step to step (which step of the indices, which place of the log), an int64 array of
one in the memory of the GPU does as well: a captured step reads it anew at each replay.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from .. import gpu
from . import device
from .device import BLOCK, Graph, blocks_for, launch, multiprocessors, rehearsal, scratch, zeros
from .launches import packs, power_of_two

__all__ = ["Graph", "bring", "gather", "machine", "make_tape", "memory", "misses", "rehearsal", "total"]
VALUES = 4  # of a thread in a round, kAtOnce


def bring(host: np.ndarray, array: Any) -> None:
    """host[n, ...] -> the first n of array."""
    device.bring(host, array[: len(host)])


def make_tape(rows: int) -> Any:
    """Return the `Tape` with which a step is captured, for so many steps at a time."""
    return import_module(".tape", __package__).Tape(import_module(__package__ or ""), rows)


def gather(examples: Any, labels: Any, indices: Any, step: Any, x: Any, y: Any) -> None:
    """examples[N,F] labels[N] indices[S,B] -> x[B,F] y[B]: the batch of one of S steps, x[b] = examples[indices[s,b]].

    Labels and indices are int64; examples float32, float64 or int64.
    """
    B, F = x.shape
    lanes = min(BLOCK, power_of_two(-(-F // packs(x.dtype))))
    launch(f"resident.resident_gather_{x.dtype}", blocks_for(B, BLOCK // lanes), BLOCK, examples, labels, indices,
           *_number(step), x, y, B, F, lanes)  # fmt: skip


def total(x: Any, log: Any, i: Any) -> None:
    """x[n] -> log[i]: the sum, in double."""
    blocks = max(1, min(blocks_for(x.size, VALUES * BLOCK), 4 * multiprocessors()))
    launch(f"resident.resident_total_{x.dtype}", blocks, BLOCK, x, x.size, scratch(blocks, "float64", "resident"),
           scratch(1, "uint32", "arrived", zeros), log, *_number(i))  # fmt: skip


def machine() -> dict[str, str]:
    """Return what measurements belong to: the device, the newest CUDA that its driver knows, and what compiles."""
    found = gpu.find("cupy")
    package = {"cupy": import_module("cupy").__version__}
    return {"device": found.device, "driver": f"CUDA {gpu.dotted(found.driver)}"} | package


def memory() -> int | None:
    """Return how many bytes of memory the device has; None where they are those of the host."""
    return device.memory()


def misses(z: Any, labels: Any, missed: Any) -> None:
    """z[B,C] labels[B] -> missed[B]: 1 where the first of the largest logits is not that of the label, else 0."""
    B, C = z.shape
    launch(f"resident.resident_misses_{z.dtype}", blocks_for(B, BLOCK // 32), BLOCK, z, labels, missed, B, C)


def _number(value: Any) -> tuple[int, Any]:
    """Return the number for a kernel: by value, or a null and where it lies."""
    return (0, value) if getattr(value, "ndim", 0) else (int(value), None)

"""The one module that imports numba-cuda: what every kernel file of this backend takes from it.

numba-cuda is in maintenance mode. Should another package take its place, this file is what changes.

A kernel is a Python function that every thread of a grid runs. The grid is cut into blocks; the threads of a block
share memory and can wait for each other, those of different blocks cannot. `launch` starts one.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

if find_spec("numba_cuda") is None:
    raise ImportError("numba-cuda is not installed; pip install 'refplay[cuda13]' (or 'refplay[cuda12]')")

from numba import cuda
from numba.cuda.core import config

from ..numba_cache import cover_package

config.CUDA_LOW_OCCUPANCY_WARNINGS = 0  # a small batch makes small grids; that is no mistake

__all__ = [
    "BLOCK", "SIMULATED", "DeviceArray", "blocks_for", "cuda", "device_function", "index", "kernel", "launch",
    "scratch",
]  # fmt: skip

SIMULATED = bool(config.ENABLE_CUDASIM)  # NUMBA_ENABLE_CUDASIM=1: Python threads on the CPU stand for those of a GPU
DeviceArray: Any = type(cuda.device_array(0)) if SIMULATED else cuda.cudadrv.devicearray.DeviceNDArray
BLOCK = 256  # threads of a block where nothing asks for another number: eight blocks fill a multiprocessor

if not SIMULATED:
    from numba.cuda.core import caching

    cover_package(caching, "numba_cuda")
kernel: Callable[..., Any] = cuda.jit(cache=True)  # what `launch` starts; compiled at its first launch, kept on disk
device_function: Callable[..., Any] = cuda.jit(device=True)  # what kernels call; it becomes part of them

# For the index of an inner loop: x[b, index(c)]. A signed index might count from the end, and Numba lets each access
# find out whether it does: some twenty instructions in place of three.
index = np.uint64


def blocks_for(n: int, block: int = BLOCK) -> int:
    """Return how many blocks hold n threads, the last of them perhaps not full.

    >>> blocks_for(0), blocks_for(256), blocks_for(257)
    (0, 1, 2)
    """
    return -(-n // block)


def launch(kernel: Any, blocks: int | tuple[int, ...], block: int | tuple[int, ...], *arguments: Any) -> None:
    """Let `blocks` blocks of `block` threads each run `kernel`; does not wait for them. An empty grid runs nothing.

    The kernels of one stream run one after the other: what one has written the next one reads. Scalars are typed by
    what they are: np.float64 computes in double, as a Python float does; the sizes are Python ints, 64 bits there.
    """
    if np.prod(blocks):
        kernel[blocks, block](*arguments)


_scratch: dict[Any, Any] = {}


def scratch(n: int, dtype: Any, which: int = 0) -> Any:
    """Return at least n values of device memory for partial results, the same memory at each call.

    Memory of another `which` is apart from it. A kernel may use it from its launch until that of the kernel that takes
    the partial results up. It grows, so that in a training nothing is allocated after the first step.
    """
    key = np.dtype(dtype), which
    if key not in _scratch or _scratch[key].size < n:
        _scratch[key] = cuda.device_array(max(n, 4096), dtype)
    return _scratch[key]

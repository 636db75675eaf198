"""Which kernels does the backend launch, and for which types? Found out by calling all of it without a GPU.

Every function of the contract is called with dry device arrays: they have shape, strides, dtype and an address, and no
memory on a device. A launch then computes nothing and writes down kernel, types and threads: those of a real launch.

numba-cuda is changed for that, so import this module only in a process of its own, before the kernels.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from ctypes import c_void_p
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import cuda
from numba.cuda.cudadrv.devicearray import DeviceNDArray
from numba.cuda.dispatcher import CUDADispatcher

sys.path.insert(0, str(Path(__file__).parents[1] / "kernels"))
from contract_calls import VALID


class Kernel(NamedTuple):
    """A kernel for arguments of certain types."""

    dispatcher: CUDADispatcher
    types: tuple[Any, ...]
    threads: int  # of a block, the most that it was launched with
    dynamic: int = 0  # bytes of shared memory asked for at a launch


class Memory:
    """What stands for memory of the GPU: an address and a length. The addresses are those of host memory, unread."""

    def __init__(self, buffer: np.ndarray) -> None:
        self.buffer = buffer
        self.device_ctypes_pointer = buffer.ctypes.data_as(c_void_p)

    def view(self, start: int, stop: int | None = None) -> Memory:
        return Memory(self.buffer[start:stop])


class Dry(DeviceNDArray):
    """A device array without a device."""

    def __getitem__(self, item: Any) -> Any:
        return self._do_getitem(item)

    def __setitem__(self, item: Any, value: Any) -> None:
        pass

    def copy_to_device(self, values: Any, stream: Any = 0) -> None:
        pass

    def copy_to_host(self, values: Any = None, stream: Any = 0) -> np.ndarray:
        return np.zeros(self.shape, self.dtype)


def dry(shape: Any, dtype: Any = np.float64, *_: Any, **__: Any) -> Dry:
    """Return a dry array; in place of cuda.device_array."""
    shape = shape if isinstance(shape, tuple) else (shape,)
    like = np.empty(shape, dtype)
    return Dry(shape, like.strides, like.dtype, gpu_data=Memory(np.empty(max(like.nbytes, 1), "uint8")))


def dry_copy(values: np.ndarray, *_: Any, **__: Any) -> Dry:
    """Return a dry array; in place of cuda.to_device."""
    return dry(values.shape, values.dtype)


class Launches:
    """Every kernel that is made, and every launch, from `install` on."""

    def __init__(self) -> None:
        self.made: list[CUDADispatcher] = []
        self.launched: dict[tuple[int, tuple[Any, ...]], Kernel] = {}

    def install(self) -> None:
        """Let numba-cuda write down instead of launching."""
        begin = CUDADispatcher.__init__

        def made(dispatcher: Any, *arguments: Any, **named: Any) -> None:
            begin(dispatcher, *arguments, **named)
            if not dispatcher.targetoptions.get("device"):
                self.made.append(dispatcher)

        CUDADispatcher.__init__ = made
        CUDADispatcher.__getitem__ = lambda kernel, how: lambda *arguments: self._note(kernel, how, arguments)
        cuda.device_array, cuda.to_device, cuda.synchronize = dry, dry_copy, lambda: None

    def _note(self, kernel: CUDADispatcher, how: Any, arguments: tuple[Any, ...]) -> None:
        threads = int(np.prod(how[1]))
        types = tuple(kernel.typeof_pyval(a) for a in arguments)
        before = self.launched.get((id(kernel), types))
        dynamic = how[3] if len(how) > 3 else 0
        self.launched[id(kernel), types] = Kernel(kernel, types, max(threads, before.threads if before else 0), dynamic)


ROWS = {name: {key.rstrip("*"): shape for key, shape in VALID[name].items() if isinstance(shape, tuple)}
        for name in ("layer_norm_forward", "layer_norm_backward", "softmax_cross_entropy")}  # fmt: skip
# Beside the calls of `contract_calls`, those that take another way through the backend.
MORE: list[tuple[str, dict[str, Any]]] = [
    # more examples than one block goes over
    ("batch_norm_forward", {"x": (2, 600, 3), "y": (2, 600, 3)}),
    ("batch_norm_backward", {"x": (2, 600, 3), "dy": (2, 600, 3), "dx": (2, 600, 3)}),
    # rows of more values than 8 and than 32 threads are for
    *[(name, {key: (4, C) if len(old) == 2 else (C,) if old == (3,) else old for key, old in arrays.items()})
      for C in (65, 2049) for name, arrays in ROWS.items()],
]


def layers() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield changes for layers of larger tiles. A convolution of 1 x 1 is a dense layer of pixels."""
    for rows, n_in, n_out in ((16896, 128, 128), (128, 16896, 128), (16896, 64, 64), (128, 16896, 64)):
        dense = {"x": (rows, n_in), "w": (n_in, n_out), "b": (n_out,), "y": (rows, n_out)}
        conv = {"x": (1, 128, rows // 128, n_in), "w": (1, 1, n_in, n_out), "b": (n_out,),
                "y": (1, 128, rows // 128, n_out), "stride": 1, "padding": 0}  # fmt: skip
        for name, forward in (("dense", dense), ("conv2d", conv)):
            yield f"{name}_forward", forward
            backward = {key: value for key, value in forward.items() if key not in ("b", "y")}
            yield f"{name}_backward", {
                **backward, "dy": forward["y"], "dx": forward["x"], "dw": forward["w"], "db": forward["b"]
            }  # fmt: skip


def calls(dtype: str) -> Iterator[tuple[str, list[Any]]]:
    """Yield name and dry arguments of calls of the whole contract that take every way through it."""
    for name, changes in [*((name, {}) for name in VALID), *MORE, *layers()]:
        arguments = {key.rstrip("*"): value for key, value in VALID[name].items()} | changes
        given = {key: dry(value, dtype) if isinstance(value, tuple) else value for key, value in arguments.items()}
        if "labels" in given:
            for labels in ("int64", "int32"):
                yield name, list({**given, "labels": dry((given["z"].shape[0],), labels)}.values())
        else:
            yield name, list(given.values())


def beyond_the_contract(dtype: str) -> None:
    """Call what a resident training calls beside the contract."""
    from refplay.kernels.numba_cuda import resident

    x, y, log = dry((4, 300), dtype), dry(4, "int64"), dry(8, "float64")
    resident.gather(dry((9, 300), dtype), dry(9, "int64"), dry((2, 4), "int64"), 1, x, y)
    resident.total(dry(4, dtype), log, 1)
    resident.clip(dry(4, dtype), 0.5, log, 2)
    resident.misses(x, y, dry(4, dtype))


def versions_of_the_product(dtype: str) -> None:
    """Launch the versions of the matrix product that are there to be read."""
    from refplay.kernels.numba_cuda.product import VERSIONS, product_version

    for version in VERSIONS:
        product_version(version, dry((4, 4), dtype), dry((4, 4), dtype), dry((4, 4), dtype))


@cache
def launched() -> tuple[list[Kernel], list[CUDADispatcher]]:
    """Return the kernels that the contract launches, for float32 and for float64, and all that were made."""
    launches = Launches()
    launches.install()
    from refplay.kernels import numba_cuda

    numba_cuda.check.device_of = numba_cuda.check.current_device = lambda *_: 0
    for dtype in ("float32", "float64"):
        for name, arguments in calls(dtype):
            getattr(numba_cuda, name)(*arguments)
        beyond_the_contract(dtype)
        versions_of_the_product(dtype)
    return list(launches.launched.values()), launches.made


def name_of(dispatcher: CUDADispatcher) -> str:
    """Return "module.kernel"."""
    function = dispatcher.py_func
    return f"{function.__module__.rpartition('.')[2]}.{function.__name__.lstrip('_')}"


"""Kernels: what a training step computes, the same functions on every backend.

A backend is a package that offers exactly the functions of `refplay.kernels.contract.Backend`:

- `"numpy"`: the equations, a line of NumPy per line of mathematics; the oracle of all others;
- `"numba"`: compiled for the CPU; the default of everything above;
- `"numba-cuda"`: on an NVIDIA GPU, kernels to be read;
- `"cupy"`: on an NVIDIA GPU, CUDA C++ to be fast.

>>> import numpy as np
>>> kernels = load("numpy")
>>> theta, gradient = np.array([1.0, 2.0]), np.array([0.5, -0.5])
>>> kernels.sgd(theta, gradient, 0.1)
>>> theta
array([0.95, 2.05])
"""

from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from . import blas, gpu
from .contract import CONTRACT, Array, Backend, PrecisionError

if TYPE_CHECKING:  # the type checker holds each backend against the contract
    from . import numba_cpu, numpy_ref

    _numpy: Backend = numpy_ref
    _numba: Backend = numba_cpu

__all__ = ["CONTRACT", "Array", "Backend", "PrecisionError", "available", "describe", "load", "precision", "recorder",
           "resident"]  # fmt: skip

_PACKAGES = {"numpy": "numpy_ref", "numba": "numba_cpu", "numba-cuda": "numba_cuda", "cupy": "cupy_cuda"}
_ON_GPU = {"numba_cuda", "cupy_cuda"}


def load(name: str) -> Backend:
    """Return the backend `name`, imported at its first use, with BLAS limited to one thread.

    Parameters
    ----------
    name : {"numpy", "numba", "numba-cuda", "cupy"}

    Raises
    ------
    ValueError
        There is no backend of this name, or `REFPLAY_THREADS` is not a number of threads.
    ImportError
        The backend needs a package that is not installed, or a GPU; the message names it and the mend.
    """
    if name not in _PACKAGES:
        raise ValueError(f"no kernel backend named {name!r}; there are: {', '.join(_PACKAGES)}")
    simulated = name == "numba-cuda" and gpu.simulated()
    if _PACKAGES[name] in _ON_GPU and not simulated and (reason := gpu.missing(gpu.find(name))):
        raise ImportError(reason)
    backend = import_module(f".{_PACKAGES[name]}", __name__)
    blas.one_thread()
    if name == "numba":
        import_module(".numba_cpu.threads", __name__).threads()  # refuses a REFPLAY_THREADS that is no number
    return cast(Backend, backend)


def recorder(backend: Backend, dtype: str) -> Any:
    """Return a new recorder of `backend`, which replays a whole step as one program; None where it has none.

    It offers the functions of the contract and writes them down; see `refplay.kernels.numba_cpu.recorder`.
    """
    if getattr(backend, "__name__", "") != f"{__name__}.numba_cpu" or dtype != "float32":
        return None
    return import_module(".numba_cpu.recorder", __name__).Recorder()


def resident(backend: Backend) -> Any:
    """Return what `backend` has for trainings that stay in the memory of a device; None where it works in the host's.

    A module with functions such as gather, total and clip; see `refplay.kernels.numba_cuda.resident`.
    """
    package = getattr(backend, "__name__", "").removeprefix(f"{__name__}.")
    return import_module(f".{package}.resident", __name__) if package in _ON_GPU else None


def precision(backend: Backend, name: str) -> AbstractContextManager[None]:
    """Return a context in which the products of `backend` round their factors to "tf32" or "bf16"; "float32" is none.

    Raises
    ------
    PrecisionError
        The backend, or the GPU, has no such precision.
    """
    package = getattr(backend, "__name__", "").removeprefix(f"{__name__}.")
    if package == "cupy_cuda":
        return import_module(".cupy_cuda.precision", __name__).precision(name)  # type: ignore[no-any-return]
    if name != "float32":
        ours = {folder: ours for ours, folder in _PACKAGES.items()}.get(package, package)
        raise PrecisionError(f"precision: {name!r} is none of the backend {ours}; cupy has float32, tf32 and bf16")
    return nullcontext()


def describe(name: str) -> str:
    """Return in a few words what a backend that can run here runs on.

    >>> describe("numpy")
    'NumPy, 1 thread'
    """
    if name == "numpy":
        return "NumPy, 1 thread"
    if name == "numba-cuda" and gpu.simulated():
        return "simulated on the CPU, for tests: NUMBA_ENABLE_CUDASIM is set"
    if _PACKAGES[name] in _ON_GPU:
        return gpu.described(gpu.find(name))
    from .numba_cpu import simd, threads

    return f"{threads.threads()} threads, vectors of {simd.LANES} float32 ({simd.CPU_NAME})"


def available() -> dict[str, str]:
    """Return for every backend an empty string if it can run here, else the reason why it cannot.

    >>> available()["numpy"]
    ''
    """
    reasons = {}
    for name in _PACKAGES:
        try:
            load(name)
            reasons[name] = ""
        except Exception as error:  # a package that is broken raises anything; the other backends can run all the same
            reasons[name] = str(error) or type(error).__name__
    return reasons

"""The tests of the GPU backends, which run in one of three ways:

- `NUMBA_ENABLE_CUDASIM=1 pytest tests/gpu`: Numba-CUDA in the CUDA simulator, made strict (strict_simulator.py).
  The variable is read when Numba is imported, hence a process of its own: tests/test_numba_cuda.py starts it.
- `REFPLAY_CUDA_ON_CPU=1 pytest tests/gpu`: the CUDA C++ of the CuPy backend compiled by g++ (tests/cuda_on_cpu);
  tests/test_cupy_cuda.py starts it.
- `pytest -m gpu`, with REFPLAY_GPU_BACKEND=cupy for the other backend: on the GPU, where they need one and say so if
  there is none.

Most tests are of every GPU backend. Those of one alone are marked: `numba_cuda`, `cupy`.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ON_CPU = os.environ.get("REFPLAY_CUDA_ON_CPU") == "1"
SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
BACKEND = "cupy" if ON_CPU else os.environ.get("REFPLAY_GPU_BACKEND", "numba-cuda")
if BACKEND not in ("numba-cuda", "cupy"):
    raise pytest.UsageError(f"REFPLAY_GPU_BACKEND is {BACKEND!r}; it may be numba-cuda or cupy")
SEED = 20231
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # JAX would take three quarters of the GPU's memory
sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "kernels")]  # contract_calls
if SIMULATED:
    import strict_simulator

    strict_simulator.install()
if ON_CPU:
    import cuda_on_cpu.cupy_on_cpu

    cuda_on_cpu.cupy_on_cpu.install_as_gpu()


# Tests of the simulator itself, and those that need other libraries' arrays in device memory.
OF_THE_SIMULATOR, OF_A_GPU = ["test_strict_simulator.py", "test_simulated_dlpack.py"], ["test_foreign_libraries.py"]
collect_ignore = OF_A_GPU if SIMULATED or ON_CPU else []
collect_ignore += [] if SIMULATED else [*OF_THE_SIMULATOR, "strict_simulator.py"]  # that imports greenlet


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests as those of a GPU, where one is needed, and keep those of this backend."""
    other = "numba_cuda" if BACKEND == "cupy" else "cupy"
    items[:] = [item for item in items if not item.get_closest_marker(other)]
    if SIMULATED or ON_CPU:
        items[:] = [item for item in items if not item.get_closest_marker("gpu")]
        return
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("gpu")


def pytest_collection_finish(session: pytest.Session) -> None:
    """End a run that asks for a GPU where none can be used: with the reason, once, and as a failure."""
    import refplay.kernels

    wanted = [item for item in session.items if Path(__file__).parent in item.path.parents]
    if wanted and not (SIMULATED or ON_CPU) and (reason := refplay.kernels.available()[BACKEND]):
        pytest.exit(f"{len(wanted)} tests need a GPU. {reason}", returncode=1)


@pytest.fixture
def rng() -> np.random.Generator:
    print(f"seed {SEED}")  # pytest shows it with a failure
    return np.random.default_rng(SEED)


@pytest.fixture(scope="session")
def reference() -> Any:
    import refplay.kernels

    return refplay.kernels.load("numpy")


@pytest.fixture(scope="session")
def backend() -> str:
    """The name of the backend under test."""
    return BACKEND


@pytest.fixture(scope="session")
def gpu(backend: str) -> Any:
    import refplay.kernels

    return refplay.kernels.load(backend)


@pytest.fixture
def small_tiles(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulator takes seconds for tiles of 32 x 32 outputs, which test_cuda_product has; trainings have 8 x 6."""
    if SIMULATED:
        from refplay.kernels.numba_cuda import product

        monkeypatch.setattr(product, "tile_for", lambda *sizes: product.Tile(1, 1, 16))


@pytest.fixture(scope="session")
def run(gpu: Any) -> Callable[..., Any]:
    """Return run(name, *arguments): the kernel on copies of the arrays in device memory, which then come back."""

    def call(name: str, *arguments: Any) -> Any:
        moved = [gpu.asarray(a) if isinstance(a, np.ndarray) else a for a in arguments]
        result = getattr(gpu, name)(*moved)
        for host, device in zip(arguments, moved, strict=True):
            if isinstance(host, np.ndarray):
                host[...] = gpu.to_host(device)
        return result

    return call


@pytest.fixture(scope="session")
def assert_close() -> Callable[..., None]:
    """Return compare(actual, expected, tolerance): passes only where error <= tolerance, so that NaN and inf fail."""

    def compare(actual: object, expected: object, tolerance: object) -> None:
        a, e, tol = (np.asarray(value, dtype=np.float64) for value in (actual, expected, tolerance))
        assert a.shape == e.shape, f"shape {a.shape}, expected {e.shape}"
        with np.errstate(invalid="ignore"):
            error = np.abs(a - e)
            good = error <= np.broadcast_to(tol, e.shape)
        assert good.all(), f"{(~good).sum()} of {good.size} differ, errors up to {error[~good].max()}, allowed {tol}"

    return compare

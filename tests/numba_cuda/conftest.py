"""The tests of the Numba-CUDA backend, which run in one of two ways:

- `NUMBA_ENABLE_CUDASIM=1 pytest tests/numba_cuda`: in the CUDA simulator, made strict (see strict_simulator.py). The
  variable is read when Numba is imported, hence a process of its own: tests/test_numba_cuda.py starts it.
- `pytest -m gpu`: on the GPU, where they need one and say so if there is none.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
SEED = 20231
sys.path.insert(0, str(Path(__file__).parent))
if SIMULATED:
    import strict_simulator

    strict_simulator.install()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if not SIMULATED:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker("gpu")


@pytest.fixture
def rng() -> np.random.Generator:
    print(f"seed {SEED}")  # pytest shows it with a failure
    return np.random.default_rng(SEED)


@pytest.fixture(scope="session")
def reference() -> Any:
    import refplay.kernels

    return refplay.kernels.load("numpy")


@pytest.fixture(scope="session")
def gpu() -> Any:
    import refplay.kernels

    return refplay.kernels.load("numba-cuda")


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

"""What the kernel tests share: one comparator, numerical gradients, error bounds. Fixtures that return functions."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import refplay.kernels

SEED = 20231
sys.path.insert(0, str(Path(__file__).parent))  # contract_calls


@pytest.fixture
def rng() -> np.random.Generator:
    print(f"seed {SEED}")  # pytest shows it with a failure
    return np.random.default_rng(SEED)


@pytest.fixture(scope="session")
def reference() -> refplay.kernels.Backend:
    return refplay.kernels.load("numpy")


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


@pytest.fixture(scope="session")
def gradient() -> Callable[..., NDArray[np.float64]]:
    """Return numerical(f, x): the gradient of the scalar f() with respect to the float64 array x that it reads.

    Five-point differences, (8 (f(x+h) - f(x-h)) - (f(x+2h) - f(x-2h))) / 12h. Their truncation error is
    h^4 f'''''/30 and their rounding error about eps |f| / h: both are of order eps^(4/5) at h = eps^(1/5).
    """

    def numerical(f: Callable[[], float], x: NDArray[np.float64]) -> NDArray[np.float64]:
        h = np.finfo(np.float64).eps ** 0.2
        slope = np.empty_like(x)
        for i in np.ndindex(x.shape):
            kept, values = x[i], {}
            for k in (-2, -1, 1, 2):
                x[i] = kept + k * h
                values[k] = f()
            x[i] = kept
            slope[i] = (8 * (values[1] - values[-1]) - (values[2] - values[-2])) / (12 * h)
        return slope

    return numerical


@pytest.fixture(scope="session")
def numerical_tolerance() -> Callable[[float], float]:
    """Return tolerance(magnitude) of `gradient` for f a sum whose absolute terms add up to `magnitude`.

    The factor 20 stands for the fifth derivative and for the roundings of a sum of some ten terms.
    """
    return lambda magnitude: float(20 * np.finfo(np.float64).eps ** 0.8 * (1 + magnitude))

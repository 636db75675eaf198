"""The digits, the backends, and a training with nothing neutral."""

import pytest

from refplay import kernels
from refplay.data import Dataset, load_dataset
from refplay.kernels import Backend


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture(scope="session")
def numpy_kernels() -> Backend:
    return kernels.load("numpy")


@pytest.fixture(scope="session")
def numba_kernels() -> Backend:
    return kernels.load("numba")

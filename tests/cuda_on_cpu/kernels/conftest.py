"""What the tests of single kernels share: kernels by name, and vectors that begin where views of theta may begin."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from cuda_on_cpu.launch import load
from refplay.kernels import numpy_ref

KERNELS = Path(__file__).parents[3] / "kernels" / "cupy_cuda"


@pytest.fixture(scope="session")
def launch() -> Callable[..., None]:
    """Return launch("file.kernel", blocks, *arguments), in blocks of 256 threads."""

    def call(name: str, blocks: int, *arguments: Any, threads: int = 256) -> None:
        file, kernel = name.split(".")
        load(KERNELS / f"{file}.cu").get_function(kernel)((blocks,), (threads,), arguments)

    return call


@pytest.fixture(scope="session")
def reference() -> ModuleType:
    return numpy_ref


@pytest.fixture(scope="session")
def shifted() -> Callable[..., np.ndarray]:
    """Return shifted(vector, offset): a copy that begins `offset` values after an allocation does."""

    def copy(vector: np.ndarray, offset: int) -> np.ndarray:
        memory = np.full(offset + vector.size, np.nan, vector.dtype)
        memory[offset:] = vector
        return memory[offset:]

    return copy

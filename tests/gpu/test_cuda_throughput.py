"""`refplay throughput` on the GPU: what is measured, what runs out of memory, what it says that it ran on."""

from importlib import import_module
from typing import Any

import numpy as np
import pytest

from refplay.analysis.throughput import doublings, measured
from refplay.data import Dataset, Split
from refplay.nn import Dense, Model
from refplay.procedures import setup as setups
from refplay.procedures import stopwatch
from refplay.procedures.setup import Setup, key_of
from refplay.procedures.throughput import measure
from refplay.report.throughput import heading

pytestmark = pytest.mark.usefixtures("small_tiles")


@pytest.fixture
def small(backend: str, monkeypatch: pytest.MonkeyPatch) -> Setup:
    """A measurement that is short in the simulator too."""
    for module, name, value in ((setups, "STEPS_ON_DEVICE", 2), (stopwatch, "ROUNDS", 1), (stopwatch, "WARM_UP", 1),
                                (stopwatch, "LEAST", 1)):
        monkeypatch.setattr(module, name, value)
    rng = np.random.default_rng(1)
    split = Split(rng.standard_normal((20, 4)).astype("f4"), rng.integers(0, 2, 20))
    return Setup(Model((4,), 2, (Dense(2),)), Dataset("drawn", split, split, split, 2), "sgd", backend=backend)


def test_sizes_are_measured_and_belong_to_the_device(small: Setup) -> None:
    found = measure(small, [8, 16, 32], seconds=0.0)
    assert [timing.batch_size for timing in measured(found.ours)] == [8, 16]
    assert found.ended == "the training set of drawn has 20 examples"
    assert all(timing.steps % 2 == 0 and 0 < timing.waiting < timing.seconds for timing in found.ours)
    (step,) = doublings(found.ours)
    assert step.bottleneck in ("", "input pipeline", "overhead", "compute")
    assert found.accumulation is not None
    assert found.prefetch is None  # the batches are gathered where they are used
    assert found.key["backend"] == small.backend
    assert found.key["device"]
    assert found.key["device"] in " ".join(heading(found))
    assert "device" not in key_of(Setup(small.model, small.data, backend="numpy"))


def test_a_size_that_the_device_cannot_hold_is_a_record(small: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver refuses one allocation of the step, as it does when memory is out."""
    owner, name = allocator(small.backend)
    allocate, refused = getattr(owner, name), []

    def refuse_some(shape, *rest, **options):
        rehearsing = getattr(getattr(owner, "_own", None), "rehearsing", False)  # as CuPy's step is before
        if shape == (16, 2) and not rehearsing:
            refused.append(shape)
            raise out_of_memory(small.backend)
        return allocate(shape, *rest, **options)

    monkeypatch.setattr(owner, name, refuse_some)
    found = measure(small, [4, 8, 16], seconds=0.0)
    assert [(timing.batch_size, timing.failed) for timing in found.ours] == [(4, ""), (8, ""), (16, "out of memory")]
    assert found.ended == "batch size 16: out of memory"
    assert refused


def allocator(backend: str) -> tuple[Any, str]:
    """Return what a backend allocates with: its owner, and its name there."""
    if backend == "cupy":
        return import_module("refplay.kernels.cupy_cuda.device"), "empty"
    return import_module("refplay.kernels.numba_cuda.device").cuda, "device_array"


def out_of_memory(backend: str) -> Exception:
    """Return the error of Numba-CUDA; the simulator has none, and CuPy's is a MemoryError."""
    if backend == "cupy" or import_module("refplay.kernels.numba_cuda.device").SIMULATED:
        return MemoryError("out of memory")
    from numba.cuda.cudadrv.driver import CudaAPIError

    return CudaAPIError(2, "Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY")

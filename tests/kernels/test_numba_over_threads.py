"""Work cut into tasks for the threads: the same bits whatever their number, and the values of one pass over all.

Sizes are those that give several tasks, the last of them shorter.
"""

import numpy as np
import pytest

from refplay import kernels
from refplay.kernels.numba_cpu import threads

NUMBA = kernels.load("numba")
LONG, CLASSES = (3, 13_001), 37
MAPS = {f"{name}_{way}": count for name in ("relu", "tanh", "gelu") for way, count in (("forward", 2), ("backward", 4))}
# The arguments of every kernel: a tuple is the shape of an array, "l" the labels, all else itself.
CALLS = {
    **{name: [LONG] * count for name, count in MAPS.items()},
    "batch_norm_forward": [(2, 1001, 40), (40,), (40,), (2, 1001, 40), (2, 40), (2, 40), 0.01],
    "batch_norm_backward": [(2, 1001, 40), (40,), (2, 40), (2, 40), (2, 1001, 40), (2, 1001, 40), (40,), (40,), 0.01],
    "batch_norm_inference": [(1001, 40), (40,), (40,), (40,), (40,), (1001, 40), 0.01],
    "layer_norm_forward": [(1001, 40), (40,), (40,), (1001, 40), (1001,), (1001,), 0.01],
    "layer_norm_backward": [(1001, 40), (40,), (1001,), (1001,), (1001, 40), (1001, 40), (40,), (40,), 0.01],
    "dropout_forward": [LONG, LONG, 0.3, 2**63 + 1, 5, 1],
    "softmax_cross_entropy": [(1001, CLASSES), "l", (1001,), 0.1, (1001,), (1001, CLASSES)],
    "sgd": [(40_001,)] * 2 + [0.1],
    "momentum": [(40_001,)] * 3 + [0.1, 0.9],
    "nesterov": [(40_001,)] * 3 + [0.1, 0.9],
    "rmsprop": [(40_001,)] * 4 + [0.1, 0.9, 0.8, 0.01],
    "adam": [(40_001,)] * 4 + [3, 0.1, 0.9, 0.8, 0.01],
    "nadam": [(40_001,)] * 4 + [3, 0.1, 0.9, 0.8, 0.01],
    "l2_norm": [(40_001,)],
    "scale": [(40_001,), 0.3],
    "axpby": [0.3, (40_001,), 0.7, (40_001,)],
}


@pytest.fixture
def restore_threads():
    before = threads.threads()
    yield
    threads.set_threads(before)


def arguments(name, dtype):
    rng = np.random.default_rng(len(name))
    labels = np.arange(1001) % CLASSES
    return [rng.uniform(0.5, 1.5, a).astype("float32").astype(dtype) if isinstance(a, tuple) else
            labels if a == "l" else a for a in CALLS[name]]  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_any_number_of_threads_gives_the_same_bits_and_the_values_of_the_reference(name, reference, restore_threads):
    expected = arguments(name, "float64")
    norm = getattr(reference, name)(*expected)
    first = None
    for count in (1, 2, 3):
        threads.set_threads(count)
        given = arguments(name, "float32")
        result = getattr(NUMBA, name)(*given)
        found = [a.tobytes() for a in given if isinstance(a, np.ndarray)] + [result]
        first = first or found
        assert found == first
    if norm is not None:
        given, expected = [result], [norm]
    for actual, exact in zip(given, expected, strict=True):
        # 16 roundings relative to the largest value: what goes wrong between tasks is far larger
        np.testing.assert_allclose(actual, exact, rtol=0, atol=16 * np.finfo("f4").eps * np.max(np.abs(exact)))

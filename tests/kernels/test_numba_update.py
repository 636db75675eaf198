"""The fused weight gradient and rule: the bits of the two calls, for every shape, cut and number of threads."""

import numpy as np
import pytest

from refplay import kernels
from refplay.kernels.numba_cpu import optim, threads, update
from refplay.kernels.numba_cpu.program import launch

NUMBA = kernels.load("numba")
SCALARS = {"sgd": (0.1,), "momentum": (0.1, 0.9), "nesterov": (0.1, 0.9), "rmsprop": (0.1, 0.9, 0.8, 0.01),
           "adam": (3, 0.1, 0.9, 0.8, 0.01), "nadam": (3, 0.1, 0.9, 0.8, 0.01)}  # fmt: skip
STATES = {"sgd": 0, "momentum": 1, "nesterov": 1, "rmsprop": 2, "adam": 2, "nadam": 2}
# (B, I, O): one of everything, odd rests of rows and lanes, more examples than are summed at once, no examples
SHAPES = [(1, 1, 1), (1, 13, 3), (3, 17, 65), (5, 211, 256), (17, 100, 10), (33, 97, 193), (600, 50, 130),
          (1030, 7, 67), (0, 3, 5)]  # fmt: skip


def draw(rule, B, I, O):
    rng = np.random.default_rng(B + I)
    x, dy = rng.normal(0.3, 1.0, (B, I)).astype("f4"), rng.normal(-0.2, 1.0, (B, O)).astype("f4")
    return x, dy, [rng.uniform(0.5, 1.5, I * O).astype("f4") for _ in range(1 + STATES[rule])]


@pytest.fixture
def restore_threads():
    before = threads.threads()
    yield
    threads.set_threads(before)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rule", sorted(SCALARS))
def test_fused_gives_the_bits_of_gradient_then_rule(rule, shape, restore_threads):
    B, I, O = shape
    x, dy, vectors = draw(rule, *shape)
    theta, *state = (a.copy() for a in vectors)
    dw, db = np.empty((I, O), "f4"), np.empty(O, "f4")
    NUMBA.dense_backward(x, np.ones((I, O), "f4"), dy, None, dw, db)
    getattr(NUMBA, rule)(theta, dw.reshape(-1), *state, *SCALARS[rule])
    for count in (1, 2, 3):
        threads.set_threads(count)
        new = [a.copy() for a in vectors]
        scalars = getattr(optim, f"{rule}_scalars")(*SCALARS[rule])
        launch(*update.dense_update_calls(rule, scalars, x, dy, new[0].reshape(I, O), *new[1:]))
        for actual, expected in zip(new, (theta, *state), strict=True):
            np.testing.assert_array_equal(actual, expected)
    assert not np.array_equal(vectors[0], theta) or not B

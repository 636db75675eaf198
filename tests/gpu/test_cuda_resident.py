"""What a resident training needs beyond the contract: batches, losses, norms and clipping that stay on the GPU."""

import math

import numpy as np
import pytest

from refplay.kernels import load, resident

LENGTHS = [1, 2, 255, 256, 257, 1024, 1531]
DTYPES = ["float32", "float64"]


@pytest.fixture(scope="session")
def on_gpu(gpu):
    return resident(gpu)


@pytest.fixture(autouse=True, scope="module")
def partial_sums_that_nobody_wrote_are_seen(gpu, on_gpu):
    on_gpu.total(gpu.asarray(np.full(4096, np.nan)), gpu.zeros((1,), "float64"), 0)


def test_only_a_device_keeps_trainings(gpu):
    assert resident(load("numpy")) is None
    assert resident(load("numba")) is None
    assert resident(gpu).__name__ == f"{gpu.__name__}.resident"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("values", [1, 2, 31, 32, 33, 257, 523])
@pytest.mark.parametrize("batch", [1, 7])
def test_a_batch_is_gathered_by_the_indices_of_its_step(gpu, on_gpu, rng, batch, values, dtype):
    examples = rng.standard_normal((11, values)).astype(dtype)
    labels, indices = rng.integers(0, 2**40, 11), rng.integers(0, 11, (3, batch))
    indices[1, 0], indices[1, -1] = 0, 10
    x, y = gpu.empty((batch, values), dtype), gpu.empty((batch,), "int64")
    on_gpu.gather(*(gpu.asarray(a) for a in (examples, labels, indices)), 1, x, y)
    np.testing.assert_array_equal(gpu.to_host(x), examples[indices[1]])
    np.testing.assert_array_equal(gpu.to_host(y), labels[indices[1]])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [0, *LENGTHS])
def test_the_sum_is_logged_in_double(gpu, on_gpu, rng, n, dtype):
    x = (rng.standard_normal(n) + 3.0).astype(dtype)
    log = gpu.asarray(np.full(3, -7.0))
    on_gpu.total(gpu.asarray(x), log, 1)
    found = gpu.to_host(log)
    bound = 20 * np.finfo(float).eps * abs(x).astype(float).sum()  # a thread adds 6 numbers, the tree 8 times
    assert found[1] == pytest.approx(math.fsum(x.astype(float)), rel=0, abs=bound)
    assert found[[0, 2]].tolist() == [-7.0, -7.0]


@pytest.mark.numba_cuda  # CuPy's is a tape's: test_cupy_graph.py
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("part", [0.3, 2.0, math.inf])
def test_clipping_is_that_of_the_host(gpu, on_gpu, reference, rng, n, dtype, part):
    from refplay.optim import clip_by_norm

    g = rng.standard_normal(n).astype(dtype)
    threshold = part * float(np.linalg.norm(g.astype(float)))
    expected, clipped = g.copy(), gpu.asarray(g)
    norm = clip_by_norm(expected, threshold, kernels=reference)
    log = gpu.asarray(np.full(3, -7.0))
    on_gpu.clip(clipped, threshold, log, 2)
    found = gpu.to_host(log)
    assert found[2] == pytest.approx(norm, rel=20 * np.finfo(float).eps)
    assert found[:2].tolist() == [-7.0, -7.0]
    after = gpu.to_host(clipped)
    if part > 1:
        np.testing.assert_array_equal(after, g)
    # The factor differs by the rounding of the norm, in double; then the product is rounded to the dtype: one ulp.
    np.testing.assert_allclose(after, expected, rtol=(1 if dtype == "float32" else 20) * np.finfo(dtype).eps)


@pytest.mark.numba_cuda
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_norm_that_is_not_finite_leaves_the_gradient(gpu, on_gpu, bad):
    g = np.array([3.0, bad, -4.0], "f4")
    clipped, log = gpu.asarray(g), gpu.zeros(1, "float64")
    on_gpu.clip(clipped, 1.0, log, 0)
    np.testing.assert_array_equal(gpu.to_host(clipped), g)
    np.testing.assert_array_equal(gpu.to_host(log), [bad])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (5, 2), (255, 3), (257, 10), (3, 17)])
def test_misses_are_those_of_argmax(gpu, on_gpu, rng, shape, dtype):
    z = rng.integers(-2, 3, shape).astype(dtype)  # many ties: the first of equal logits counts
    labels = rng.integers(0, shape[1], shape[0])
    missed = gpu.empty((shape[0],), dtype)
    on_gpu.misses(gpu.asarray(z), gpu.asarray(labels), missed)
    np.testing.assert_array_equal(gpu.to_host(missed), z.argmax(axis=1) != labels)


def test_a_nan_is_the_answer_as_on_the_host(gpu, on_gpu):
    z = np.array([[1.0, np.nan, 2.0, np.nan], [np.nan, 9.0, 1.0, 2.0], [-np.inf] * 4], "f4")
    missed = gpu.empty((3,), "float32")
    for label, expected in ((0, [1, 0, 0]), (1, [0, 1, 1])):
        on_gpu.misses(gpu.asarray(z), gpu.asarray(np.full(3, label)), missed)
        assert gpu.to_host(missed).tolist() == expected

"""resident.cu: rows, sums, norms and answers, with steps and places by value and from memory."""

from math import fsum, inf, nan

import numpy as np
import pytest

DTYPES = ["float32", "float64"]


@pytest.mark.parametrize("dtype", [*DTYPES, "int64"])
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize(("columns", "lanes"), [(1, 1), (3, 1), (20, 4), (784, 256), (33, 2)])
@pytest.mark.parametrize("by_value", [True, False])
def test_gather(launch, shifted, columns, lanes, offset, dtype, by_value):
    rng, B = np.random.default_rng(columns), 131
    if dtype == "int64":
        examples = rng.integers(-9, 9, (11, columns))
    else:
        examples = shifted(rng.normal(0, 1, 11 * columns).astype(dtype), offset).reshape(11, columns)
    labels, indices = rng.integers(0, 2**40, 11), rng.integers(0, 11, (3, B))
    x, y = np.zeros((B, columns), dtype), np.zeros(B, np.int64)
    step = (2, None) if by_value else (0, np.array([2]))
    launch(f"resident.resident_gather_{dtype}", -(-B * lanes // 256), examples, labels, indices, *step, x, y, B,
           columns, lanes)
    np.testing.assert_array_equal(x, examples[indices[2]])
    np.testing.assert_array_equal(y, labels[indices[2]])


def logged(launch, what, x, blocks, place):
    partial, log, arrived = np.full(blocks, nan), np.full(3, -7.0), np.zeros(1, np.uint32)
    launch(f"resident.resident_{what}_{x.dtype}", blocks, x, x.size, partial, arrived, log, *place)
    assert log[[0, 2]].tolist() == [-7.0, -7.0]
    assert arrived[0] == 0  # ready for the next launch
    return log[1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [0, 1, 255, 257, 4100, 9999])
@pytest.mark.parametrize("blocks", [1, 3, 40])  # 40: more threads than values, more partial sums than lanes of a warp
def test_sums(launch, n, blocks, dtype):
    x = (np.random.default_rng(n).normal(3, 1, n)).astype(dtype)
    wide, bound = x.astype(float), n * np.finfo(float).eps
    assert abs(logged(launch, "total", x, blocks, (1, None)) - fsum(wide)) <= bound * abs(wide).sum()
    norm = logged(launch, "norm", x, blocks, (0, np.array([1])))
    assert abs(norm - np.sqrt(fsum(wide**2))) <= (bound + 1e-15) * norm


@pytest.mark.parametrize("blocks", [31, 33, 255, 257, 300])
def test_sums_of_many_blocks(launch, blocks):
    x = np.arange(1.0, blocks + 1)  # whole numbers: exact
    assert logged(launch, "total", x, blocks, (1, None)) == blocks * (blocks + 1) / 2


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("n", [1, 5, 2047, 4095, 4096, 4099])
@pytest.mark.parametrize("norm", [8.0, 2.0, inf, nan])
def test_clip(launch, shifted, n, offset, dtype, norm):
    g = shifted(np.random.default_rng(n).normal(0, 1, n).astype(dtype), offset)
    expected = (0.375 * g.astype(float)).astype(dtype) if norm == 8 else g.copy()
    blocks = -(-n * g.itemsize // 16384)
    launch(f"resident.resident_clip_{dtype}", blocks, g, n, 3.0, np.array([0.0, norm]), 1, None)
    np.testing.assert_array_equal(g, expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (9, 2), (20, 31), (3, 33), (9, 100)])
def test_misses(launch, shape, dtype):
    rng = np.random.default_rng(shape)
    z, labels = rng.integers(-2, 3, shape).astype(dtype), rng.integers(0, shape[1], shape[0])
    missed = np.full(shape[0], nan, dtype)
    z[0, rng.integers(0, shape[1], 2)] = nan  # the first NaN is the answer, as in NumPy
    labels[::2] = z.argmax(1)[::2]
    launch(f"resident.resident_misses_{dtype}", -(-shape[0] // 8), z, labels, missed, *shape)
    np.testing.assert_array_equal(missed, z.argmax(1) != labels)

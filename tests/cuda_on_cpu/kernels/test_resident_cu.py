"""resident.cu: rows, sums and answers, with steps and places by value and from memory."""

from math import fsum, nan

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


def logged(launch, x, blocks, place):
    partial, log, arrived = np.full(blocks, nan), np.full(3, -7.0), np.zeros(1, np.uint32)
    launch(f"resident.resident_total_{x.dtype}", blocks, x, x.size, partial, arrived, log, *place)
    assert log[[0, 2]].tolist() == [-7.0, -7.0]
    assert arrived[0] == 0  # ready for the next launch
    return log[1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [0, 1, 255, 257, 4100, 9999])
@pytest.mark.parametrize("blocks", [1, 3, 40])  # 40: more threads than values, more partial sums than lanes of a warp
def test_sums(launch, n, blocks, dtype):
    x = (np.random.default_rng(n).normal(3, 1, n)).astype(dtype)
    wide = x.astype(float)
    for place in ((1, None), (0, np.array([1]))):
        error = abs(logged(launch, x, blocks, place) - fsum(wide))
        assert error <= n * np.finfo(float).eps * abs(wide).sum()


@pytest.mark.parametrize("blocks", [31, 33, 255, 257, 300])
def test_sums_of_many_blocks(launch, blocks):
    x = np.arange(1.0, blocks + 1)  # whole numbers: exact
    assert logged(launch, x, blocks, (1, None)) == blocks * (blocks + 1) / 2


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

"""The emitter: each operation against NumPy, over the lanes of this CPU."""

import numpy as np
import pytest
from numba import njit

from refplay.kernels.numba_cpu.simd import BYTES, FUSED, LANES, emit

VECTORS = np.random.default_rng(0).normal(size=(LANES, LANES)).astype(np.float32)
VECTORS[0, 0], VECTORS[1, 1] = np.nan, np.inf


def run(kernel, *arrays_and_numbers):
    """Call an emitted kernel with the addresses of arrays; numbers pass as they are."""
    words = tuple(a.ctypes.data if isinstance(a, np.ndarray) else a for a in arrays_and_numbers)
    if len(words) == 2:
        njit(lambda a, b: kernel(a, b))(*words)
    elif len(words) == 3:
        njit(lambda a, b, c: kernel(a, b, c))(*words)
    else:
        njit(lambda a, b, c, d: kernel(a, b, c, d))(*words)


def test_load_store_and_arithmetic_are_those_of_float32():
    @emit
    def combine(e, x, y, out, n):
        def body(i):
            a, b = e.load(x + BYTES * i), e.load(y + BYTES * i)
            e.store((a + b) * 2.0 - a / b + 1.5, out + BYTES * i)

        e.loop(n, [], body)

    x, y, out = VECTORS[2], VECTORS[3], np.zeros(LANES, np.float32)
    run(combine, x, y, out, 1)
    np.testing.assert_array_equal(out, (x + y) * np.float32(2) - x / y + np.float32(1.5))


def test_masked_loads_and_stores_touch_only_the_first_lanes():
    @emit
    def copy(e, x, out, count):
        inside = e.first(count)
        e.store(e.load(x, inside) + 1.0, out, inside)

    for count in (0, 1, LANES - 1, LANES):
        out = np.full(LANES, 7, np.float32)
        run(copy, VECTORS[2], out, count)
        np.testing.assert_array_equal(out[:count], VECTORS[2, :count] + np.float32(1))
        np.testing.assert_array_equal(out[count:], 7)


def test_a_masked_load_does_not_read_behind_the_end_of_a_page():
    import mmap

    @emit
    def read(e, x, out, count):
        e.store(e.load(x, e.first(count)), out)

    page = mmap.mmap(-1, mmap.PAGESIZE)  # what lies behind it may well not be mapped
    last = np.frombuffer(page, np.float32)[-3:]
    last[:] = 1, 2, 3
    out = np.zeros(LANES, np.float32)
    run(read, last, out, 3)
    np.testing.assert_array_equal(out[:4], [1, 2, 3, 0])


def test_transpose_and_sum_across_lanes():
    @emit
    def transpose(e, x, out, sums):
        rows = [e.load(x + BYTES * i) for i in range(LANES)]
        for i, row in enumerate(e.transpose(rows)):
            e.store(row, out + BYTES * i)
        e.store(e.sum(rows), sums)

    out, sums = np.zeros((LANES, LANES), np.float32), np.zeros(LANES, np.float32)
    run(transpose, VECTORS, out, sums)
    np.testing.assert_array_equal(out, VECTORS.T)
    np.testing.assert_allclose(sums, VECTORS.astype(float).sum(axis=1), rtol=0, atol=LANES * 4 * 2.0**-24)


def test_comparisons_with_nan_are_false_and_where_selects():
    @emit
    def relu(e, x, out):
        v = e.load(x)
        e.store(e.where(v <= 0.0, e.vector(0.0), v), out)

    for row in VECTORS[:2]:
        out = np.zeros(LANES, np.float32)
        run(relu, row, out)
        np.testing.assert_array_equal(out, np.where(row <= 0, 0, row))  # a NaN stays


def test_fma_rounds_once_where_the_cpu_can():
    @emit
    def residual(e, x, out):
        a = e.load(x)
        e.store(e.fma(a, a, 0.0 - a * a), out)

    out = np.zeros(LANES, np.float32)
    run(residual, VECTORS[2], out)
    exact = VECTORS[2].astype(float) ** 2
    rounding = (exact - (VECTORS[2] * VECTORS[2])).astype(np.float32)
    assert np.any(rounding)
    np.testing.assert_array_equal(out, rounding if FUSED else 0)


@pytest.mark.parametrize("count", [0, 1, 5])
def test_loops_carry_values_and_run_as_often_as_asked(count):
    @emit
    def powers(e, count, out):
        (value,) = e.loop(count, [e.vector(3.0)], lambda i, value: [value * 2.0])
        e.store(value, out)

    out = np.zeros(LANES, np.float32)
    run(powers, count, out)
    np.testing.assert_array_equal(out, 3 * 2.0**count)

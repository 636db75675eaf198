"""The register tile and the products made of it, against sums in double."""

import numpy as np
import pytest

from refplay.kernels.numba_cpu import threads
from refplay.kernels.numba_cpu.product import product
from refplay.kernels.numba_cpu.program import Program
from refplay.kernels.numba_cpu.simd import LANES
from refplay.kernels.numba_cpu.tile import tile

EPS = float(np.finfo(np.float32).eps)


def plain_tile(a, row, step, jump, b, start, rows, columns, outer, inner, floor):
    """The tile as three loops; strides in values."""
    c = np.array(np.broadcast_to(start, (rows, columns)), float)
    size = np.abs(c)
    for i in range(rows):
        for o in range(outer):
            for k in range(inner):
                term = a[i * row + o * (inner * step + jump) + k * step] * b[o * inner + k, :columns]
                c[i] += term
                size[i] += np.abs(term)
    return np.maximum(c, floor), size


@pytest.mark.parametrize(("rows", "vectors"), [(1, 1), (1, 8), (3, 4), (6, 4), (7, 2), (14, 2), (14, 1)])
@pytest.mark.parametrize("columns", ["full", "one less", "one in the last"])
def test_the_tile_is_its_three_loops(rows, vectors, columns):
    rng = np.random.default_rng(rows * 100 + vectors)
    count = {"full": vectors * LANES, "one less": vectors * LANES - 1, "one in the last": (vectors - 1) * LANES + 1}
    n, outer, inner = count[columns], 3, 5
    a, b = rng.normal(size=2000).astype(np.float32), rng.normal(size=(15, vectors * LANES + 3)).astype(np.float32)
    start = rng.normal(size=(rows, n)).astype(np.float32)
    c = np.full((rows, vectors * LANES + 3), 99, np.float32)
    run = tile(rows, vectors, n < vectors * LANES).ctypes
    run(a.ctypes.data, 4 * 31, 4 * 2, 4 * 7, b.ctypes.data, b.strides[0], c.ctypes.data, c.strides[0],
        start.ctypes.data, start.strides[0], outer, inner, n, -0.25)
    expected, size = plain_tile(a.astype(float), 31, 2, 7, b.astype(float), start, rows, n, outer, inner, -0.25)
    assert np.all(np.abs(c[:, :n] - expected) <= (outer * inner + 1) * EPS * size)
    assert np.all(c[:, n:] == 99)  # nothing is written beside it


def test_a_nan_survives_the_floor():
    a, b, c = np.array([np.nan], np.float32), np.ones((1, LANES), np.float32), np.zeros((1, LANES), np.float32)
    zero = np.zeros(LANES, np.float32)
    tile(1, 1, False).ctypes(a.ctypes.data, 4, 4, 0, b.ctypes.data, 4 * LANES, c.ctypes.data, 4 * LANES,
                             zero.ctypes.data, 0, 1, 1, LANES, 0.0)
    assert np.all(np.isnan(c))


SHAPES = [(1, 1, 1), (1, 300, 5), (2, LANES, 17), (5, LANES + 1, 2), (8, 129, 600), (9, 10, 33), (31, 2 * LANES - 1, 3),
          (67, 200, 1030), (300, 10, 37), (257, 131, 64)]


@pytest.mark.parametrize(("m", "n", "k"), SHAPES)
@pytest.mark.parametrize("form", ["plain", "right transposed", "left transposed"])
def test_products_of_awkward_shapes(m, n, k, form):
    rng = np.random.default_rng(m + n + k)
    a, b = rng.normal(size=(m, k)).astype(np.float32), rng.normal(size=(k, n)).astype(np.float32)
    c, start = np.full((m, n), np.nan, np.float32), None
    if form == "plain":
        start = rng.normal(size=n).astype(np.float32)
        made = product(a, 4 * k, 4, b, 4 * n, c, m, n, k, start=start, floor=0.0)
    elif form == "right transposed":
        turned = np.ascontiguousarray(b.T)
        made = product(a, 4 * k, 4, turned, 4 * k, c, m, n, k, transposed=True)
    else:
        turned = np.ascontiguousarray(a.T)
        made = product(turned, 4, 4 * m, b, 4 * n, c, m, n, k)
    Program([made]).run()
    expected = a.astype(float) @ b + (0 if start is None else start)
    size = np.abs(a).astype(float) @ np.abs(b) + (0 if start is None else np.abs(start))
    if form == "plain":
        expected = np.maximum(expected, 0)
    assert np.all(np.abs(c - expected) <= (k + 1) * EPS * size)


def test_products_do_not_depend_on_the_number_of_threads():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(301, 700)).astype(np.float32), rng.normal(size=(700, 203)).astype(np.float32)
    before, results = threads.threads(), []
    try:
        for count in (1, 2, 3):
            threads.set_threads(count)
            c = np.empty((301, 203), np.float32)
            Program([product(a, 2800, 4, b, 812, c, 301, 203, 700)]).run()
            results.append(c)
    finally:
        threads.set_threads(before)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])

"""reduce.cu: norms and scalings against numpy in double, over lengths, alignments and numbers of blocks."""

from math import hypot, inf, nan, sqrt

import numpy as np
import pytest

LENGTHS = [0, 1, 2, 3, 4, 5, 31, 32, 33, 127, 1009, 2048, 9999]


def norm_and_clip(launch, g, blocks=3, threshold=inf, arrived=None, unit=1.0):
    partial, result = np.full(blocks, nan), np.full(2, nan)
    arrived = np.zeros(1, np.uint32) if arrived is None else arrived
    launch(f"reduce.norm_and_clip_{g.dtype}", blocks, g, g.size, unit, threshold, partial, arrived, result, None,
           None)
    assert arrived[0] == 0  # ready for the next launch
    return result


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("offset", [0, 1, 2, 3])
@pytest.mark.parametrize("n", LENGTHS)
def test_norm(launch, shifted, dtype, offset, n):
    g = (10.0 ** np.random.default_rng(n).uniform(-6, 3, n)).astype(dtype)
    norm, factor = norm_and_clip(launch, shifted(g, offset))
    exact = sqrt(sum(float(value) ** 2 for value in g))
    # All terms are positive: at most n roundings of the kernel's sum and n of this one, and those of the squares.
    assert abs(norm - exact) <= 2 * (n + 2) * np.finfo(float).eps / 2 * exact
    assert factor == 1


@pytest.mark.parametrize(("size", "unit"), [(1e-320, 2.0**600), (1e300, 2.0**-600)])
def test_a_unit_keeps_squares_of_doubles_in_range(launch, size, unit):
    g = size * np.arange(1.0, 1000.0)
    norm, factor = norm_and_clip(launch, g, unit=unit)
    assert abs(norm - hypot(*g)) <= 1e-13 * norm
    assert factor == 1
    assert norm_and_clip(launch, g)[0] in (0, inf)


@pytest.mark.parametrize("blocks", [1, 2, 7, 64])
def test_any_number_of_blocks(launch, blocks):
    g = np.arange(1, 20001, dtype=np.float32)  # every partial sum is a whole number below 2^53: exact
    assert norm_and_clip(launch, g, blocks)[0] == sqrt(20000 * 20001 * 40001 / 6)


def test_more_blocks_than_threads_of_the_last(launch):
    g = np.full(4 * 300 * 256, 0.5, np.float32)  # a pack for each thread of each block
    assert norm_and_clip(launch, g, 300)[0] == sqrt(g.size / 4)


@pytest.mark.parametrize(
    ("g", "threshold", "factor"),
    [([3, 4], 2.5, 0.5), ([3, 4], 5, 1), ([3, 4], 7, 1), ([3, nan], 2, 1), ([3, inf], 2, 1), ([0, 0], 2, 1)],
)
def test_the_factor_of_clipping(launch, g, threshold, factor):
    result = norm_and_clip(launch, np.array(g, np.float32), threshold=float(threshold))
    np.testing.assert_array_equal(result, [np.linalg.norm(g), factor])


def test_the_norm_is_logged(launch):
    g, result, log = np.array([3, 4], np.float32), np.full(2, nan), np.full(3, -7.0)
    launch("reduce.norm_and_clip_float32", 1, g, 2, 1.0, inf, np.zeros(1), np.zeros(1, np.uint32), result, log,
           np.array([1]))
    assert [*result, *log] == [5, 1, -7, 5, -7]


def test_again_and_again(launch):
    arrived = np.zeros(1, np.uint32)
    g = np.random.default_rng(1).standard_normal(5000).astype(np.float32)
    first = norm_and_clip(launch, g, 5, arrived=arrived)
    for _ in range(3):
        np.testing.assert_array_equal(norm_and_clip(launch, g, 5, arrived=arrived), first)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("offset", [0, 1, 2])
@pytest.mark.parametrize("n", LENGTHS)
def test_scale(launch, shifted, dtype, offset, n):
    g = shifted(np.random.default_rng(n).standard_normal(n).astype(dtype), offset)
    expected = (0.3 * g.astype(float)).astype(dtype)
    launch(f"reduce.scale_{dtype}", n // 1024 + 1, g, 0.3, n, None, None)
    np.testing.assert_array_equal(g, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("offsets", [(0, 0), (1, 1), (0, 2), (3, 0)])
@pytest.mark.parametrize("n", LENGTHS)
def test_axpby(launch, shifted, dtype, offsets, n):
    rng = np.random.default_rng(n)
    x, y = (shifted(rng.standard_normal(n).astype(dtype), offset) for offset in offsets)
    exact = 0.3 * x.astype(float) - 1.7 * y.astype(float)
    # Computed in double and rounded once; in double two products and a sum, here as there.
    roundings = 0.5 if dtype == "float32" else 3
    allowed = roundings * np.finfo(dtype).eps * (0.3 * abs(x) + 1.7 * abs(y))
    launch(f"reduce.axpby_{dtype}", n // 1024 + 1, 0.3, x, -1.7, y, n, None, None, None)
    assert (abs(y - exact) <= 1.001 * allowed).all()


def test_axpby_of_one_vector_with_itself(launch):
    y = np.arange(3000, dtype=np.float32)
    launch("reduce.axpby_float32", 2, 0.5, y, 2.0, y, y.size, None, None, None)
    np.testing.assert_array_equal(y, 2.5 * np.arange(3000))

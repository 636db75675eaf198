"""Reductions and scalings of a vector on the GPU."""

import math
from importlib import import_module

import numpy as np
import pytest

DTYPES = ["float32", "float64"]
PER_BLOCK = 1024  # values for which there is a block
LENGTHS = [0, 1, 2, 255, 256, 257, PER_BLOCK - 1, PER_BLOCK, PER_BLOCK + 1, 3 * PER_BLOCK + 511]
EPS = np.finfo("float64").eps


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", LENGTHS)
def test_norm_is_summed_in_float64(run, rng, assert_close, n, dtype):
    for size in (1e-20, 1.0, 1e18):  # squares out of the range of float32
        g = (size * rng.normal(0.3, 1.0, n)).astype(dtype)
        exact = math.sqrt(math.fsum(float(value) ** 2 for value in g))
        norm = run("l2_norm", g)
        assert type(norm) is float
        # at most 4 squares of a thread, 8 halvings each in both launches, 4 partial sums of a thread; the root halves
        assert_close(norm, exact, (24 / 2 + 1) * EPS / 2 * exact)


@pytest.mark.numba_cuda
@pytest.mark.parametrize("n", [2 * PER_BLOCK + 1, 5000, 9 * 256])
def test_norm_of_more_values_than_the_blocks_take_at_once(run, rng, assert_close, monkeypatch, n):
    monkeypatch.setattr(import_module("refplay.kernels.numba_cuda.reduce"), "MOST_BLOCKS", 2)
    g = rng.normal(0.3, 1.0, n).astype("f4")
    exact = math.sqrt(math.fsum(float(value) ** 2 for value in g))
    assert_close(run("l2_norm", g), exact, (n / 512 + 30) * EPS / 2 * exact)


@pytest.mark.parametrize("size", [5e-324, 1e-320, 1e-200, 1e160, 1e300])
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")  # the simulator computes with NumPy
def test_norm_keeps_to_the_range_of_float64_though_its_squares_do_not(run, rng, assert_close, size):
    g = size * rng.integers(1, 999, 1009)
    exact = math.hypot(*g)
    assert_close(run("l2_norm", g), exact, 30 * EPS * exact + 5e-324)
    assert run("l2_norm", 0 * g) == 0


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 999, 1299])
def test_norm_shows_what_is_not_finite(run, bad, place, dtype):
    g = np.ones(1300, dtype)
    g[place] = bad
    np.testing.assert_equal(run("l2_norm", g), abs(bad))


def test_norm_has_the_same_bits_at_every_call(run, rng):
    g = rng.normal(0.3, 1.0, 5000).astype("f4")
    assert len({run("l2_norm", g) for _ in range(3)}) == 1


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("a", "b"), [(0.0, 0.999), (-0.7, 1.3), (1.0, 0.0), (np.inf, 0.5), (np.nan, 0.0)])
@pytest.mark.parametrize("n", LENGTHS)
def test_scale_and_axpby_are_within_their_roundings(run, gpu, rng, assert_close, n, a, b, dtype):
    x, y = rng.normal(0.3, 1.0, n).astype(dtype), rng.normal(-0.2, 2.0, n).astype(dtype)
    scaled, mixed, same = x.copy(), y.copy(), gpu.asarray(x)
    run("scale", scaled, a)
    run("axpby", a, x, b, mixed)
    gpu.axpby(a, same, b, same)
    same = gpu.to_host(same)
    if not np.isfinite(a):
        np.testing.assert_array_equal(scaled, a * x)
        np.testing.assert_array_equal(mixed, a * x)
        return
    # In float32 the sum is a double, rounded once. In float64 the sums below are no more exact than the kernel.
    x64, y64 = x.astype("float64"), y.astype("float64")
    count = 1 if dtype == "float32" else 6
    u = np.finfo(dtype).eps / 2 + 4 * EPS * (dtype == "float32")
    assert_close(scaled, a * x64, u * abs(a * x64))
    assert_close(mixed, a * x64 + b * y64, count * u * (abs(a * x64) + abs(b * y64)))
    assert_close(same, a * x64 + b * x64, count * u * (abs(a) + abs(b)) * abs(x64))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dtype", DTYPES)
def test_extremes_come_out_as_from_the_reference(run, reference, dtype):
    info = np.finfo(dtype)
    special = [np.nan, np.inf, -np.inf, 0.0, 1.0, info.max, -info.max, info.tiny, info.smallest_subnormal]
    x = np.array([value for value in special for _ in special], dtype)
    y = np.array([value for _ in special for value in special], dtype)
    # No product overflows alone: a fused multiply-add has none to overflow, and max - inf is what inf - inf is not.
    for a, b in ((0.75, 0.5), (0.0, 1.0), (0.25, 0.25), (np.nan, 1.0)):
        actual, expected = y.copy(), y.copy()
        run("axpby", a, x, b, actual)
        with np.errstate(all="ignore"):
            reference.axpby(a, x, b, expected)
        np.testing.assert_allclose(actual, expected, rtol=2 * info.eps, atol=float(info.smallest_subnormal))


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_scale_keeps_nan_even_times_zero(run):
    g = np.array([np.nan, 1.0, np.inf], "float32")
    run("scale", g, 0.0)
    np.testing.assert_array_equal(g, [np.nan, 0, np.nan])


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
def test_norm_of_a_long_vector(run, rng, assert_close, dtype):
    g = rng.normal(0.3, 1.0, 2**25 + 3).astype(dtype)
    exact = math.sqrt(math.fsum((g.astype("float64") ** 2).tolist()))
    assert_close(run("l2_norm", g), exact, (2**25 / 2**18 + 30) * EPS / 2 * exact)

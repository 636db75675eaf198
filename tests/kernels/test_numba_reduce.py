import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refplay import kernels

NUMBA = kernels.load("numba")
drawn = settings(derandomize=True, deadline=None, max_examples=60)
dtypes = st.sampled_from(["float32", "float64"])
lengths = st.sampled_from([0, 1, 2, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 127, 1009, 40_001])


@drawn
@given(n=lengths, dtype=dtypes, size=st.sampled_from([1e-20, 1.0, 1e18]))
def test_norm_is_summed_in_float64(assert_close, n, dtype, size):
    g = (size * np.random.default_rng(n).normal(0.3, 1.0, n)).astype(dtype)  # squares out of the range of float32
    exact = math.sqrt(math.fsum(float(value) ** 2 for value in g))
    norm = NUMBA.l2_norm(g)
    assert type(norm) is float
    # the squares and their sum at most n roundings, of which the root halves the relative error, and its own
    assert_close(norm, exact, (n / 2 + 1) * np.finfo("float64").eps / 2 * exact)


@pytest.mark.parametrize("size", [1e-320, 1e-200, 1e160, 1e300])
def test_norm_keeps_to_the_range_of_float64_though_its_squares_do_not(assert_close, size):
    units = np.random.default_rng(5).integers(1, 999, 1009)
    g = size * units
    exact = math.hypot(*g)
    # each value over the largest, its square, the sum; where the values are denormal, that is all they have
    assert_close(NUMBA.l2_norm(g), exact, (1009 + 4) * np.finfo("float64").eps * exact)
    assert NUMBA.l2_norm(0 * g) == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, 40, 99])
def test_norm_shows_what_is_not_finite(bad, place):
    g = np.ones(100, "float32")
    g[place] = bad
    np.testing.assert_equal(NUMBA.l2_norm(g), abs(bad))


@drawn
@given(n=lengths, dtype=dtypes, a=st.sampled_from([0.0, -0.7, 1.0, np.inf]), b=st.sampled_from([0.0, 0.999, 1.3]))
def test_scale_and_axpby_are_within_their_roundings(reference, assert_close, n, dtype, a, b):
    rng = np.random.default_rng(n)
    x, y = rng.normal(0.3, 1.0, n).astype(dtype), rng.normal(-0.2, 2.0, n).astype(dtype)
    u, x64, y64 = np.finfo(dtype).eps / 2, x.astype("float64"), y.astype("float64")
    scaled, mixed, same = x.copy(), y.copy(), x.copy()
    NUMBA.scale(scaled, a)
    NUMBA.axpby(a, x, b, mixed)
    NUMBA.axpby(a, same, b, same)
    if np.isinf(a):
        np.testing.assert_array_equal(scaled, a * x)
        np.testing.assert_array_equal(mixed, a * x)
        return
    real = np.dtype(dtype).type
    np.testing.assert_array_equal(scaled, real(a) * x)  # one product: nothing may differ
    a64, b64 = float(real(a)), float(real(b))
    double = 1 if dtype == "float32" else 2  # the sums below are no more exact than the kernel in float64
    assert_close(mixed, a64 * x64 + b64 * y64, 3 * double * u * (abs(a64 * x64) + abs(b64 * y64)))
    assert_close(same, a64 * x64 + b64 * x64, 3 * double * u * (abs(a64) + abs(b64)) * abs(x64))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_extremes_come_out_as_from_the_reference(reference, dtype):
    info = np.finfo(dtype)
    special = [np.nan, np.inf, -np.inf, 0.0, 1.0, info.max, -info.max, info.tiny, info.smallest_subnormal]
    x = np.array([value for value in special for _ in special], dtype)
    y = np.array([value for _ in special for value in special], dtype)
    # No product overflows alone: a fused multiply-add has none to overflow, and max - inf is what inf - inf is not.
    for a, b in ((0.75, 0.5), (0.0, 1.0), (0.25, 0.25), (np.nan, 1.0)):
        actual, expected = y.copy(), y.copy()
        NUMBA.axpby(a, x, b, actual)
        with np.errstate(all="ignore"):
            reference.axpby(a, x, b, expected)
        np.testing.assert_allclose(actual, expected, rtol=2 * info.eps, atol=float(info.smallest_subnormal))

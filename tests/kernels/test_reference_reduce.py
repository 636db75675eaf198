from fractions import Fraction

import mpmath
import numpy as np
import pytest


@pytest.mark.parametrize("n", [1, 2, 7, 1000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_l2_norm_is_the_exact_one_rounded(reference, rng, assert_close, n, dtype):
    g = rng.normal(scale=3.0, size=n).astype(dtype)
    exact = sum(Fraction(float(v)) ** 2 for v in g)
    with mpmath.workdps(40):
        expected = float(mpmath.sqrt(mpmath.mpf(exact.numerator) / exact.denominator))
    norm = reference.l2_norm(g)
    assert type(norm) is float
    # Summed in float64 whatever the dtype: the bound does not know float32.
    assert_close(norm, expected, (n + 2) * np.finfo(np.float64).eps * expected)


def test_l2_norm_of_float32_does_not_overflow(reference, assert_close):
    assert_close(reference.l2_norm(np.array([3e30, 4e30], "float32")), 5e30, 2 * np.finfo("float32").eps * 5e30)


def test_l2_norm_of_nothing_and_of_nan(reference):
    assert reference.l2_norm(np.empty(0)) == 0
    assert np.isnan(reference.l2_norm(np.array([1.0, np.nan])))


def test_scale_and_axpby_of_integers(reference):
    g, x, y = np.array([1.0, -4.0, 0.5]), np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, -30.0])
    reference.scale(g, -2.0)
    np.testing.assert_array_equal(g, [-2, 8, -1])
    reference.axpby(3.0, x, 0.5, y)
    np.testing.assert_array_equal(y, [8, 16, -6])
    np.testing.assert_array_equal(x, [1, 2, 3])
    reference.axpby(3.0, y, 0.5, y)
    np.testing.assert_array_equal(y, [28, 56, -21])


def test_scale_keeps_nan_even_times_zero(reference):
    g = np.array([np.nan, 1.0], "float32")
    reference.scale(g, 0.0)
    assert np.isnan(g[0])
    assert g[1] == 0

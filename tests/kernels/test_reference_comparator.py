"""The comparator and the numerical gradient that the other tests trust."""

import numpy as np
import pytest


@pytest.mark.parametrize(
    ("actual", "expected"),
    [
        ([1.0, np.nan], [1.0, 2.0]),
        ([1.0, 2.0], [1.0, np.nan]),
        ([np.nan], [np.nan]),
        ([np.inf], [np.inf]),
        ([np.inf], [1.0]),
        ([1.0, 1.2], [1.0, 1.0]),
        ([[1.0, 1.0]], [1.0, 1.0]),
        ([1.0], 1.0),
    ],
)
def test_comparator_refuses(assert_close, actual, expected):
    with pytest.raises(AssertionError):
        assert_close(actual, expected, 0.1)


def test_comparator_refuses_nan_as_tolerance(assert_close):
    with pytest.raises(AssertionError):
        assert_close([1.0], [1.0], np.nan)


def test_comparator_accepts_up_to_the_tolerance(assert_close):
    assert_close([1.0, 1.5], [1.0, 1.0], 0.5)
    assert_close([1.0, 1.5], [1.0, 1.0], [0.0, 0.5])


def test_numerical_gradient_of_a_known_function(assert_close, gradient, numerical_tolerance):
    x = np.array([[0.3, -1.2], [0.7, 2.0]])
    slope = gradient(lambda: float(np.sin(x).sum()), x)
    assert_close(slope, np.cos(x), numerical_tolerance(np.abs(np.sin(x)).sum()))
    np.testing.assert_array_equal(x, [[0.3, -1.2], [0.7, 2.0]])

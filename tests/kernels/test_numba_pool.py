import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from refplay import kernels

NUMBA = kernels.load("numba")
drawn = settings(derandomize=True, deadline=None, max_examples=80)
images = st.tuples(st.integers(0, 3), st.integers(1, 8), st.integers(1, 8), st.integers(1, 19))
dtypes = st.sampled_from(["float32", "float64"])


def unit(dtype):
    """Half an eps: what one rounding costs. Twice in float64, where the reference is no more exact than the kernel."""
    return np.finfo(dtype).eps / (2 if dtype == "float32" else 1)


@drawn
@given(image=images, window=st.integers(1, 4), stride=st.integers(1, 4), dtype=dtypes, nans=st.booleans())
def test_max_pool_takes_the_maxima_that_the_reference_takes(
    reference, assert_close, image, window, stride, dtype, nans
):
    n, h, w, c = image
    assume(window <= min(h, w))
    rng = np.random.default_rng(h + 10 * w)
    x = rng.integers(-2, 3, image).astype(dtype)  # five values: most windows have several maxima
    if nans:
        x[rng.random(image) < 0.1] = np.nan
    dy = rng.normal(0.3, 1.0, (n, (h - window) // stride + 1, (w - window) // stride + 1, c)).astype(dtype)
    y, dx = np.empty_like(dy), np.full_like(x, np.nan)
    y_reference, dx64, magnitude = np.empty_like(dy), np.empty(image), np.empty(image)
    NUMBA.max_pool2d_forward(x, y, window, stride)
    reference.max_pool2d_forward(x, y_reference, window, stride)
    np.testing.assert_array_equal(y, y_reference)

    NUMBA.max_pool2d_backward(x, y, dy, dx, window, stride)
    x64, y64, dy64 = (a.astype("float64") for a in (x, y, dy))
    reference.max_pool2d_backward(x64, y64, dy64, dx64, window, stride)
    reference.max_pool2d_backward(x64, y64, abs(dy64), magnitude, window, stride)
    overlapping = (-(-window // stride)) ** 2
    assert_close(dx, dx64, overlapping * unit(dtype) * magnitude)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_a_gradient_that_is_not_finite_stays_at_its_maximum(reference, bad):
    x = np.array([1.0, 4.0, 4.0, 2.0]).reshape(1, 2, 2, 1)
    for backend in (NUMBA, reference):
        y, dx = np.full((1, 1, 1, 1), 4.0), np.full_like(x, 7.0)
        backend.max_pool2d_backward(x, y, np.full((1, 1, 1, 1), bad), dx, 2, 2)
        np.testing.assert_array_equal(dx.ravel(), [0, bad, 0, 0])


@drawn
@given(image=images, dtype=dtypes)
def test_global_average_is_summed_in_float64(reference, assert_close, image, dtype):
    n, h, w, c = image
    rng = np.random.default_rng(h + 10 * w)
    x, dy = rng.normal(3.0, 1.0, image).astype(dtype), rng.normal(0.3, 1.0, (n, c)).astype(dtype)
    y, dx, y64, dx64 = np.empty_like(dy), np.empty_like(x), np.empty((n, c)), np.empty(image)
    NUMBA.global_avg_pool_forward(x, y)
    NUMBA.global_avg_pool_backward(dy, dx)
    reference.global_avg_pool_forward(x.astype("float64"), y64)
    reference.global_avg_pool_backward(dy.astype("float64"), dx64)
    # In float32 one rounding at the end, whatever the length, besides those in float64.
    exact_sum = h * w * np.finfo("float64").eps
    assert_close(y, y64, (unit(dtype) + exact_sum) * abs(x.astype("float64")).sum(axis=(1, 2)) / (h * w))
    assert_close(dx, dx64, unit(dtype) * abs(dx64))

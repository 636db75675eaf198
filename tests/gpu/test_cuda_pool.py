"""Pooling against the reference: the same maxima, and means rounded once."""

import numpy as np
import pytest

DTYPES = ["float32", "float64"]
# images N, H, W, C; window, stride
POOLS = [
    ((1, 1, 1, 1), 1, 1),
    ((2, 5, 4, 3), 2, 2),
    ((2, 5, 6, 3), 3, 2),  # overlapping
    ((1, 7, 5, 2), 3, 1),
    ((2, 5, 6, 3), 2, 3),  # pixels between the windows
    ((1, 4, 4, 19), 4, 4),
    ((2, 3, 3, 131), 2, 1),  # more values of an image than threads of a block
    ((0, 3, 3, 2), 2, 1),
]


def unit(dtype):
    """Half an eps: what one rounding costs. Twice in float64, where the reference is no more exact than the kernel."""
    return np.finfo(dtype).eps / (2 if dtype == "float32" else 1)


@pytest.mark.parametrize("nans", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("images", "window", "stride"), POOLS)
def test_max_pool_takes_the_maxima_that_the_reference_takes(
    run, reference, rng, assert_close, images, window, stride, dtype, nans
):
    n, h, w, c = images
    x = rng.integers(-2, 3, images).astype(dtype)  # five values: most windows have several maxima
    if nans:
        x[rng.random(images) < 0.2] = np.nan
    dy = rng.normal(0.3, 1.0, (n, (h - window) // stride + 1, (w - window) // stride + 1, c)).astype(dtype)
    y, dx = np.full_like(dy, 7), np.full_like(x, np.nan)
    y_reference, dx64, magnitude = np.empty_like(dy), np.empty(images), np.empty(images)
    run("max_pool2d_forward", x, y, window, stride)
    reference.max_pool2d_forward(x, y_reference, window, stride)
    np.testing.assert_array_equal(y, y_reference)

    run("max_pool2d_backward", x, y, dy, dx, window, stride)
    x64, y64, dy64 = (a.astype("float64") for a in (x, y, dy))
    reference.max_pool2d_backward(x64, y64, dy64, dx64, window, stride)
    reference.max_pool2d_backward(x64, y64, abs(dy64), magnitude, window, stride)
    overlapping = (-(-window // stride)) ** 2
    assert_close(dx, dx64, overlapping * unit(dtype) * magnitude)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_a_gradient_that_is_not_finite_stays_at_its_maximum(run, bad):
    x = np.array([1.0, 4.0, 4.0, 2.0]).reshape(1, 2, 2, 1)
    y, dx = np.full((1, 1, 1, 1), 4.0), np.full_like(x, 7.0)
    run("max_pool2d_backward", x, y, np.full((1, 1, 1, 1), bad), dx, 2, 2)
    np.testing.assert_array_equal(dx.ravel(), [0, bad, 0, 0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "images", [(0, 2, 2, 3), (1, 1, 1, 1), (3, 2, 5, 31), (2, 7, 5, 33), (2, 1, 129, 2), (3, 16, 17, 1)]
)
def test_global_average_is_summed_in_float64(run, reference, rng, assert_close, images, dtype):
    n, h, w, c = images
    x, dy = rng.normal(3.0, 1.0, images).astype(dtype), rng.normal(0.3, 1.0, (n, c)).astype(dtype)
    y, dx, y64, dx64 = np.full_like(dy, np.nan), np.full_like(x, np.nan), np.empty((n, c)), np.empty(images)
    run("global_avg_pool_forward", x, y)
    run("global_avg_pool_backward", dy, dx)
    reference.global_avg_pool_forward(x.astype("float64"), y64)
    reference.global_avg_pool_backward(dy.astype("float64"), dx64)
    # In float32 one rounding at the end, whatever the length, besides those in float64.
    exact_sum = h * w * np.finfo("float64").eps
    assert_close(y, y64, (unit(dtype) + exact_sum) * abs(x.astype("float64")).sum(axis=(1, 2)) / (h * w))
    assert_close(dx, dx64, unit(dtype) * abs(dx64))

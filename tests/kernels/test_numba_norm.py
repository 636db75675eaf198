import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from refplay import kernels
from refplay.kernels.numba_cpu.norm import batch_norm_forward_calls
from refplay.kernels.numba_cpu.program import launch

NUMBA = kernels.load("numba")
drawn = settings(derandomize=True, deadline=None, max_examples=60)
dtypes = st.sampled_from(["float32", "float64"])
offsets = st.sampled_from([0.5, 300.0])  # far from zero, E[x^2] - E[x]^2 would have nothing left
epsilons = st.sampled_from([1e-5, 0.3])


def unit(dtype):
    """Half an eps: what one rounding costs. Twice in float64, where the reference is no more exact than the kernel."""
    return np.finfo(dtype).eps / (2 if dtype == "float32" else 1)


def sum_unit(dtype, terms):
    """What a sum of so many terms costs: it runs in float64 on both sides, whatever the dtype."""
    return terms * np.finfo("float64").eps


def draw(rng, shape, channels, offset, dtype):
    """Return x, gamma, beta, dy, none of them with a mean of zero or a scale of one."""
    x, dy = rng.normal(offset, 2.0, shape), rng.normal(0.5, 1.5, shape)
    return tuple(a.astype(dtype) for a in (x, rng.normal(1.5, 0.5, channels), rng.normal(-0.5, 0.5, channels), dy))


def check_forward(assert_close, axis, x, gamma, beta, epsilon, actual, expected):
    """Hold y, mean, var against those of the reference, with the first-order bound of what each rounding does.

    A mean is off by `d_mean`. The variance is off by its own sum, and by d_mean^2: to first order it does not depend on
    the mean that is taken out. Each moves y through (x - mean) / sigma. Beyond that y has 6 roundings of its own.
    """
    dtype, n = str(x.dtype), x.shape[axis]
    u, us = unit(dtype), sum_unit(dtype, n + 2)
    x64 = x.astype("float64")
    y, mean, var = expected
    wide_mean, wide_var = np.expand_dims(mean, axis), np.expand_dims(var, axis)
    mean_sum = us * abs(x64).mean(axis=axis)
    d_mean = mean_sum + u * abs(mean)
    d_var = us * var + mean_sum**2
    assert_close(actual[1], mean, d_mean)
    assert_close(actual[2], var, d_var + u * var)
    sigma = np.sqrt(wide_var + epsilon)
    relative = 6 * u + np.expand_dims(d_var + u * var, axis) / (2 * sigma**2)
    error = relative * abs(x64 - wide_mean) + np.expand_dims(d_mean, axis)
    assert_close(actual[0], y, abs(gamma.astype("float64")) / sigma * error + 2 * u * (abs(beta) + abs(y)))


def check_backward(assert_close, axis, outer, x, mean, dy, weight, sigma, actual, expected):
    """Hold dx, dgamma, dbeta against the reference; `weight` is gamma where it is inside of the sums, else 1.

    mean and var are given, so that nothing is lost before the sums. x_hat has 3 roundings, its products 2 more, the sum
    of three terms 2, the factors 3.
    """
    u, us = unit(str(x.dtype)), sum_unit(str(x.dtype), x.shape[axis] + 2)
    x64, dy64, wide = x.astype("float64"), abs(dy.astype("float64")), abs(np.expand_dims(mean, axis))
    # float32: x - mean is rounded before its product is summed, which costs |x - mean| one unit
    x_hat = abs(x64 - np.expand_dims(mean, axis)) / sigma
    assert x_hat.shape == x.shape
    assert wide.ndim == x.ndim
    slopes = weight * dy64
    terms = slopes + slopes.mean(axis=axis, keepdims=True)
    terms = terms + x_hat * (slopes * x_hat).mean(axis=axis, keepdims=True)
    dx, dgamma, dbeta = expected
    assert_close(actual[0], dx, (10 * u + us) * terms * outer / sigma)
    over = tuple(range(x.ndim - 1))
    many = sum_unit(str(x.dtype), x.size // x.shape[-1] + 4)
    assert_close(actual[1], dgamma, (4 * u + many) * (dy64 * x_hat).sum(axis=over))
    assert_close(actual[2], dbeta, (u + many) * dy64.sum(axis=over))


@drawn
@given(
    shape=st.tuples(st.integers(0, 4), st.integers(1, 17), st.integers(1, 19)), offset=offsets, epsilon=epsilons,
    dtype=dtypes,
)  # fmt: skip
@example(shape=(2, 4099, 3), offset=300.0, epsilon=1e-5, dtype="float32")  # a float32 sum would be 100 units off
@example(shape=(2, 701, 65), offset=300.0, epsilon=1e-5, dtype="float32")  # cut into blocks, the last one shorter
@example(shape=(3, 18, 1025), offset=0.5, epsilon=0.3, dtype="float32")  # rows of more than a page
def test_batch_norm_is_within_its_roundings(reference, assert_close, shape, offset, epsilon, dtype):
    g, _, c = shape
    x, gamma, beta, dy = draw(np.random.default_rng(7), shape, c, offset, dtype)
    exact = [a.astype("float64") for a in (x, gamma, beta, dy)]
    y, mean, var = np.empty_like(x), np.empty((g, c), dtype), np.empty((g, c), dtype)
    expected = np.empty(shape), np.empty((g, c)), np.empty((g, c))
    NUMBA.batch_norm_forward(x, gamma, beta, y, mean, var, epsilon)
    reference.batch_norm_forward(*exact[:3], *expected, epsilon)
    check_forward(assert_close, 1, x, gamma, beta, epsilon, (y, mean, var), expected)

    dx, dgamma, dbeta = np.full_like(x, np.nan), np.full_like(gamma, np.nan), np.full_like(beta, np.nan)
    slopes = np.empty(shape), np.empty(c), np.empty(c)
    mean64, var64 = mean.astype("float64"), var.astype("float64")
    NUMBA.batch_norm_backward(x, gamma, mean, var, dy, dx, dgamma, dbeta, epsilon)
    reference.batch_norm_backward(exact[0], exact[1], mean64, var64, exact[3], *slopes, epsilon)
    sigma = np.sqrt(var64[:, None] + epsilon)
    check_backward(assert_close, 1, abs(exact[1]), x, mean64, dy, 1.0, sigma, (dx, dgamma, dbeta), slopes)

    for i in range(g):  # with the statistics of the batch, evaluation is the same kernel as training
        again = x[i].copy()
        NUMBA.batch_norm_inference(again, gamma, beta, mean[i], var[i], again, epsilon)
        np.testing.assert_array_equal(again, y[i])


@drawn
@given(shape=st.tuples(st.integers(0, 6), st.integers(1, 70)), offset=offsets, epsilon=epsilons, dtype=dtypes)
@example(shape=(3, 4099), offset=300.0, epsilon=1e-5, dtype="float32")
@example(shape=(701, 65), offset=300.0, epsilon=1e-5, dtype="float32")  # more than one task
def test_layer_norm_is_within_its_roundings(reference, assert_close, shape, offset, epsilon, dtype):
    b, c = shape
    x, gamma, beta, dy = draw(np.random.default_rng(8), shape, c, offset, dtype)
    exact = [a.astype("float64") for a in (x, gamma, beta, dy)]
    y, mean, var = np.empty_like(x), np.empty(b, dtype), np.empty(b, dtype)
    expected = np.empty(shape), np.empty(b), np.empty(b)
    NUMBA.layer_norm_forward(x, gamma, beta, y, mean, var, epsilon)
    reference.layer_norm_forward(*exact[:3], *expected, epsilon)
    check_forward(assert_close, 1, x, gamma, beta, epsilon, (y, mean, var), expected)

    dx, dgamma, dbeta = np.full_like(x, np.nan), np.full_like(gamma, np.nan), np.full_like(beta, np.nan)
    slopes = np.empty(shape), np.empty(c), np.empty(c)
    mean64, var64 = mean.astype("float64"), var.astype("float64")
    NUMBA.layer_norm_backward(x, gamma, mean, var, dy, dx, dgamma, dbeta, epsilon)
    reference.layer_norm_backward(exact[0], exact[1], mean64, var64, exact[3], *slopes, epsilon)
    sigma = np.sqrt(var64[:, None] + epsilon)
    check_backward(assert_close, 1, 1.0, x, mean64, dy, abs(exact[1]), sigma, (dx, dgamma, dbeta), slopes)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_constant_input_has_variance_zero_and_a_nan_stays_in_its_group(dtype):
    x = np.full((2, 4, 3), 300.1, dtype)
    gamma, beta = np.full(3, 2.0, dtype), np.full(3, 0.5, dtype)
    y, mean, var = np.empty_like(x), np.empty((2, 3), dtype), np.empty((2, 3), dtype)
    NUMBA.batch_norm_forward(x, gamma, beta, y, mean, var, 1e-5)
    np.testing.assert_array_equal(var, 0)
    np.testing.assert_array_equal(y, 0.5)
    x[1, 2, 0] = np.nan
    NUMBA.batch_norm_forward(x, gamma, beta, y, mean, var, 1e-5)
    touched = np.zeros((2, 4, 3), bool)
    touched[1, :, 0] = True
    np.testing.assert_array_equal(np.isnan(y), touched)


@drawn
@given(shape=st.tuples(st.integers(0, 3), st.integers(1, 9), st.integers(1, 35)), floor=st.sampled_from([0.0, -0.4]))
def test_batch_norm_with_a_floor_is_batch_norm_then_a_maximum(shape, floor):
    x, gamma, beta, _ = draw(np.random.default_rng(9), shape, shape[2], 0.5, "float32")
    y, mean, var, same = np.empty_like(x), *np.empty((2, shape[0], shape[2]), "f4"), np.empty_like(x)
    x[..., 0] = np.nan
    NUMBA.batch_norm_forward(x, gamma, beta, y, mean, var, 0.01)
    launch(*batch_norm_forward_calls(x, gamma, beta, same, mean, var, 0.01, floor=floor))
    np.testing.assert_array_equal(same, np.maximum(y, np.float32(floor)))

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refplay import kernels

NUMBA = kernels.load("numba")
drawn = settings(derandomize=True, deadline=None, max_examples=80)


def unit(dtype):
    """Half an eps: what one rounding costs. Twice in float64, where the reference is no more exact than the kernel."""
    return np.finfo(dtype).eps / (2 if dtype == "float32" else 1)


@drawn
@given(
    batch=st.integers(0, 9), classes=st.integers(1, 30), size=st.sampled_from([0.1, 3.0, 200.0]),
    smoothing=st.sampled_from([0.0, 0.1, 1.0]), dtype=st.sampled_from(["float32", "float64"]),
    labels=st.sampled_from(["int64", "int32"]), with_dz=st.booleans(), seed=st.integers(0, 9),
)  # fmt: skip
def test_loss_is_computed_in_float64_and_rounded_once(
    reference, assert_close, batch, classes, size, smoothing, dtype, labels, with_dz, seed
):
    rng = np.random.default_rng(seed)
    z = rng.normal(0.5, size, (batch, classes)).astype(dtype)
    label = rng.integers(0, classes, batch).astype(labels)
    weights = rng.choice([0.0, 0.01, 1.7], batch).astype(dtype)
    loss, dz = np.full(batch, np.nan, dtype), np.full_like(z, np.nan)
    NUMBA.softmax_cross_entropy(z, label, weights, smoothing, loss, dz if with_dz else None)
    z64, w64, loss64, dz64 = z.astype("float64"), weights.astype("float64"), np.empty(batch), np.empty(z.shape)
    reference.softmax_cross_entropy(z64, label, w64, smoothing, loss64, dz64)

    # One rounding in the dtype at the end; before it, in float64, C terms of the sums, each with an exponential whose
    # relative error is the absolute one of its exponent.
    below = abs(z64 - z64.max(axis=1, keepdims=True))
    inside = (classes + 6) * np.finfo("float64").eps
    log_p_size = below.max(axis=1) + np.log(classes) + 1
    u, least = unit(dtype), np.finfo(dtype).smallest_subnormal
    assert_close(loss, loss64, least + u * abs(loss64) + inside * w64 * log_p_size)
    if with_dz:
        q = np.where(np.arange(classes) == label[:, None], 1 - smoothing, 0) + smoothing / classes
        p = dz64 / np.where(w64 > 0, w64, 1)[:, None] + q
        assert_close(dz, dz64, least + u * abs(dz64) + inside * w64[:, None] * (p * log_p_size[:, None] + q))
    else:
        assert np.isnan(dz).all()


@pytest.mark.parametrize("garbage", [3e38, -3e38, np.inf, np.nan])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weight_zero_gives_exactly_zero(dtype, garbage):
    z, labels = np.full((2, 3), garbage, dtype), np.array([1, 2])
    z[0] = [0.0, np.log(2), 0.0]
    loss, dz = np.full(2, np.nan, dtype), np.full((2, 3), np.nan, dtype)
    NUMBA.softmax_cross_entropy(z, labels, np.array([1, 0], dtype), 0.0, loss, dz)
    np.testing.assert_array_equal(loss[1], 0)
    np.testing.assert_array_equal(dz[1], 0)
    np.testing.assert_allclose(loss[0], np.log(2), rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_logit_that_is_not_finite_is_seen_in_loss_and_gradient(bad):
    z, loss, dz = np.array([[1.0, bad, 2.0], [1.0, 2.0, 3.0]]), np.empty(2), np.empty((2, 3))
    NUMBA.softmax_cross_entropy(z, np.array([0, 1]), np.ones(2), 0.1, loss, dz)
    np.testing.assert_array_equal(np.isnan(loss), [True, False])
    np.testing.assert_array_equal(np.isnan(dz).any(axis=1), [True, False])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_excluded_class_adds_nothing(dtype):
    """A logit of -inf, without smoothing: 0 log 0 counts as 0."""
    z = np.zeros((2, 40), dtype)
    z[0, 1:] = z[1, :38] = -np.inf
    loss, dz = np.empty(2, dtype), np.empty((2, 40), dtype)
    NUMBA.softmax_cross_entropy(z, np.array([0, 39]), np.ones(2, dtype), 0.0, loss, dz)
    np.testing.assert_allclose(loss, [0, np.log(2)], rtol=4 * np.finfo(dtype).eps)
    np.testing.assert_allclose(dz[:, -2:], [[0, 0], [0.5, -0.5]], rtol=4 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(dz[:, 1:-2], 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logits_as_large_as_they_get_do_not_overflow(dtype):
    largest = np.finfo(dtype).max  # the difference of two logits can be represented, the sum of all cannot
    z, loss, dz = np.array([[largest / 2, 0.0, -largest / 2]], dtype), np.empty(1, dtype), np.empty((1, 3), dtype)
    NUMBA.softmax_cross_entropy(z, np.array([0]), np.ones(1, dtype), 0.0, loss, dz)
    np.testing.assert_array_equal(loss, 0)
    np.testing.assert_array_equal(dz, 0)

import mpmath
import numpy as np
import pytest
import torch

SIZES = [(4, 3), (1, 10), (5, 2), (3, 1), (64, 33)]


def _inputs(rng, size, dtype="float64"):
    B, C = size
    z, weights = rng.normal(scale=3.0, size=(B, C)).astype(dtype), rng.uniform(0.2, 2.0, B).astype(dtype)
    return z, rng.integers(0, C, B), weights, np.empty(B, dtype), np.empty((B, C), dtype)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", SIZES)
def test_loss_is_that_of_pytorch(reference, rng, assert_close, size, dtype, smoothing):
    z, labels, weights, loss, dz = _inputs(rng, size, dtype)
    reference.softmax_cross_entropy(z, labels, weights, smoothing, loss, dz)
    tz = torch.tensor(z, dtype=torch.float64, requires_grad=True)
    each = torch.nn.functional.cross_entropy(tz, torch.tensor(labels), reduction="none", label_smoothing=smoothing)
    expected = each * torch.tensor(weights, dtype=torch.float64)
    expected.sum().backward()
    # C terms of a size up to the spread of the logits, each with a few roundings, in a sum of C.
    spread = np.ptp(z, axis=1) + np.log(size[1]) + 1
    roundings = (size[1] + 8) * np.finfo(dtype).eps
    assert_close(loss, expected.detach(), roundings * weights * spread)
    assert_close(dz, tz.grad, roundings * (weights * spread)[:, None])


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@pytest.mark.parametrize("size", SIZES[:4])
def test_loss_gradient_is_that_of_finite_differences(
    reference, rng, assert_close, gradient, numerical_tolerance, size, smoothing
):
    z, labels, weights, loss, dz = _inputs(rng, size)

    def total():
        reference.softmax_cross_entropy(z, labels, weights, smoothing, loss, None)
        return float(loss.sum())

    reference.softmax_cross_entropy(z, labels, weights, smoothing, loss, dz)
    assert_close(dz, gradient(total, z), numerical_tolerance(np.abs(loss).sum()))


def test_loss_in_closed_form(reference, assert_close):
    # Logits log(1, 2, 5), so p = (1, 2, 5) / 8; smoothing 0.3 puts 0.1 on each class and 0.7 more on the label.
    loss, dz = np.empty(1), np.empty((1, 3))
    reference.softmax_cross_entropy(np.log([[1.0, 2.0, 5.0]]), np.array([1]), np.array([2.0]), 0.3, loss, dz)
    with mpmath.workdps(30):
        p = [mpmath.mpf(k) / 8 for k in (1, 2, 5)]
        expected = -2 * (mpmath.log(p[0]) / 10 + mpmath.log(p[1]) * 8 / 10 + mpmath.log(p[2]) / 10)
    eps = np.finfo(np.float64).eps
    assert_close(loss, [float(expected)], 16 * eps * float(expected))
    assert_close(dz, [[2 * (1 / 8 - 0.1), 2 * (2 / 8 - 0.8), 2 * (5 / 8 - 0.1)]], 16 * eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weight_zero_gives_exactly_zero(reference, dtype):
    huge = np.finfo(dtype).max
    z = np.array([[1.0, 2.0], [huge, -huge], [-huge, huge], [np.nan, np.inf]], dtype)
    loss, dz = np.full(4, 7.0, dtype), np.full((4, 2), 7.0, dtype)
    weights = np.array([1, 0, 0, 0], dtype)
    with np.errstate(all="raise"):
        reference.softmax_cross_entropy(z, np.array([0, 1, 0, 1]), weights, 0.1, loss, dz)
    assert loss[0] > 1
    np.testing.assert_array_equal(loss[1:], 0)
    np.testing.assert_array_equal(dz[1:], 0)


def test_large_logits_do_not_overflow(reference):
    z = np.array([[1000.0, 0.0], [-1000.0, 0.0]], "float32")
    loss, dz = np.empty(2, "float32"), np.empty((2, 2), "float32")
    reference.softmax_cross_entropy(z, np.array([1, 0]), np.ones(2, "float32"), 0.0, loss, dz)
    np.testing.assert_array_equal(loss, [1000, 1000])
    np.testing.assert_array_equal(dz, [[1, -1], [-1, 1]])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_an_excluded_class_is_that_of_pytorch(reference, assert_close, smoothing):
    """A logit of -inf: probability 0, which adds nothing to the loss unless smoothing wants the class."""
    z = np.array([[1.0, -np.inf, 2.0], [-np.inf, 0.5, -np.inf]])
    labels, loss, dz = np.array([2, 1]), np.empty(2), np.empty((2, 3))
    reference.softmax_cross_entropy(z, labels, np.ones(2), smoothing, loss, dz)
    tz = torch.tensor(z, requires_grad=True)
    each = torch.nn.functional.cross_entropy(tz, torch.tensor(labels), reduction="none", label_smoothing=smoothing)
    np.testing.assert_array_equal(np.isfinite(loss), smoothing == 0)
    np.testing.assert_allclose(loss, each.detach(), rtol=1e-15)
    if smoothing == 0:
        each.sum().backward()
        assert_close(dz, tz.grad, 4 * np.finfo(float).eps)


def test_labels_of_32_bits_and_no_dz_give_the_same_loss(reference, rng):
    z, labels, weights, loss, dz = _inputs(rng, (4, 3))
    other = np.empty_like(loss)
    reference.softmax_cross_entropy(z, labels, weights, 0.1, loss, dz)
    reference.softmax_cross_entropy(z, labels.astype("int32"), weights, 0.1, other, None)
    np.testing.assert_array_equal(loss, other)


def test_nan_logits_give_a_nan_loss(reference):
    z, loss = np.array([[np.nan, 1.0]]), np.empty(1)
    reference.softmax_cross_entropy(z, np.array([1]), np.ones(1), 0.0, loss, None)
    assert np.isnan(loss[0])

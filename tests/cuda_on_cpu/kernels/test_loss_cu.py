"""loss.cu against numpy_ref in double: rows in registers and long ones, and what no formula says."""

import numpy as np
import pytest

DTYPES = ["float32", "float64"]
# classes, lanes (0: the kernel of long rows)
FORMS = [(1, 1), (3, 1), (10, 4), (20, 4), (31, 8), (260, 64), (1000, 128), (1, 0), (257, 0), (2500, 0)]


def run(launch, z, labels, weights, smoothing, loss, dz, lanes):
    B, C = z.shape
    of_labels = (labels, None) if labels.dtype == np.int64 else (None, labels)
    arguments = (z, *of_labels, weights, 1 - smoothing, smoothing / C, loss, dz)
    if lanes:
        launch(f"loss.softmax_cross_entropy_{z.dtype}", -(-B * lanes // 256), *arguments, B, C, lanes)
    else:
        launch(f"loss.softmax_cross_entropy_long_{z.dtype}", B, *arguments, C)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize(("classes", "lanes"), FORMS)
def test_loss_and_gradient(launch, shifted, reference, classes, lanes, offset, smoothing, dtype):
    rng, B = np.random.default_rng(classes), 3
    z = shifted(rng.normal(-300.0, 9.0, B * classes).astype(dtype), offset).reshape(B, classes)
    labels = rng.integers(0, classes, B).astype(["int32", "int64"][lanes % 3 % 2])
    weights = np.array([0.7, 0.0, 1.3], dtype)
    loss, dz = np.full(B, np.nan, dtype), shifted(np.full(z.size, np.nan, dtype), offset).reshape(z.shape)
    if dtype == "float64" and classes > 8 * lanes > 0:
        lanes *= 2
    run(launch, z, labels, weights, smoothing, loss, dz, lanes)
    exact, exact_dz = np.empty(B), np.empty(z.shape)
    reference.softmax_cross_entropy(z.astype(float), labels, weights.astype(float), smoothing, exact, exact_dz)
    u = np.finfo(dtype).eps / 2 if dtype == "float32" else 4 * np.finfo(float).eps
    s = z.max(1, keepdims=True) - z.astype(float)
    p = np.exp(-s) / np.exp(-s).sum(1, keepdims=True)
    # exp s: u |s| of the difference and 2 ulp (CUDA's programming guide); the same of their sum; quotient and product
    of_sum = 6 * u + u * (p * s).sum(1)
    assert (abs(dz - exact_dz) <= weights[:, None] * ((of_sum[:, None] + u * (8 + s)) * p + 3 * u)).all()
    q = (1 - smoothing) * (labels[:, None] == np.arange(classes)) + smoothing / classes
    many = classes * np.finfo(float).eps * (s.max(1) + 1)
    assert (abs(loss - exact) <= weights * (of_sum + many + u * (q * s).sum(1)) + 4 * u * exact).all()
    assert loss[1] == 0
    assert (dz[1] == 0).all()
    only_loss = np.full_like(loss, np.nan)
    run(launch, z, labels, weights, smoothing, only_loss, None, lanes)
    np.testing.assert_array_equal(only_loss, loss)


@pytest.mark.parametrize("lanes", [4, 0])
@pytest.mark.parametrize("garbage", [3e38, np.inf, -np.inf, np.nan])
def test_weight_zero_gives_zero_whatever_the_logits_hold(launch, garbage, lanes):
    z, loss, dz = np.full((2, 9), garbage, "f4"), np.full(2, np.nan, "f4"), np.full((2, 9), np.nan, "f4")
    z[1] = 0.5
    run(launch, z, np.array([3, 3]), np.array([0.0, 1.0], "f4"), 0.1, loss, dz, lanes)
    np.testing.assert_array_equal(loss[0], 0)
    np.testing.assert_array_equal(dz[0], 0)
    assert loss[1] == pytest.approx(np.log(9))


@pytest.mark.parametrize("lanes", [4, 0])
@pytest.mark.parametrize("kind", ["int32", "int64"])
def test_a_label_that_is_no_class_gives_nan_to_its_example_alone(launch, kind, lanes):
    z, loss, dz = np.zeros((4, 9), "f4"), np.zeros(4, "f4"), np.zeros((4, 9), "f4")
    labels = np.array([-1, 3, 9, 2**31 - 1], kind)
    run(launch, z, labels, np.ones(4, "f4"), 0.0, loss, dz, lanes)
    np.testing.assert_array_equal(np.isnan(loss), [True, False, True, True])
    np.testing.assert_array_equal(np.isnan(dz).all(1), [True, False, True, True])


@pytest.mark.parametrize("lanes", [128, 0])
def test_logits_of_minus_infinity_have_no_probability(launch, lanes):
    z, loss, dz = np.full((1, 700), -np.inf, "f4"), np.zeros(1, "f4"), np.zeros((1, 700), "f4")
    z[0, 600:602] = 1.0  # whole threads see nothing but -inf
    run(launch, z, np.array([600]), np.ones(1, "f4"), 0.0, loss, dz, lanes)
    np.testing.assert_array_equal(dz[0, 599:603], [0, -0.5, 0.5, 0])
    assert (np.delete(dz[0], [600, 601]) == 0).all()


def test_a_small_loss_keeps_its_digits(launch):
    z, loss = np.array([[20.0, 0.0]], "f4"), np.zeros(1, "f4")
    run(launch, z, np.array([0]), np.ones(1, "f4"), 0.0, loss, None, 1)
    assert loss[0] == pytest.approx(np.log1p(np.exp(-20.0)), rel=1e-6)

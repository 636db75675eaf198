"""Softmax cross entropy on the GPU against the reference in float64, and what no formula of it says."""

import numpy as np
import pytest

DTYPES = ["float32", "float64"]


def unit(dtype):
    """What a rounding costs; twice in float64, where the reference is no more exact than the kernel."""
    return np.finfo(dtype).eps / (2 if dtype == "float32" else 1)


# (batch, classes, size of the logits): a row has 8 threads up to 64 classes, 32 up to 2048, else 256.
CASES = [
    (0, 3, 1.0), (1, 1, 1.0), (3, 2, 200.0), (33, 10, 3.0), (5, 31, 0.1), (9, 64, 3.0), (9, 65, 3.0), (2, 1025, 3.0),
    (1, 2100, 9.0),
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize(("batch", "classes", "size"), CASES)
def test_loss_and_gradient_are_within_their_roundings(
    run, reference, assert_close, rng, batch, classes, size, smoothing, dtype
):
    """Everything in the dtype of z. The exponent s <= 0 has one rounding of |s|; exp is within 2 ulp (CUDA's
    programming guide; 1 in float64), and their sum passes through 10 additions and those of a thread, log within 1 ulp,
    and 6 more roundings.
    """
    z = rng.normal(0.5, size, (batch, classes)).astype(dtype)
    label = rng.integers(0, classes, batch).astype(["int32", "int64"][batch % 2])
    weights = rng.choice([0.0, 0.01, 1.7], batch).astype(dtype)
    loss, dz = np.full(batch, np.nan, dtype), np.full_like(z, np.nan)
    run("softmax_cross_entropy", z, label, weights, smoothing, loss, dz)
    z64, w64, loss64, dz64 = z.astype("float64"), weights.astype("float64"), np.empty(batch), np.empty(z.shape)
    reference.softmax_cross_entropy(z64, label, w64, smoothing, loss64, dz64)

    u, of_thread = unit(dtype), classes / (8 if classes <= 64 else 32 if classes <= 2048 else 256)
    s = abs(z64 - z64.max(axis=1, keepdims=True))
    p = np.exp(-s)
    p /= p.sum(axis=1, keepdims=True)
    q = np.where(np.arange(classes) == label[:, None], 1 - smoothing, 0) + smoothing / classes
    of_sum = (4 + 2 + 10 + of_thread) * u + u * (p * s).sum(axis=1)  # relative, of the sum of exponentials
    of_sum += classes * np.finfo("float64").eps  # of the reference, which sums one by one
    top = s.max(axis=1) + np.log(classes) + 1
    terms = (q * s).sum(axis=1)
    least = np.finfo(dtype).smallest_subnormal
    assert_close(loss, loss64, least + w64 * (of_sum + u * (16 + of_thread) * terms + 6 * u * np.log(classes)) +
                 2 * u * abs(loss64) + classes * np.finfo("float64").eps * w64 * top)  # fmt: skip
    each = (of_sum[:, None] + u * (6 + s)) * p
    assert_close(dz, dz64, least + w64[:, None] * (each + 3 * u * q) + 2 * u * abs(dz64))

    only_loss, untouched = np.full_like(loss, np.nan), z.copy()
    run("softmax_cross_entropy", untouched, label, weights, smoothing, only_loss, None)
    np.testing.assert_array_equal(only_loss, loss)
    np.testing.assert_array_equal(untouched, z)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the simulator computes with NumPy
@pytest.mark.parametrize("garbage", [3e38, -3e38, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("dtype", DTYPES)
def test_weight_zero_gives_exactly_zero(run, dtype, garbage):
    z, labels = np.full((2, 3), garbage, dtype), np.array([1, 2])
    z[0] = [0.0, np.log(2), 0.0]
    loss, dz = np.full(2, np.nan, dtype), np.full((2, 3), np.nan, dtype)
    run("softmax_cross_entropy", z, labels, np.array([1, 0], dtype), 0.0, loss, dz)
    np.testing.assert_array_equal(loss[1], 0)
    np.testing.assert_array_equal(dz[1], 0)
    np.testing.assert_allclose(loss[0], np.log(2), rtol=4 * np.finfo(dtype).eps)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("place", [0, 1, 9])
def test_a_logit_that_is_not_finite_is_seen_in_loss_and_gradient(run, bad, place):
    z, loss, dz = np.ones((2, 10)), np.empty(2), np.empty((2, 10))
    z[0, place] = bad
    run("softmax_cross_entropy", z, np.array([1, 1]), np.ones(2), 0.1, loss, dz)
    np.testing.assert_array_equal(np.isnan(loss), [True, False])
    np.testing.assert_array_equal(np.isnan(dz), [[True] * 10, [False] * 10])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("classes", [3, 40, 5000])  # two of them wider than a thread, than a block of CUDA C++
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_excluded_class_adds_nothing(run, dtype, classes):
    """A logit of -inf, without smoothing: 0 log 0 counts as 0, as in PyTorch."""
    z, labels = np.zeros((2, classes), dtype), np.array([0, classes - 1])
    z[0, 1:] = z[1, : classes - 2] = -np.inf
    loss, dz = np.empty(2, dtype), np.empty((2, classes), dtype)
    run("softmax_cross_entropy", z, labels, np.ones(2, dtype), 0.0, loss, dz)
    np.testing.assert_allclose(loss, [0, np.log(2)], rtol=4 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(dz[0], 0)
    np.testing.assert_allclose(dz[1, -2:], [0.5, -0.5], rtol=4 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(dz[1, :-2], 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_logits_as_large_as_they_get_do_not_overflow(run, dtype):
    largest = np.finfo(dtype).max  # the difference of two logits can be represented, the sum of all cannot
    z, loss, dz = np.array([[largest / 2, 0.0, -largest / 2]], dtype), np.empty(1, dtype), np.empty((1, 3), dtype)
    run("softmax_cross_entropy", z, np.array([0]), np.ones(1, dtype), 0.0, loss, dz)
    np.testing.assert_array_equal(loss, 0)
    np.testing.assert_array_equal(dz, 0)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_a_label_that_is_no_class_gives_nan_to_its_example_alone(run, dtype, weight):
    """The CPU backends raise; a GPU cannot, and the host would have to wait for it. Nothing is read outside of z."""
    labels = np.array([2, -1, 3, 0, np.iinfo(dtype).min, np.iinfo(dtype).max], dtype)
    wrong = np.array([False, True, True, False, True, True])
    z, weights = np.arange(18.0).reshape(6, 3), np.full(6, weight)
    loss, dz = np.empty(6), np.empty((6, 3))
    run("softmax_cross_entropy", z, labels, weights, 0.1, loss, dz)
    np.testing.assert_array_equal(np.isnan(loss), wrong)
    np.testing.assert_array_equal(np.isnan(dz), np.repeat(wrong[:, None], 3, axis=1))


@pytest.mark.gpu
@pytest.mark.parametrize("shape", [(2**20 + 1, 10), (1000, 50_257), (3, 2**20)], ids=str)
def test_large_shapes(run, reference, assert_close, rng, shape):
    z, labels = rng.normal(0.5, 3.0, shape), rng.integers(0, shape[1], shape[0])
    out, expected = (np.empty(shape[0]), np.empty(shape)), (np.empty(shape[0]), np.empty(shape))
    run("softmax_cross_entropy", z, labels, np.full(shape[0], 0.3), 0.1, *out)
    reference.softmax_cross_entropy(z, labels, np.full(shape[0], 0.3), 0.1, *expected)
    eps = np.finfo("float64").eps
    assert_close(out[0], expected[0], eps * shape[1] * 40)
    assert_close(out[1], expected[1], eps * (shape[1] * abs(expected[1]) + 4))

import numpy as np
import pytest
import torch

EPSILON = 0.01  # large enough to show where it stands
# Finite differences use an epsilon of 1: derivatives grow like 1 / sqrt(var + epsilon) with their order, and a small
# one would need a tolerance made to measure where two values happen to lie close together.
BATCHES = [(1, 8, 3), (3, 4, 2), (2, 1, 5), (4, 7, 1)]  # G, M, C
LAYERS = [(3, 5), (1, 8), (4, 1), (6, 2)]  # B, C


def _inputs(rng, shape, channels, dtype="float64"):
    """Return x, gamma, beta, dy, none of them with a mean of zero or a scale of one."""
    x, dy = rng.normal(3.0, 2.0, shape), rng.normal(0.5, 1.5, shape)
    return tuple(a.astype(dtype) for a in (x, rng.normal(1.5, 0.5, channels), rng.normal(-0.5, 0.5, channels), dy))


def _run(forward, backward, x, gamma, beta, dy, statistics, epsilon=EPSILON):
    y, dx, (mean, var) = np.empty_like(x), np.empty_like(x), (np.empty(statistics, x.dtype) for _ in range(2))
    dgamma, dbeta = np.empty_like(gamma), np.empty_like(beta)
    forward(x, gamma, beta, y, mean, var, epsilon)
    backward(x, gamma, mean, var, dy, dx, dgamma, dbeta, epsilon)
    return y, mean, var, dx, dgamma, dbeta


def test_batch_norm_of_integers(reference):
    # mean 2, variance 8, sqrt(8 + 1) = 3 in the first ghost batch; mean 10, variance 0 in the second.
    x = np.array([[[2.0], [6.0], [-2.0], [2.0]], [[10.0]] * 4])
    y, mean, var = np.empty_like(x), np.empty((2, 1)), np.empty((2, 1))
    reference.batch_norm_forward(x, np.array([6.0]), np.array([1.0]), y, mean, var, 1.0)
    np.testing.assert_array_equal(mean, [[2], [10]])
    np.testing.assert_array_equal(var, [[8], [0]])
    np.testing.assert_array_equal(y[:, :, 0], [[1, 9, -7, 1], [1, 1, 1, 1]])


def test_layer_norm_of_integers(reference):
    x, y, mean, var = np.array([[2.0, 6.0, -2.0, 2.0]]), np.empty((1, 4)), np.empty(1), np.empty(1)
    gamma, beta = np.array([6.0, 3.0, 6.0, 3.0]), np.array([1.0, 1.0, 0.0, 0.0])
    reference.layer_norm_forward(x, gamma, beta, y, mean, var, 1.0)
    np.testing.assert_array_equal(y, [[1, 5, -8, 0]])
    assert (mean[0], var[0]) == (2, 8)


@pytest.mark.parametrize("shape", BATCHES)
def test_batch_norm_gradients_are_those_of_finite_differences(
    reference, rng, assert_close, gradient, numerical_tolerance, shape
):
    x, gamma, beta, dy = _inputs(rng, shape, shape[2])
    statistics = shape[0], shape[2]
    _, mean, var, *slopes = _run(
        reference.batch_norm_forward, reference.batch_norm_backward, x, gamma, beta, dy, statistics, 1.0
    )
    y = np.empty_like(x)

    def loss():
        reference.batch_norm_forward(x, gamma, beta, y, mean, var, 1.0)
        return float((dy * y).sum())

    loss()
    tolerance = numerical_tolerance(np.abs(dy * y).sum())
    for value, slope in zip((x, gamma, beta), slopes, strict=True):
        assert_close(slope, gradient(loss, value), tolerance)


@pytest.mark.parametrize("shape", LAYERS)
def test_layer_norm_gradients_are_those_of_finite_differences(
    reference, rng, assert_close, gradient, numerical_tolerance, shape
):
    x, gamma, beta, dy = _inputs(rng, shape, shape[1])
    _, mean, var, *slopes = _run(
        reference.layer_norm_forward, reference.layer_norm_backward, x, gamma, beta, dy, shape[0], 1.0
    )
    y = np.empty_like(x)

    def loss():
        reference.layer_norm_forward(x, gamma, beta, y, mean, var, 1.0)
        return float((dy * y).sum())

    loss()
    tolerance = numerical_tolerance(np.abs(dy * y).sum())
    for value, slope in zip((x, gamma, beta), slopes, strict=True):
        assert_close(slope, gradient(loss, value), tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [*BATCHES, (2, 300, 3)])
def test_batch_norm_is_that_of_pytorch_in_each_ghost_batch(reference, rng, assert_close, shape, dtype):
    G, M, C = shape
    x, gamma, beta, dy = _inputs(rng, shape, C, dtype)
    got = _run(reference.batch_norm_forward, reference.batch_norm_backward, x, gamma, beta, dy, (G, C))

    tx, tg, tb, tdy = (torch.tensor(a, dtype=torch.float64) for a in (x, gamma, beta, dy))
    for leaf in (tx, tg, tb):
        leaf.requires_grad_()
    # PyTorch refuses a single value per channel in training, where the result is beta: the ghost batch of 1.
    ty = torch.stack(
        [
            torch.nn.functional.batch_norm(ghost, None, None, tg, tb, training=True, eps=EPSILON)
            if M > 1
            else (ghost - ghost.mean(0)) * tg + tb
            for ghost in tx
        ]
    )
    ty.backward(tdy)
    expected = ty, tx.mean(1), tx.var(1, correction=0), tx.grad, tg.grad, tb.grad
    _compare(assert_close, dtype, M, G * M, x, gamma, dy, got, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [*LAYERS, (5, 300)])
def test_layer_norm_is_that_of_pytorch(reference, rng, assert_close, shape, dtype):
    B, C = shape
    x, gamma, beta, dy = _inputs(rng, shape, C, dtype)
    got = _run(reference.layer_norm_forward, reference.layer_norm_backward, x, gamma, beta, dy, B)

    tx, tg, tb, tdy = (torch.tensor(a, dtype=torch.float64) for a in (x, gamma, beta, dy))
    for leaf in (tx, tg, tb):
        leaf.requires_grad_()
    ty = torch.nn.functional.layer_norm(tx, (C,), tg, tb, EPSILON)
    ty.backward(tdy)
    expected = ty, tx.mean(1), tx.var(1, correction=0), tx.grad, tg.grad, tb.grad
    _compare(assert_close, dtype, C, B, x, gamma, dy, got, expected)


def _compare(assert_close, dtype, length, examples, x, gamma, dy, got, expected):
    """Compare y, mean, var, dx, dgamma, dbeta within bounds that follow from the sums' lengths.

    The mean errs by `length` roundings of max |x|, so x_hat by that over the smallest sigma, relative to its size.
    """
    y, mean, var, dx, dgamma, dbeta = (e.detach().numpy() for e in expected)
    eps = np.finfo(dtype).eps
    roundings = (length + 8) * eps if dtype == "float64" else 8 * eps  # sums run in float64 in any case
    size = np.abs(x).max() / np.sqrt(var + EPSILON).min() + 2  # of x_hat before it was centred
    most, scale = np.abs(dy).max(), np.abs(gamma).max()
    assert_close(got[0], y, roundings * (scale * size + np.abs(y).max()))
    assert_close(got[1], mean, roundings * np.abs(x).max())
    assert_close(got[2], var, roundings * 2 * np.abs(x).max() ** 2)
    x_hat = np.sqrt(length)  # no normalized value is larger
    slope = 1 / np.sqrt(var + EPSILON).min()
    assert_close(got[3], dx, roundings * 4 * size * x_hat * scale * most * slope)
    assert_close(got[4], dgamma, (roundings * size + examples * eps * x_hat) * examples * most)
    assert_close(got[5], dbeta, (examples + 1) * eps * examples * most)


def test_batch_norm_inference_is_that_of_pytorch_in_evaluation(reference, rng, assert_close):
    x, gamma, beta, _ = _inputs(rng, (6, 3), 3)
    mean, var, y = rng.normal(2.0, 1.0, 3), rng.uniform(0.5, 2.0, 3), np.empty_like(x)
    reference.batch_norm_inference(x, gamma, beta, mean, var, y, EPSILON)
    tx, tg, tb, tm, tv = (torch.tensor(a) for a in (x, gamma, beta, mean, var))
    expected = torch.nn.functional.batch_norm(tx, tm, tv, tg, tb, training=False, eps=EPSILON)
    size = np.abs(gamma) * (np.abs(x) + np.abs(mean)) / np.sqrt(var) + np.abs(beta)
    assert_close(y, expected, 8 * np.finfo(np.float64).eps * size)
    reference.batch_norm_inference(x, gamma, beta, mean, var, x, EPSILON)
    np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_variance_does_not_cancel(reference, assert_close, norm):
    # Around 4096, E[x^2] - E[x]^2 in float32 would round to a multiple of 2: the spacing of numbers near 2**24.
    row = np.array([4095.75, 4096.25, 4095.75, 4096.25], dtype="float32")
    mean, var = np.empty((1, 1), "float32"), np.empty((1, 1), "float32")
    if norm == "batch":
        x, one, zero = row.reshape(1, 4, 1), np.ones(1, "float32"), np.zeros(1, "float32")
        reference.batch_norm_forward(x, one, zero, np.empty_like(x), mean, var, 1e-5)
    else:
        x, one, zero = row.reshape(1, 4), np.ones(4, "float32"), np.zeros(4, "float32")
        reference.layer_norm_forward(x, one, zero, np.empty_like(x), mean[0], var[0], 1e-5)
    assert (mean.item(), var.item()) == (4096.0, 0.0625)

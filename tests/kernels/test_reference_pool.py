import numpy as np
import pytest
import torch

# N, H, W, C, window, stride
CASES = {
    "tiles": (2, 4, 6, 3, 2, 2),
    "remainder": (1, 5, 7, 2, 2, 2),
    "overlap": (2, 6, 5, 2, 3, 1),
    "overlap with a stride": (1, 7, 7, 1, 3, 2),
    "gaps": (1, 7, 5, 2, 2, 3),
    "window of one": (1, 3, 2, 2, 1, 1),
    "window of the image": (3, 3, 3, 1, 3, 1),
}


def _shapes(case):
    N, H, W, C, window, stride = case
    return (N, H, W, C), (N, (H - window) // stride + 1, (W - window) // stride + 1, C), window, stride


def test_max_pool_of_integers(reference):
    x = np.array([[1.0, 5.0, 5.0], [2.0, 5.0, 0.0], [9.0, -1.0, 3.0]]).reshape(1, 3, 3, 1)
    y, dx = np.empty((1, 2, 2, 1)), np.empty_like(x)
    reference.max_pool2d_forward(x, y, 2, 1)
    np.testing.assert_array_equal(y[0, :, :, 0], [[5, 5], [9, 5]])
    dy = np.array([[1.0, 10.0], [100.0, 1000.0]]).reshape(1, 2, 2, 1)
    reference.max_pool2d_backward(x, y, dy, dx, 2, 1)
    # The 5 in the middle of the top row is the first maximum of the two upper windows, the one below it of the last.
    np.testing.assert_array_equal(dx[0, :, :, 0], [[0, 11, 0], [0, 1000, 0], [100, 0, 0]])


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_max_pool_is_that_of_pytorch(reference, rng, assert_close, dtype, case, ties):
    x_shape, y_shape, window, stride = _shapes(case)
    x = (rng.integers(0, 3, x_shape) if ties else rng.normal(size=x_shape)).astype(dtype)
    dy = rng.normal(size=y_shape).astype(dtype)
    y, dx = np.empty(y_shape, dtype), np.full(x_shape, 7.0, dtype)
    reference.max_pool2d_forward(x, y, window, stride)
    reference.max_pool2d_backward(x, y, dy, dx, window, stride)

    nchw = torch.tensor(x, dtype=torch.float64).permute(0, 3, 1, 2).requires_grad_()
    ty = torch.nn.functional.max_pool2d(nchw, window, stride)
    ty.backward(torch.tensor(dy, dtype=torch.float64).permute(0, 3, 1, 2))
    np.testing.assert_array_equal(y, ty.detach().permute(0, 2, 3, 1))  # a maximum is not rounded
    # A pixel lies in at most window^2 windows and sums at most so many gradients.
    tolerance = window**2 * np.finfo(dtype).eps * window**2 * np.abs(dy).max()
    assert_close(dx, nchw.grad.permute(0, 2, 3, 1), tolerance)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_max_pool_gradient_is_that_of_finite_differences(
    reference, rng, assert_close, gradient, numerical_tolerance, case
):
    x_shape, y_shape, window, stride = _shapes(case)
    # All pixels differ by at least 0.1, far more than the step of the differences: no maximum changes its place.
    x = rng.permutation(0.1 * np.arange(np.prod(x_shape))).reshape(x_shape)
    dy, y, dx = rng.normal(size=y_shape), np.empty(y_shape), np.empty(x_shape)

    def loss():
        reference.max_pool2d_forward(x, y, window, stride)
        return float((dy * y).sum())

    loss()
    tolerance = numerical_tolerance(np.abs(dy * y).sum())
    reference.max_pool2d_backward(x, y, dy, dx, window, stride)
    assert_close(dx, gradient(loss, x), tolerance)


def test_max_pool_lets_nan_through(reference):
    x, y = np.array([1.0, np.nan, 3.0, 2.0]).reshape(1, 2, 2, 1), np.empty((1, 1, 1, 1))
    reference.max_pool2d_forward(x, y, 2, 2)
    assert np.isnan(y).all()


def test_global_avg_pool_of_integers(reference):
    x, y, dx = np.arange(12.0).reshape(1, 3, 2, 2), np.empty((1, 2)), np.empty((1, 3, 2, 2))
    reference.global_avg_pool_forward(x, y)
    np.testing.assert_array_equal(y, [[5, 6]])
    reference.global_avg_pool_backward(np.array([[6.0, -12.0]]), dx)
    np.testing.assert_array_equal(dx, np.broadcast_to([1.0, -2.0], dx.shape))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (1, 1, 1, 1), (3, 7, 1, 2)])
def test_global_avg_pool_is_that_of_pytorch(reference, rng, assert_close, dtype, shape):
    n, h, w, c = shape
    x, dy = rng.normal(2.0, size=shape).astype(dtype), rng.normal(size=(n, c)).astype(dtype)
    y, dx = np.empty((n, c), dtype), np.empty(shape, dtype)
    reference.global_avg_pool_forward(x, y)
    reference.global_avg_pool_backward(dy, dx)
    tx = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    ty = tx.mean(dim=(1, 2))
    ty.backward(torch.tensor(dy, dtype=torch.float64))
    eps = np.finfo(dtype).eps
    assert_close(y, ty.detach(), (h * w + 1) * eps * np.abs(x).mean(axis=(1, 2), dtype=np.float64))
    assert_close(dx, tx.grad, 2 * eps * np.abs(dx))


def test_global_avg_pool_gradient_is_that_of_finite_differences(
    reference, rng, assert_close, gradient, numerical_tolerance
):
    x, dy, y, dx = rng.normal(size=(2, 3, 2, 2)), rng.normal(size=(2, 2)), np.empty((2, 2)), np.empty((2, 3, 2, 2))

    def loss():
        reference.global_avg_pool_forward(x, y)
        return float((dy * y).sum())

    reference.global_avg_pool_backward(dy, dx)
    loss()
    assert_close(dx, gradient(loss, x), numerical_tolerance(np.abs(dy * y).sum()))

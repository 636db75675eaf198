import numpy as np
import pytest
import torch

# N, H, W, C, R, S, K, stride, padding
CASES = {
    "same": (2, 5, 5, 2, 3, 3, 3, 1, 1),
    "valid": (1, 4, 5, 1, 3, 2, 2, 1, 0),
    "one by one": (3, 3, 2, 4, 1, 1, 2, 1, 0),
    "stride with a remainder": (2, 6, 7, 2, 3, 3, 2, 2, 0),
    "stride and padding": (1, 7, 4, 2, 3, 3, 2, 2, 1),
    "stride beyond the filter": (1, 8, 7, 1, 2, 1, 2, 3, 0),
    "padding beyond the filter": (1, 2, 3, 2, 2, 1, 1, 1, 3),
    "filter of the padded image": (2, 3, 1, 1, 5, 3, 2, 1, 1),
}


def _shapes(case):
    N, H, W, C, R, S, K, stride, padding = case
    oh, ow = (H + 2 * padding - R) // stride + 1, (W + 2 * padding - S) // stride + 1
    return (N, H, W, C), (R, S, C, K), (K,), (N, oh, ow, K), stride, padding


def test_conv_of_integers(reference):
    # Not symmetric, so that a flipped filter (a true convolution) would show.
    x = np.arange(1.0, 10.0).reshape(1, 3, 3, 1)
    w = np.array([[1.0, 2.0], [0.0, -1.0]]).reshape(2, 2, 1, 1)
    y, b = np.empty((1, 2, 2, 1)), np.array([10.0])
    reference.conv2d_forward(x, w, b, y, 1, 0)
    np.testing.assert_array_equal(y[0, :, :, 0], [[10, 12], [16, 18]])

    dy = np.array([[1.0, 0.0], [2.0, -1.0]]).reshape(1, 2, 2, 1)
    dx, dw, db = np.empty_like(x), np.empty_like(w), np.empty(1)
    reference.conv2d_backward(x, w, dy, dx, dw, db, 1, 0)
    np.testing.assert_array_equal(dx[0, :, :, 0], [[1, 2, 0], [2, 2, -2], [0, -2, 1]])
    np.testing.assert_array_equal(dw[:, :, 0, 0], [[4, 6], [10, 12]])
    np.testing.assert_array_equal(db, [2])


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_conv_gradients_are_those_of_finite_differences(
    reference, rng, assert_close, gradient, numerical_tolerance, case
):
    x_shape, w_shape, b_shape, y_shape, stride, padding = _shapes(case)
    x, w, b, dy = (rng.normal(size=s) for s in (x_shape, w_shape, b_shape, y_shape))
    y, dx, dw, db = (np.empty(s) for s in (y_shape, x_shape, w_shape, b_shape))

    def loss():
        reference.conv2d_forward(x, w, b, y, stride, padding)
        return float((dy * y).sum())

    loss()
    tolerance = numerical_tolerance(np.abs(dy * y).sum())
    reference.conv2d_backward(x, w, dy, dx, dw, db, stride, padding)
    for value, slope in ((x, dx), (w, dw), (b, db)):
        assert_close(slope, gradient(loss, value), tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_conv_is_that_of_pytorch(reference, rng, assert_close, dtype, case):
    x_shape, w_shape, b_shape, y_shape, stride, padding = _shapes(case)
    x, w, b, dy = (rng.normal(size=s).astype(dtype) for s in (x_shape, w_shape, b_shape, y_shape))
    y, dx, dw, db = (np.empty(s, dtype) for s in (y_shape, x_shape, w_shape, b_shape))
    reference.conv2d_forward(x, w, b, y, stride, padding)
    reference.conv2d_backward(x, w, dy, dx, dw, db, stride, padding)

    expected = _pytorch(x, w, b, dy, stride, padding)
    # The same sums over absolute values are what n eps is multiplied with; twice, for PyTorch's own rounding.
    magnitude = _pytorch(*map(np.abs, (x, w, b, dy)), stride, padding)
    (n, oh, ow, k), (r, s, c, _) = y_shape, w_shape
    lengths = r * s * c + 1, r * s * k, n * oh * ow, n * oh * ow
    for got, value, sizes, length in zip((y, dx, dw, db), expected, magnitude, lengths, strict=True):
        assert_close(got, value, 2 * length * np.finfo(dtype).eps * sizes)


def _pytorch(x, w, b, dy, stride, padding):
    """Return y, dx, dw, db in float64, in the layouts of refplay."""
    x, w, b, dy = (torch.tensor(a, dtype=torch.float64) for a in (x, w, b, dy))
    nchw, kcrs = (a.contiguous().requires_grad_() for a in (x.permute(0, 3, 1, 2), w.permute(3, 2, 0, 1)))
    y = torch.nn.functional.conv2d(nchw, kcrs, b.requires_grad_(), stride, padding)
    y.backward(dy.permute(0, 3, 1, 2))
    return [
        a.detach().numpy()
        for a in (y.permute(0, 2, 3, 1), nchw.grad.permute(0, 2, 3, 1), kcrs.grad.permute(2, 3, 1, 0), b.grad)
    ]


def test_conv_without_dx_writes_the_same_dw_and_db(reference, rng):
    x, w, dy = rng.normal(size=(2, 4, 4, 2)), rng.normal(size=(3, 3, 2, 3)), rng.normal(size=(2, 4, 4, 3))
    with_dx, without = (np.empty_like(w), np.empty(3)), (np.empty_like(w), np.empty(3))
    reference.conv2d_backward(x, w, dy, np.empty_like(x), *with_dx, 1, 1)
    reference.conv2d_backward(x, w, dy, None, *without, 1, 1)
    for a, b in zip(with_dx, without, strict=True):
        np.testing.assert_array_equal(a, b)

import numpy as np
import pytest
import torch

SIZES = [(4, 3, 2), (1, 5, 3), (3, 1, 1), (2, 7, 11)]


def test_dense_of_integers(reference):
    x, w = np.array([[1.0, 2.0], [0.0, -1.0]]), np.array([[3.0, 4.0, 0.0], [5.0, 6.0, 7.0]])
    b = np.array([1.0, 0.0, -1.0])
    dy = np.array([[1.0, 0.0, 2.0], [-1.0, 3.0, 0.0]])
    y, dx, dw, db = np.empty((2, 3)), np.empty((2, 2)), np.empty((2, 3)), np.empty(3)
    reference.dense_forward(x, w, b, y)
    reference.dense_backward(x, w, dy, dx, dw, db)
    np.testing.assert_array_equal(y, [[14, 16, 13], [-4, -6, -8]])
    np.testing.assert_array_equal(dx, [[3, 19], [9, 13]])
    np.testing.assert_array_equal(dw, [[1, 0, 2], [3, -3, 4]])
    np.testing.assert_array_equal(db, [0, 3, 2])


@pytest.mark.parametrize("size", SIZES)
def test_dense_gradients_are_those_of_finite_differences(
    reference, rng, assert_close, gradient, numerical_tolerance, size
):
    B, I, O = size
    x, w, b, dy = rng.normal(size=(B, I)), rng.normal(size=(I, O)), rng.normal(size=O), rng.normal(size=(B, O))
    y, dx, dw, db = np.empty((B, O)), np.empty((B, I)), np.empty((I, O)), np.empty(O)

    def loss():
        reference.dense_forward(x, w, b, y)
        return float((dy * y).sum())

    loss()
    tolerance = numerical_tolerance(np.abs(dy * y).sum())
    reference.dense_backward(x, w, dy, dx, dw, db)
    for value, slope in ((x, dx), (w, dw), (b, db)):
        assert_close(slope, gradient(loss, value), tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [*SIZES, (33, 65, 17)])
def test_dense_is_that_of_pytorch(reference, rng, assert_close, dtype, size):
    B, I, O = size
    x, w, b, dy = (rng.normal(size=s).astype(dtype) for s in ((B, I), (I, O), (O,), (B, O)))
    y, dx, dw, db = (np.empty(s, dtype) for s in ((B, O), (B, I), (I, O), (O,)))
    reference.dense_forward(x, w, b, y)
    reference.dense_backward(x, w, dy, dx, dw, db)

    tx, tw, tb = (torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (x, w, b))
    ty = torch.nn.functional.linear(tx, tw.T, tb)
    ty.backward(torch.tensor(dy, dtype=torch.float64))
    # A sum of n rounded products errs by at most about n eps times the sum of their absolute values; twice, because
    # PyTorch's own sum does too.
    eps = 2 * np.finfo(dtype).eps
    ax, aw, ab, ady = (np.abs(a).astype(np.float64) for a in (x, w, b, dy))
    assert_close(y, ty.detach(), (I + 1) * eps * (ax @ aw + ab))
    assert_close(dx, tx.grad, O * eps * (ady @ aw.T))
    assert_close(dw, tw.grad, B * eps * (ax.T @ ady))
    assert_close(db, tb.grad, B * eps * ady.sum(axis=0))


def test_dense_without_dx_writes_the_same_dw_and_db(reference, rng):
    x, w, dy = rng.normal(size=(4, 3)), rng.normal(size=(3, 2)), rng.normal(size=(4, 2))
    with_dx, without = (np.empty((3, 2)), np.empty(2)), (np.empty((3, 2)), np.empty(2))
    reference.dense_backward(x, w, dy, np.empty((4, 3)), *with_dx)
    reference.dense_backward(x, w, dy, None, *without)
    for a, b in zip(with_dx, without, strict=True):
        np.testing.assert_array_equal(a, b)

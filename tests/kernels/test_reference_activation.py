import mpmath
import numpy as np
import pytest
import torch

# Name, PyTorch's function, whether y may be x.
ACTIVATIONS = [
    ("relu", torch.relu, True),
    ("tanh", torch.tanh, True),
    ("gelu", lambda x: torch.nn.functional.gelu(x, approximate="none"), False),
]
NAMES = [name for name, _, _ in ACTIVATIONS]


def _run(kernels, name, x, dy):
    y, dx = np.empty_like(x), np.empty_like(x)
    getattr(kernels, f"{name}_forward")(x, y)
    getattr(kernels, f"{name}_backward")(x, y, dy, dx)
    return y, dx


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "function", "_"), ACTIVATIONS, ids=NAMES)
def test_activation_is_that_of_pytorch(reference, rng, assert_close, name, function, _, dtype):
    x, dy = (rng.normal(scale=3.0, size=(3, 5, 2)).astype(dtype) for _ in range(2))
    y, dx = _run(reference, name, x, dy)
    tx = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    ty = function(tx)
    ty.backward(torch.tensor(dy, dtype=torch.float64))
    # A handful of roundings, of values no larger than |x| and of slopes no larger than 1.13 (1 - tanh^2 cancels).
    eps = np.finfo(dtype).eps
    assert_close(y, ty.detach(), 4 * eps * np.abs(x))
    assert_close(dx, tx.grad, 8 * eps * np.abs(dy))


@pytest.mark.parametrize("name", NAMES)
def test_activation_gradient_is_that_of_finite_differences(
    reference, rng, assert_close, gradient, numerical_tolerance, name
):
    x, dy = rng.normal(size=17), rng.normal(size=17)
    assert np.abs(x).min() > 0.01  # no point within reach of the kink of relu
    y, dx = _run(reference, name, x, dy)

    def loss():
        getattr(reference, f"{name}_forward")(x, y)
        return float((dy * y).sum())

    assert_close(dx, gradient(loss, x), numerical_tolerance(np.abs(dy * y).sum()))


def test_relu_at_the_kink(reference):
    y, dx = _run(reference, "relu", np.array([-2.0, 0.0, 3.0]), np.array([5.0, 7.0, 11.0]))
    np.testing.assert_array_equal(y, [0, 0, 3])
    np.testing.assert_array_equal(dx, [0, 0, 11])


def test_gelu_of_negative_numbers_to_the_last_digits(reference, assert_close):
    # 1 + erf cancels there: at -8 it has no correct digit left.
    x = np.array([-8.0, -4.0, -1.0, 0.5])
    y, _ = _run(reference, "gelu", x, np.ones(4))
    with mpmath.workdps(30):
        expected = np.array([float(mpmath.mpf(v) * mpmath.ncdf(v)) for v in x])
    # Phi falls like exp(-x^2 / 2), which multiplies the rounding of its exponent by x^2 / 2.
    assert_close(y, expected, (4 + x**2 / 2) * np.finfo(np.float64).eps * np.abs(expected))


@pytest.mark.parametrize("name", [name for name, _, in_place in ACTIVATIONS if in_place])
def test_activation_in_place(reference, rng, name):
    x, dy = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    y, dx = _run(reference, name, x, dy)
    getattr(reference, f"{name}_forward")(x, x)
    getattr(reference, f"{name}_backward")(x, x, dy, dy)
    np.testing.assert_array_equal(x, y)
    np.testing.assert_array_equal(dy, dx)


def test_gelu_backward_in_place(reference, rng):
    x, dy = rng.normal(size=6), rng.normal(size=6)
    y, dx = _run(reference, "gelu", x, dy)
    reference.gelu_backward(x, y, dy, dy)
    np.testing.assert_array_equal(dy, dx)


@pytest.mark.parametrize("name", NAMES)
def test_activation_lets_nan_through(reference, name):
    y, _ = _run(reference, name, np.array([np.nan]), np.array([1.0]))
    assert np.isnan(y[0])

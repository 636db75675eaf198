"""Activations on the GPU against the reference, within the roundings of their formulas."""

import numpy as np
import pytest

LENGTHS = [0, 1, 2, 255, 256, 257, 1023, 1024, 1025, 1531]
DTYPES = ["float32", "float64"]


def values(rng, n, dtype):
    """Sizes over several powers of ten, both signs, and the values where formulas break."""
    x = 10.0 ** rng.uniform(-6, 1, n) * rng.choice([-1.0, 1.0], n)
    x[: min(n, 5)] = [0.0, -0.0, 30.0, -30.0, 1e-30][: min(n, 5)]
    return x.astype(dtype)


def both(run, reference, name, inputs, dtype):
    """Return what the GPU and, in float64, the reference write."""
    out, exact = np.full(inputs[0].shape, np.nan, dtype), np.empty(inputs[0].shape)
    run(name, *inputs, out)
    getattr(reference, name)(*[a.astype("float64") for a in inputs], exact)
    return out, exact


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", LENGTHS)
def test_relu_is_exact(run, reference, rng, n, dtype):
    x, dy = values(rng, n, dtype), values(rng, n, dtype)[::-1].copy()
    y, exact = both(run, reference, "relu_forward", (x,), dtype)
    np.testing.assert_array_equal(y, exact)
    dx, exact = both(run, reference, "relu_backward", (x, y, dy), dtype)
    np.testing.assert_array_equal(dx, exact)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", LENGTHS)
def test_tanh_is_within_its_roundings(run, reference, rng, assert_close, n, dtype):
    # CUDA's programming guide: tanhf within 2 ulp, tanh within 1. The slope: 1 - y^2 has two roundings relative to 1,
    # the product one.
    eps = np.finfo(dtype).eps
    x, dy = values(rng, n, dtype), values(rng, n, dtype)[::-1].copy()
    y, exact = both(run, reference, "tanh_forward", (x,), dtype)
    assert_close(y, exact, 2 * eps * abs(exact))
    dx, exact = both(run, reference, "tanh_backward", (x, y, dy), dtype)
    assert_close(dx, exact, 1.5 * eps * abs(dy.astype("float64")))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", LENGTHS)
def test_gelu_is_within_its_roundings(run, reference, rng, assert_close, n, dtype):
    # The argument of erfc has two roundings, x / sqrt 2 times eps; its derivative carries them on as phi(x) |x| eps,
    # and times x for y. erfcf itself: within 4 ulp (CUDA's programming guide), products 2 more.
    eps = np.finfo(dtype).eps
    x, dy = values(rng, n, dtype), values(rng, n, dtype)[::-1].copy()
    x64, dy64 = x.astype("float64"), dy.astype("float64")
    density = np.exp(-(x64**2) / 2) / np.sqrt(2 * np.pi)
    tiny = np.finfo(dtype).tiny  # what underflows loses digits
    y, exact = both(run, reference, "gelu_forward", (x,), dtype)
    assert_close(y, exact, eps * (6 * abs(exact) + x64**2 * density) + 40 * tiny)
    dx, exact = both(run, reference, "gelu_backward", (x, x, dy), dtype)
    phi = abs(exact) + abs(dy64) * abs(x64) * density
    slope = abs(dy64) * (2 * x64**2 + 1) * abs(x64) * density
    assert_close(dx, exact, eps * (8 * phi + slope) + 40 * tiny * (1 + abs(dy64)))


@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_forward_and_backward_work_in_place(gpu, reference, rng, assert_close, name):
    x, dy = values(rng, 300, "float32"), values(rng, 300, "float32")
    y, dx = np.empty_like(x), np.empty_like(x)
    getattr(reference, f"{name}_forward")(x, y)
    getattr(reference, f"{name}_backward")(x, y, dy, dx)
    on_gpu, slope = gpu.asarray(x), gpu.asarray(dy)
    getattr(gpu, f"{name}_forward")(on_gpu, on_gpu)
    getattr(gpu, f"{name}_backward")(on_gpu, on_gpu, slope, slope)
    eps = np.finfo("f4").eps
    assert_close(gpu.to_host(on_gpu), y, 4 * eps * abs(y))
    assert_close(gpu.to_host(slope), dx, 4 * eps * abs(dy))


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu"])
def test_nan_stays_nan_and_infinity_has_its_limit(run, name):
    x, y = np.array([[np.nan, np.inf]], "f4"), np.zeros((1, 2), "f4")
    run(f"{name}_forward", x, y)
    np.testing.assert_array_equal(y, [[np.nan, 1.0 if name == "tanh" else np.inf]])

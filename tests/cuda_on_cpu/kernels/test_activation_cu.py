"""activation.cu against numpy_ref in double, over lengths, alignments and arrays that are their own output."""

import numpy as np
import pytest

LENGTHS = [0, 1, 3, 4, 5, 255, 2047, 2048, 2049, 4099]  # a block has 2048 float32 or 1024 float64
DTYPES = ["float32", "float64"]


def values(n, dtype):
    x = 10.0 ** np.random.default_rng(n).uniform(-6, 1, n) * np.random.default_rng(1).choice([-1.0, 1.0], n)
    x[: min(n, 5)] = [0.0, -13.0, 30.0, -5.0, 1e-30][: min(n, 5)]
    return x.astype(dtype)


def blocks(x):
    return x.size * x.itemsize // 8192 + 1


def run(launch, name, *arrays):
    launch(f"activation.{name}_{arrays[0].dtype}", blocks(arrays[0]), *arrays, arrays[0].size)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offsets", [(0, 0, 0), (1, 1, 1), (0, 2, 0), (0, 0, 3)])
@pytest.mark.parametrize("n", LENGTHS)
def test_relu(launch, shifted, n, offsets, dtype):
    x, dy, y = (shifted(a, offset) for a, offset in zip((values(n, dtype), values(n, dtype)[::-1], np.zeros(n, dtype)),
                                                        offsets, strict=True))  # fmt: skip
    run(launch, "relu_forward", x, y)
    np.testing.assert_array_equal(y, np.maximum(x, 0))
    dx = np.full_like(x, np.nan)
    run(launch, "relu_backward", y, dy, dx)
    np.testing.assert_array_equal(dx, np.where(y > 0, dy, 0))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("n", [5, 2048, 2049])
def test_tanh_in_place(launch, shifted, n, offset, dtype):
    x, dy = shifted(values(n, dtype), offset), shifted(values(n, dtype)[::-1], offset)
    eps, exact, slope = np.finfo(dtype).eps, np.tanh(x.astype(float)), dy.astype(float)
    run(launch, "tanh_forward", x, x)
    assert (abs(x - exact) <= 2 * eps * abs(exact)).all()  # within 2 ulp (CUDA's programming guide)
    slope *= 1 - x.astype(float) ** 2
    scale = abs(dy)
    run(launch, "tanh_backward", x, dy, dy)
    assert (abs(dy - slope) <= 1.5 * eps * scale).all()  # 1 - y^2 has two roundings relative to 1, the product one


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offset", [0, 3])
@pytest.mark.parametrize("n", LENGTHS)
def test_gelu(launch, shifted, reference, n, offset, dtype):
    # The argument of erfc has two roundings, x / sqrt 2 times eps; its derivative carries them on as phi(x) |x| eps,
    # and times x for y. erfc itself: within 4 ulp (CUDA's programming guide), products 2 more. What takes the place of
    # erfc in float32 keeps to the same bound (activation.cuh).
    x, dy = shifted(values(n, dtype), offset), values(n, dtype)[::-1].copy()
    y, dx, wide, slope = np.full_like(x, np.nan), np.full_like(x, np.nan), x.astype(float), abs(dy.astype(float))
    run(launch, "gelu_forward", x, y)
    run(launch, "gelu_backward", x, dy, dx)
    exact, exact_dx = np.empty(n), np.empty(n)
    reference.gelu_forward(wide, exact)
    reference.gelu_backward(wide, wide, dy.astype(float), exact_dx)
    eps, tiny = np.finfo(dtype).eps, np.finfo(dtype).tiny  # what underflows loses digits
    density = np.exp(-(wide**2) / 2) / np.sqrt(2 * np.pi)
    assert (abs(y - exact) <= eps * (6 * abs(exact) + wide**2 * density) + 40 * tiny).all()
    terms = 8 * (abs(exact_dx) + slope * abs(wide) * density) + slope * (2 * wide**2 + 1) * abs(wide) * density
    assert (abs(dx - exact_dx) <= eps * terms + 40 * tiny * (1 + slope)).all()
    in_place = dy.copy()
    run(launch, "gelu_backward", x, in_place, in_place)
    np.testing.assert_array_equal(in_place, dx)


def test_gelu_over_all_magnitudes(launch, reference):
    """One float32 of 1009, from 1e-8 to where Phi(-x) is 0: half of what test_gelu allows, as activation.cuh says."""
    bits = np.arange(*np.array([1e-8, 16], "f4").view("i4"), 1009, dtype="i4")
    x = np.concatenate([bits.view("f4"), -bits.view("f4")])
    y, wide, exact = np.full_like(x, np.nan), x.astype(float), np.empty(x.size)
    run(launch, "gelu_forward", x, y)
    reference.gelu_forward(wide, exact)
    bell = wide**2 * np.exp(-(wide**2) / 2) / np.sqrt(2 * np.pi)
    assert (abs(y - exact) <= 0.5 * np.finfo("f4").eps * (6 * abs(exact) + bell) + 40 * np.finfo("f4").tiny).all()


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu"])
def test_nan_stays(launch, name):
    x, y = np.array([np.nan, np.inf], "f4"), np.zeros(2, "f4")
    run(launch, f"{name}_forward", x, y)
    np.testing.assert_array_equal(y, [np.nan, 1.0 if name == "tanh" else np.inf])

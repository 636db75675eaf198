import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refplay import kernels

NUMBA = kernels.load("numba")
drawn = settings(derandomize=True, deadline=None, max_examples=40)
shapes = st.lists(st.integers(0, 7), min_size=0, max_size=3).map(tuple)
dtypes = st.sampled_from(["float32", "float64"])
NAMES = ["relu", "tanh", "gelu"]
SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0]


def unit(dtype):
    """Half an eps: what one rounding costs. Twice in float64, where the reference is no more exact than the kernel."""
    return np.finfo(dtype).eps / (2 if dtype == "float32" else 1)


def values(dtype):
    """All sizes of both signs, denormal to the largest, and many in between where the functions bend."""
    info = np.finfo(dtype)
    sizes = np.concatenate(
        [
            np.geomspace(float(info.smallest_subnormal), float(info.max) * 0.99, 997),
            np.linspace(1e-3, 45, 4001),  # beyond 40 the normal density is less than the smallest float64
        ]
    ).astype(dtype)
    return np.concatenate([sizes, -sizes])


def roundings(name, x):
    """How many units a result may be off.

    relu: it copies. tanh: in float32 it is computed in float64 and rounded once. In float64 the polynomial, the
    scaling, the quotient and both reductions add up to 5. gelu: the exponential in erfc and in the density takes
    x^2 / 2, which is rounded, and a relative error of an exponent of x^2 / 2 is an absolute one: x^2 / 2 more roundings
    for each of its three factors (x / sqrt(2), its square, the product). The kernel does that in float64.
    """
    exact = x.dtype == "float32"
    if name == "relu":
        return np.zeros(x.shape)
    if name == "tanh":
        return np.full(x.shape, 1.0 if exact else 5.0)
    spread = np.minimum(abs(x.astype("float64")), 45.0) ** 2  # beyond, all is 0 or 1
    return np.where(exact, 3 + spread * 3 * 2.0**-29, 8 + 3 * spread / 2)


def least_of(name, dtype):
    """What rounding costs among the denormal numbers; SciPy's erfc is 0 there (in float64, x < -37.5)."""
    info = np.finfo(dtype)
    return {"relu": 0.0, "tanh": info.smallest_subnormal}.get(name, info.smallest_subnormal + np.finfo("float64").tiny)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_activations_are_within_a_few_roundings_over_the_whole_range(reference, assert_close, name, dtype):
    x = values(dtype)
    dy = np.random.default_rng(1).normal(0.3, 1.0, x.shape).astype(dtype)
    y, dx, y64, dx64 = np.empty_like(x), np.empty_like(x), np.empty(x.shape), np.empty(x.shape)
    x64, dy64 = x.astype("float64"), dy.astype("float64")
    getattr(NUMBA, f"{name}_forward")(x, y)
    with np.errstate(over="ignore", under="ignore"):
        getattr(reference, f"{name}_forward")(x64, y64)
    least = least_of(name, dtype)
    assert_close(y, y64, roundings(name, x) * unit(dtype) * abs(y64) + least)

    getattr(NUMBA, f"{name}_backward")(x, y, dy, dx)
    with np.errstate(over="ignore", under="ignore"):
        getattr(reference, f"{name}_backward")(x64, y.astype("float64"), dy64, dx64)
    # tanh takes 1 - y^2: three roundings, and y^2 <= 1 does not shrink when 1 - y^2 does. gelu's two terms may cancel.
    # Neither Phi nor x phi exceeds 1.13 |dy|; where they are small they are so together, up to |x| times.
    if name == "relu":
        np.testing.assert_array_equal(dx, dx64)
    elif name == "tanh":
        assert_close(dx, dx64, 4 * unit(dtype) * abs(dy64))
    else:
        size = np.minimum(abs(x64), 40.0)
        tails = np.exp(-(size**2) / 2) * (1 + size)
        magnitude = (np.where(x64 > 0, 1.0, 0.0) + tails) * abs(dy64)
        assert_close(dx, dx64, roundings(name, x) * unit(dtype) * magnitude + least)


@drawn
@given(shape=shapes, name=st.sampled_from(NAMES), dtype=dtypes)
def test_any_shape_is_taken_and_in_place_gives_the_same_bits(shape, name, dtype):
    rng = np.random.default_rng(len(shape))
    x, dy = (rng.normal(0.0, 2.0, shape).astype(dtype) for _ in range(2))
    x, dy = np.asarray(x), np.asarray(dy)
    y, dx = np.empty_like(x), np.empty_like(x)
    forward, backward = getattr(NUMBA, f"{name}_forward"), getattr(NUMBA, f"{name}_backward")
    forward(x, y)
    backward(x, y, dy, dx)
    in_dy = dy.copy()
    backward(x, y, in_dy, in_dy)
    np.testing.assert_array_equal(in_dy, dx)
    if name != "gelu":
        in_x = x.copy()
        forward(in_x, in_x)
        np.testing.assert_array_equal(in_x, y)
        backward(in_x, in_x, in_dy := dy.copy(), in_dy)
        np.testing.assert_array_equal(in_dy, dx)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_nan_infinities_and_zeros_come_out_as_from_the_reference(reference, name, dtype):
    x = np.array([a for a in SPECIAL for _ in SPECIAL], dtype)
    dy = np.array([b for _ in SPECIAL for b in SPECIAL], dtype)
    y, dx, y_reference, dx_reference = (np.empty_like(x) for _ in range(4))
    getattr(NUMBA, f"{name}_forward")(x, y)
    getattr(NUMBA, f"{name}_backward")(x, y, dy, dx)
    with np.errstate(all="ignore"):
        getattr(reference, f"{name}_forward")(x, y_reference)
        getattr(reference, f"{name}_backward")(x, y, dy, dx_reference)
    few = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(y, y_reference, rtol=few)
    np.testing.assert_allclose(dx, dx_reference, rtol=few)
    assert np.isnan(y[np.isnan(x)]).all()

"""The kernels of normalization against numpy_ref in double, over cuts of the rows, lanes and alignments.

Sums are doubles, so that what is left are the roundings to the dtype of the arrays: u each. See tests/gpu for
bounds that hold for any kernel; these are those of these kernels.
"""

import numpy as np
import pytest

DTYPES = ["float32", "float64"]
EPSILON, OFFSET = 0.01, 300.0  # far from zero, E[x^2] - E[x]^2 would have nothing left
EPS64 = np.finfo(float).eps
ALIGNED, SHIFTED = 0, 1


def draw(shifted, shape, dtype, offset):
    rng, C = np.random.default_rng(shape), shape[-1]
    of_channels = rng.normal(1.5, 0.5, C), rng.normal(-0.5, 0.5, C)
    arrays = rng.normal(OFFSET, 2, shape), *of_channels, rng.normal(0.5, 1.5, shape)
    return [shifted(a.astype(dtype).ravel(), offset).reshape(a.shape) for a in arrays]


def nans(*arrays):
    return [np.full_like(a, np.nan) for a in arrays]


def unit(dtype):
    return np.finfo(dtype).eps / 2 if dtype == "float32" else 4 * EPS64  # the reference is no more exact


def check_forward(x, gamma, beta, y, mean, var, axis):
    u, n, x = unit(str(x.dtype)), x.shape[axis], x.astype(float)
    exact_mean, exact_var = x.mean(axis), x.var(axis)
    # Parts have means that are rounded, and so have the squares of their differences.
    d_mean, rounded = u * abs(exact_mean) + n * EPS64 * OFFSET, 2 * np.sqrt(exact_var) * EPS64 * OFFSET
    d_var = 4 * u * exact_var + rounded + (n * EPS64 * OFFSET) ** 2
    assert (abs(mean - exact_mean) <= d_mean).all()
    assert (abs(var - exact_var) <= d_var).all()
    off, sigma = x - np.expand_dims(exact_mean, axis), np.sqrt(np.expand_dims(exact_var, axis) + EPSILON)
    relative = 4 * u + np.expand_dims(d_var, axis) / (2 * sigma**2)  # a difference, a factor, a product; and the sum
    error = abs(gamma) / sigma * (relative * abs(off) + np.expand_dims(d_mean, axis)) + u * abs(beta)
    exact = gamma * off / sigma + beta
    assert (abs(y - exact) <= 1.01 * error + u * abs(exact)).all()


def check_backward(reference, name, x, gamma, mean, var, dy, dx, dgamma, dbeta, axis):
    exact = np.empty(x.shape), np.empty(len(gamma)), np.empty(len(gamma))
    wide = [a.astype(float) for a in (x, gamma, mean, var, dy)]
    getattr(reference, f"{name}_backward")(*wide, *exact, EPSILON)
    u, many = unit(str(x.dtype)), x.size * EPS64
    x_hat = abs(wide[0] - np.expand_dims(wide[2], axis)) / np.sqrt(np.expand_dims(wide[3], axis) + EPSILON)
    slopes, over = abs(wide[4]), tuple(range(x.ndim - 1))
    assert (abs(dgamma - exact[1]) <= (4 * u + many) * (slopes * x_hat).sum(over)).all()
    assert (abs(dbeta - exact[2]) <= (u + many) * slopes.sum(over)).all()
    terms = abs(wide[1]) * slopes
    terms = terms + terms.mean(axis, keepdims=True) + x_hat * (terms * x_hat).mean(axis, keepdims=True)
    assert (abs(dx - exact[0]) <= (10 * u + many) * terms / np.sqrt(np.expand_dims(wide[3], axis) + EPSILON)).all()


def tiles(C, lanes, dtype):
    return -(-C // (lanes * 16 // np.dtype(dtype).itemsize))


# shape, lanes, rows of a share: shares of one row, with a shorter last one, fewer rows than threads above each other,
# channels that fill no tile, or two; lanes of a warp and of half of one
CUTS = [
    ((1, 1, 1), 1, 1), ((2, 7, 3), 1, 3), ((1, 300, 4), 1, 300), ((1, 2100, 2), 1, 1030), ((2, 70, 20), 4, 33),
    ((1, 130, 68), 16, 50), ((2, 40, 132), 32, 17), ((1, 33, 130), 32, 33),
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offset", [ALIGNED, SHIFTED])
@pytest.mark.parametrize(("shape", "lanes", "rows"), CUTS, ids=str)
def test_batch_norm_in_shares(launch, shifted, reference, shape, lanes, rows, offset, dtype):
    (G, M, C), shares = shape, -(-shape[1] // rows)
    x, gamma, beta, dy = draw(shifted, shape, dtype, offset)
    cut = rows, shares, tiles(C, lanes, dtype), lanes
    blocks, mean, var = G * shares * cut[2], np.full((G, C), np.nan, dtype), np.full((G, C), np.nan, dtype)
    partial, (y, dx, dgamma, dbeta) = np.full((G, shares, 2, C), np.nan), nans(x, x, gamma, beta)
    launch(f"batch_norm.batch_norm_moments_{dtype}", blocks, x, partial, M, C, *cut)
    launch(f"batch_norm.batch_norm_statistics_{dtype}", G * -(-C // 32), partial, mean, var, M, C, rows, shares,
           threads=512)
    launch(f"batch_norm.batch_norm_normalize_{dtype}", blocks, x, gamma, beta, mean, var, y, M, C, EPSILON, *cut)
    check_forward(x, gamma, beta, y, mean, var, 1)

    partial[...], totals = np.nan, np.full((G, 2, C), np.nan)
    launch(f"batch_norm_backward.batch_norm_sums_{dtype}", blocks, x, dy, mean, var, partial, M, C, EPSILON, *cut)
    launch("column_sums.column_sums", G * -(-2 * C // 32), partial, totals, shares, 2 * C, threads=512)
    launch(f"batch_norm_backward.batch_norm_input_{dtype}", blocks, x, gamma, mean, var, dy, dx, totals, M, C, EPSILON,
           *cut)
    launch(f"column_sums.two_column_sums_{dtype}", -(-2 * C // 32), totals, dbeta, dgamma, G, C, threads=512)
    check_backward(reference, "batch_norm", x, gamma, mean, var, dy, dx, dgamma, dbeta, 1)


# M up to 8 rows forward and 4 backward for each of the 256 / lanes threads above each other
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offset", [ALIGNED, SHIFTED])
@pytest.mark.parametrize(
    ("shape", "lanes"),
    [((1, 1, 1), 1), ((3, 5, 2), 1), ((1, 900, 3), 1), ((2, 32, 132), 32), ((2, 31, 20), 8)],
    ids=str,
)
def test_batch_norm_in_registers(launch, shifted, reference, shape, lanes, offset, dtype):
    G, M, C = shape
    x, gamma, beta, dy = draw(shifted, shape, dtype, offset)
    y, dx, dgamma, dbeta = nans(x, x, gamma, beta)
    wide, mean, var = tiles(C, lanes, dtype), np.full((G, C), np.nan, dtype), np.full((G, C), np.nan, dtype)
    launch(f"batch_norm.batch_norm_held_{dtype}", G * wide, x, gamma, beta, y, mean, var, M, C, EPSILON, wide, lanes)
    check_forward(x, gamma, beta, y, mean, var, 1)
    totals = np.full((G, 2, C), np.nan)
    launch(f"batch_norm_backward.batch_norm_gradient_held_{dtype}", G * wide, x, gamma, mean, var, dy, dx, totals, M, C,
           EPSILON, wide, lanes)  # fmt: skip
    launch(f"column_sums.two_column_sums_{dtype}", -(-2 * C // 32), totals, dbeta, dgamma, G, C, threads=512)
    check_backward(reference, "batch_norm", x, gamma, mean, var, dy, dx, dgamma, dbeta, 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "lanes"), [(99, 32), (33, 32), (99, 1)])  # several rounds of a thread, or one
@pytest.mark.parametrize("place", [0, 40])
def test_equal_values_have_no_variance_and_infinity_stays_in_its_channel(launch, rows, lanes, place, dtype):
    x = np.full((1, 99, 4), 300.1, dtype)
    x[0, place, 1], x[0, place, 2] = np.inf, np.nan
    shares, mean, var = 99 // rows, np.zeros((1, 4), dtype), np.zeros((1, 4), dtype)
    partial, wide = np.full((1, shares, 2, 4), np.nan), tiles(4, lanes, dtype)
    launch(f"batch_norm.batch_norm_moments_{dtype}", shares * wide, x, partial, 99, 4, rows, shares, wide, lanes)
    launch(f"batch_norm.batch_norm_statistics_{dtype}", 1, partial, mean, var, 99, 4, rows, shares, threads=512)
    np.testing.assert_array_equal(mean[0], [x[0, 0, 0], np.inf, np.nan, x[0, 0, 3]])
    np.testing.assert_array_equal(var[0], [0, np.nan, np.nan, 0])


@pytest.mark.parametrize("count", [0, 1, 16, 17, 300])
@pytest.mark.parametrize("width", [1, 32, 33])
def test_column_sums(launch, count, width):
    partial = np.random.default_rng(count).integers(-99, 99, (2, count, width)).astype(float)  # exact in any order
    out = np.full((2, width), np.nan)
    launch("column_sums.column_sums", 2 * -(-width // 32), partial, out, count, width, threads=512)
    np.testing.assert_array_equal(out, partial.sum(1))


# lanes of a warp and of two; rows that fill no block; columns that fill no lanes
ROWS = [((1, 1), 1), ((300, 3), 1), ((9, 20), 4), ((17, 250), 32), ((5, 260), 64), ((3, 1000), 128), ((2, 2048), 256)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offset", [ALIGNED, SHIFTED])
@pytest.mark.parametrize(("shape", "lanes"), ROWS, ids=str)
def test_layer_norm(launch, shifted, reference, shape, lanes, offset, dtype):
    B, C = shape
    lanes *= 2 if dtype == "float64" and 8 * lanes < min(C, 2048) else 1
    x, gamma, beta, dy = draw(shifted, shape, dtype, offset)
    (y, dx, dgamma, dbeta), mean, var = nans(x, x, gamma, beta), np.full(B, np.nan, dtype), np.full(B, np.nan, dtype)
    launch(f"layer_norm.layer_norm_forward_{dtype}", -(-B * lanes // 256), x, gamma, beta, y, mean, var, B, C, EPSILON,
           lanes)
    check_forward(x, gamma, beta, y, mean, var, 1)
    lanes, blocks = min(2 * lanes, 512), 2  # one block has several rounds of rows, or none
    partial, threads = np.full((blocks, 2, C), np.nan), max(256, lanes)
    launch(f"layer_norm.layer_norm_backward_{dtype}", blocks, x, gamma, mean, var, dy, dx, partial, B, C, EPSILON,
           lanes, threads=threads)  # fmt: skip
    launch(f"column_sums.two_column_sums_{dtype}", -(-2 * C // 32), partial, dbeta, dgamma, blocks, C, threads=512)
    check_backward(reference, "layer_norm", x, gamma, mean, var, dy, dx, dgamma, dbeta, 1)


def test_layer_norm_of_neighbouring_numbers(launch):
    """The mean lies between two numbers: squares around its rounding would be twice those around it."""
    x = np.tile([np.float32(300), np.nextafter(np.float32(300), np.float32(301))], (1, 4))
    y, mean, var, ones = np.empty_like(x), np.zeros(1, "f4"), np.zeros(1, "f4"), np.ones(8, "f4")
    launch("layer_norm.layer_norm_forward_float32", 1, x, ones, ones, y, mean, var, 1, 8, EPSILON, 2)
    assert var[0] == (2.0**-15 / 2) ** 2


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(3, 1), (5, 257), (2, 4100)], ids=str)
def test_layer_norm_of_long_rows(launch, shifted, reference, shape, dtype):
    (B, C), shares = shape, 2
    x, gamma, beta, dy = draw(shifted, shape, dtype, 0)
    (y, dx, dgamma, dbeta), mean, var = nans(x, x, gamma, beta), np.full(B, np.nan, dtype), np.full(B, np.nan, dtype)
    launch(f"layer_norm_long.layer_norm_long_forward_{dtype}", B, x, gamma, beta, y, mean, var, C, EPSILON)
    check_forward(x, gamma, beta, y, mean, var, 1)
    partial = np.full((shares, 2, C), np.nan)
    launch(f"layer_norm_long.layer_norm_long_input_{dtype}", B, x, gamma, mean, var, dy, dx, C, EPSILON)
    launch(f"layer_norm_long.layer_norm_long_columns_{dtype}", shares * -(-C // 256), x, mean, var, dy, partial, B, C,
           EPSILON, shares)  # fmt: skip
    launch(f"column_sums.two_column_sums_{dtype}", -(-2 * C // 32), partial, dbeta, dgamma, shares, C, threads=512)
    check_backward(reference, "layer_norm", x, gamma, mean, var, dy, dx, dgamma, dbeta, 1)

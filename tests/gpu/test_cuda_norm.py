"""Normalization on the GPU against the reference in float64, within bounds that follow from the lengths of the sums.

A sum of n values passes through `depth` additions at most: those of one thread, and then one for each halving of the
threads. Its error is depth roundings of the sum of absolute values. What is summed for a mean are the differences from
the first value, so that an offset that all values share costs nothing but the rounding of the mean itself. The
reference sums the values themselves in float64, one after the other: n roundings there.
"""

from importlib import import_module

import numpy as np
import pytest

DTYPES = ["float32", "float64"]
EPS64 = np.finfo("float64").eps
OFFSET, EPSILON = 300.0, 0.01  # far from zero, E[x^2] - E[x]^2 would have nothing left


def unit(dtype):
    """What a rounding costs; twice in float64, where the reference is no more exact than the kernel."""
    return np.finfo(dtype).eps / (2 if dtype == "float32" else 1)


def depth_of_columns(M, C):
    """A block has 256 threads, over 1 to 32 columns, and the last halvings and slices together are less than 12."""
    columns = min(32, 2 ** int(np.ceil(np.log2(C))))
    return M / (256 / columns) + 12


def depth_of_rows(C):
    """A row has 8 threads up to 64 values, 32 up to 2048, else 256, and a halving takes less than 10 additions."""
    return C / (8 if C <= 64 else 32 if C <= 2048 else 256) + 10


def draw(rng, shape, dtype, offset=OFFSET):
    """Return x, gamma, beta, dy, none of them with a mean of zero or a scale of one."""
    x, dy = rng.normal(offset, 2.0, shape), rng.normal(0.5, 1.5, shape)
    C = shape[-1]
    return tuple(a.astype(dtype) for a in (x, rng.normal(1.5, 0.5, C), rng.normal(-0.5, 0.5, C), dy))


def check_forward(assert_close, depth, axis, x, gamma, beta, actual, expected):
    """Hold y, mean, var against those of the reference.

    Errors of the mean are those of the sum of differences; the squares are about means with such errors, to first order
    in the parts of the sum. Both move y through (x - mean) / sigma, which has 6 roundings of its own.
    """
    u = unit(str(x.dtype))
    x = x.astype("float64")
    y, mean, var = expected
    off = x - np.take(x, [0], axis=axis)
    there = x.shape[axis] * EPS64
    d_mean = u * (depth * abs(off).mean(axis=axis) + 2 * abs(mean)) + there * abs(x).mean(axis=axis)
    d_var = u * (4 * depth * (off**2).mean(axis=axis) + 4 * var) + there * var
    assert_close(actual[1], mean, d_mean)
    assert_close(actual[2], var, d_var)
    sigma = np.sqrt(np.expand_dims(var, axis) + EPSILON)
    relative = 6 * u + np.expand_dims(d_var, axis) / (2 * sigma**2)
    error = relative * abs(x - np.expand_dims(mean, axis)) + np.expand_dims(d_mean, axis)
    assert_close(actual[0], y, abs(gamma.astype("float64")) / sigma * error + 2 * u * (abs(beta) + abs(y)))


def check_backward(assert_close, depth, over_all, axis, outer, x, mean, var, dy, weight, actual, expected):
    """Hold dx, dgamma, dbeta against the reference; `weight` is gamma where it is inside of the sums, else 1.

    mean and var are given, so that nothing is lost before the sums. x_hat has 3 roundings, its products 2 more, the sum
    of three terms 2, the factors 3.
    """
    u = unit(str(x.dtype))
    sigma = np.sqrt(np.expand_dims(var, axis) + EPSILON)
    x_hat = abs(x.astype("float64") - np.expand_dims(mean, axis)) / sigma
    slopes = weight * abs(dy.astype("float64"))
    terms = slopes + slopes.mean(axis=axis, keepdims=True)
    terms = terms + x_hat * (slopes * x_hat).mean(axis=axis, keepdims=True)
    there = x.size // x.shape[-1] * EPS64
    assert_close(actual[0], expected[0], ((10 + depth) * u + there) * terms * outer / sigma)
    over = tuple(range(x.ndim - 1))
    size = abs(dy.astype("float64"))
    assert_close(actual[1], expected[1], ((5 + over_all) * u + there) * (size * x_hat).sum(axis=over))
    assert_close(actual[2], expected[2], ((1 + over_all) * u + there) * size.sum(axis=over))


def batch_norm(run, reference, assert_close, rng, shape, dtype):
    """Hold forward, backward and inference of one shape against the reference."""
    G, M, C = shape
    x, gamma, beta, dy = draw(rng, shape, dtype)
    exact = [a.astype("float64") for a in (x, gamma, beta, dy)]
    written = np.full(shape, np.nan, dtype), np.full((G, C), np.nan, dtype), np.full((G, C), np.nan, dtype)
    expected = np.empty(shape), np.empty((G, C)), np.empty((G, C))
    run("batch_norm_forward", x, gamma, beta, *written, EPSILON)
    reference.batch_norm_forward(*exact[:3], *expected, EPSILON)
    depth = depth_of_columns(M, C)
    check_forward(assert_close, depth, 1, x, gamma, beta, written, expected)

    y, mean, var = written
    slopes = np.full(shape, np.nan, dtype), np.full(C, np.nan, dtype), np.full(C, np.nan, dtype)
    exact_slopes = np.empty(shape), np.empty(C), np.empty(C)
    mean64, var64 = mean.astype("float64"), var.astype("float64")
    run("batch_norm_backward", x, gamma, mean, var, dy, *slopes, EPSILON)
    reference.batch_norm_backward(exact[0], exact[1], mean64, var64, exact[3], *exact_slopes, EPSILON)
    check_backward(assert_close, depth, depth + G, 1, abs(exact[1]), x, mean64, var64, dy, 1.0, slopes, exact_slopes)

    for g in range(min(G, 2)):  # with the statistics of the batch, evaluation is training
        again = x[g].copy()
        run("batch_norm_inference", again, gamma, beta, mean[g].copy(), var[g].copy(), again, EPSILON)
        assert_close(again, y[g], 6 * unit(dtype) * (abs(y[g] - beta) + abs(beta)))


# In one launch up to 256 rows; in slices beyond, of 64 rows for 17 channels or more, of 2048 for one.
SHAPES = [
    (0, 5, 3), (1, 1, 1), (2, 7, 3), (3, 31, 33), (1, 256, 2),
    (2, 257, 4), (2, 260, 19), (1, 513, 8), (1, 2100, 1), (0, 300, 3),
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_batch_norm_is_within_its_roundings(run, reference, assert_close, rng, shape, dtype):
    batch_norm(run, reference, assert_close, rng, shape, dtype)


@pytest.mark.numba_cuda
def test_batch_norm_of_more_ghost_batches_than_blocks(run, reference, assert_close, rng, monkeypatch):
    slices = import_module("refplay.kernels.numba_cuda.slices")
    monkeypatch.setattr(slices, "MOST_GHOSTS", 2)
    assert slices.whole_strips(5, 3).grid == (1, 2)
    batch_norm(run, reference, assert_close, rng, (5, 6, 3), "float32")


@pytest.mark.numba_cuda
@pytest.mark.parametrize("M", [767, 768, 1100])
def test_batch_norm_of_long_slices(run, reference, assert_close, rng, monkeypatch, M):
    monkeypatch.setattr(import_module("refplay.kernels.numba_cuda.slices"), "ENOUGH", 2)
    batch_norm(run, reference, assert_close, rng, (1, M, 5), "float32")


@pytest.mark.numba_cuda
@pytest.mark.parametrize(("rows", "C"), [(1, 3), (40, 33)])
def test_sums_of_rows_that_end_where_their_memory_does(gpu, rng, rows, C):
    """Partial sums lie in scratch memory, which is larger: to read beyond them is to read something."""
    a, b = rng.integers(-99, 99, (2, rows, C)).astype("f4")  # whole numbers: no sum is rounded
    sums = gpu.zeros(C), gpu.zeros(C)
    slices = import_module("refplay.kernels.numba_cuda.slices")
    slices.sum_rows(gpu.asarray(a.reshape(-1)), gpu.asarray(b.reshape(-1)), rows, *sums)
    for found, rows_of in zip(sums, (a, b), strict=True):
        np.testing.assert_array_equal(gpu.to_host(found), rows_of.sum(axis=0))


# The sums over examples go in slices of 64 rows for 17 channels or more, of 256 for 7: 70 and 300 fill one, and begin
# another.
LAYERS = [(0, 3), (1, 1), (33, 3), (70, 40), (300, 7), (9, 64), (5, 65), (9, 1025), (2, 2049)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", LAYERS, ids=str)
def test_layer_norm_is_within_its_roundings(run, reference, assert_close, rng, shape, dtype):
    B, C = shape
    x, gamma, beta, dy = draw(rng, shape, dtype)
    exact = [a.astype("float64") for a in (x, gamma, beta, dy)]
    written = np.full(shape, np.nan, dtype), np.full(B, np.nan, dtype), np.full(B, np.nan, dtype)
    expected = np.empty(shape), np.empty(B), np.empty(B)
    run("layer_norm_forward", x, gamma, beta, *written, EPSILON)
    reference.layer_norm_forward(*exact[:3], *expected, EPSILON)
    check_forward(assert_close, depth_of_rows(C), 1, x, gamma, beta, written, expected)

    _, mean, var = written
    slopes = np.full(shape, np.nan, dtype), np.full(C, np.nan, dtype), np.full(C, np.nan, dtype)
    exact_slopes = np.empty(shape), np.empty(C), np.empty(C)
    mean64, var64 = mean.astype("float64"), var.astype("float64")
    run("layer_norm_backward", x, gamma, mean, var, dy, *slopes, EPSILON)
    reference.layer_norm_backward(exact[0], exact[1], mean64, var64, exact[3], *exact_slopes, EPSILON)
    depths = depth_of_rows(C), depth_of_columns(B, C)
    check_backward(assert_close, *depths, 1, 1.0, x, mean64, var64, dy, abs(exact[1]), slopes, exact_slopes)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # the simulator computes with NumPy
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("M", [4, 300])
def test_a_constant_input_has_variance_zero_and_a_nan_stays_in_its_group(run, dtype, M):
    x = np.full((2, M, 3), 300.1, dtype)
    gamma, beta = np.full(3, 2.0, dtype), np.full(3, 0.5, dtype)
    y, mean, var = np.empty_like(x), np.empty((2, 3), dtype), np.empty((2, 3), dtype)
    run("batch_norm_forward", x, gamma, beta, y, mean, var, 1e-5)
    np.testing.assert_array_equal(mean, x[:, 0])
    np.testing.assert_array_equal(var, 0)
    np.testing.assert_array_equal(y, 0.5)
    for bad in (np.nan, np.inf):
        x[1, 2, 0] = bad
        run("batch_norm_forward", x, gamma, beta, y, mean, var, 1e-5)
        touched = np.zeros((2, M, 3), bool)
        touched[1, :, 0] = True
        np.testing.assert_array_equal(np.isnan(y), touched)
        np.testing.assert_array_equal(np.isfinite(mean), ~touched[:, 0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_layer_norm_of_constant_rows_and_of_a_nan(run, dtype):
    x, gamma, beta = np.full((3, 5), -0.3, dtype), np.full(5, 2.0, dtype), np.full(5, 0.5, dtype)
    x[1, 4] = np.nan
    y, mean, var = np.empty_like(x), np.empty(3, dtype), np.empty(3, dtype)
    run("layer_norm_forward", x, gamma, beta, y, mean, var, 1e-5)
    np.testing.assert_array_equal(var, [0, np.nan, 0])
    np.testing.assert_array_equal(y, [[0.5] * 5, [np.nan] * 5, [0.5] * 5])


@pytest.mark.parametrize("shape", [(2, 40, 3), (1, 600, 3)], ids=str)
def test_the_same_bits_at_every_call(run, rng, shape):
    x, gamma, beta, _ = draw(rng, shape, "float32")
    found = []
    for _ in range(2):
        out = np.empty_like(x), *np.empty((2, shape[0], 3), "f4")
        run("batch_norm_forward", x, gamma, beta, *out, EPSILON)
        found.append([a.tobytes() for a in out])
    assert found[0] == found[1]


@pytest.mark.gpu
@pytest.mark.parametrize("shape", [(1, 2**20 + 3, 32), (16, 2**16 - 1, 17), (70001, 8, 16), (66000, 257, 1)], ids=str)
def test_batch_norm_of_large_shapes(run, reference, assert_close, rng, shape):
    batch_norm(run, reference, assert_close, rng, shape, "float32")

"""max_pool.cu and avg_pool.cu against numpy_ref: windows apart and overlapping, channels on packs and not."""

import numpy as np
import pytest

DTYPES = ["float32", "float64"]
SHAPES = [(1, 1, 1, 1), (2, 5, 7, 3), (3, 6, 6, 8), (1, 9, 4, 5), (5, 8, 8, 4)]
WINDOWS = [(1, 1), (2, 2), (2, 3), (1, 3), (3, 2), (3, 1), (4, 3)]


def blocks(x):
    pack = 16 // x.itemsize
    return -(-(x.size // x.shape[-1] * -(-x.shape[-1] // pack)) // 256)


def draw(shifted, shape, dtype, offset, ties):
    rng = np.random.default_rng(shape)
    x = rng.integers(-2, 3, shape) if ties else rng.normal(0, 1, shape)
    return shifted(x.astype(dtype).ravel(), offset).reshape(shape)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("window", "stride"), WINDOWS)
def test_max_pool(launch, shifted, reference, shape, window, stride, offset, dtype):
    if window > min(shape[1:3]):
        window = 1
    N, H, W, C = shape
    OH, OW = (H - window) // stride + 1, (W - window) // stride + 1
    x, sizes = draw(shifted, shape, dtype, offset, ties=True), (*shape, OH, OW, window, stride)
    if x.size > 9:
        x[-1, -1, :2, 0], x[0, 0, 0, -1] = np.nan, -np.inf  # two in one window: the first is the maximum
    y, expected = np.full((N, OH, OW, C), np.nan, dtype), np.empty((N, OH, OW, C), dtype)
    launch(f"max_pool.max_pool2d_forward_{dtype}", blocks(y), x, y, *sizes)
    reference.max_pool2d_forward(x, expected, window, stride)
    np.testing.assert_array_equal(y, expected)
    dy, dx = np.random.default_rng(5).integers(1, 99, y.shape).astype(dtype), np.full_like(x, np.nan)  # exact sums
    exact = np.empty_like(x)
    reference.max_pool2d_backward(x, y, dy, exact, window, stride)
    launch(f"max_pool.max_pool2d_overlapping_{dtype}", blocks(x), x, y, dy, dx, *sizes)
    np.testing.assert_array_equal(dx, exact)
    if window <= stride:
        dx[...] = np.nan
        cells = np.empty((N, -(-H // stride), -(-W // stride), C), dtype)
        launch(f"max_pool.max_pool2d_apart_{dtype}", blocks(cells), x, dy, dx, *sizes, 0)
        np.testing.assert_array_equal(dx, exact)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize(
    ("shape", "lanes"), [((1, 1, 1, 1), 1), ((2, 5, 7, 3), 1), ((3, 33, 9, 20), 4), ((2, 3, 3, 132), 32)]
)
def test_avg_pool(launch, shifted, reference, shape, lanes, offset, dtype):
    N, H, W, C = shape
    x = draw(shifted, shape, dtype, offset, ties=False)
    exact, pack = np.empty((N, C)), 16 // x.itemsize
    reference.global_avg_pool_forward(x.astype(float), exact)
    tiles, allowed = -(-C // (lanes * pack)), (0.5 if dtype == "float32" else 0) * np.finfo(dtype).eps * abs(exact)
    allowed += H * W * np.finfo(float).eps * abs(x).mean((1, 2))
    for name, count, sizes in (("each", -(-N * -(-C // pack) // 256), (N, H * W, C)),
                               ("block", N * tiles, (H * W, C, tiles, lanes))):  # fmt: skip
        y = shifted(np.full(N * C, np.nan, dtype), offset).reshape(N, C)
        launch(f"avg_pool.avg_pool_{name}_{dtype}", count, x, y, *sizes)
        assert (abs(y - exact) <= allowed).all()
    dx, expected = shifted(np.full(x.size, np.nan, dtype), offset).reshape(shape), np.empty(shape, dtype)
    launch(f"avg_pool.avg_pool_back_{dtype}", blocks(x), y, dx, N, H * W, C)
    reference.global_avg_pool_backward(y, expected)
    np.testing.assert_array_equal(dx, expected)

"""The matrix product: its four versions, all layouts and tiles, and the sums of columns."""

from types import SimpleNamespace

import numpy as np
import pytest

LAYOUTS = ["along", "across"]
pytestmark = pytest.mark.numba_cuda


def unit(dtype):
    """Half an eps: what one rounding costs. Twice in float64, where the reference is no more exact than the kernel."""
    return np.finfo(dtype).eps / (2 if dtype == "float32" else 1)


@pytest.fixture(scope="module")
def cuda():
    """The modules under test, imported where the simulator can be."""
    from refplay.kernels.numba_cuda import device, operands, product, product4, sums

    return SimpleNamespace(device=device, operands=operands, product=product, product4=product4, sums=sums)


def drawn(rng, rows, depth, columns, dtype):
    """Return x, w and b; none of their sums is small by chance, and each term counts."""
    return [rng.normal(0.3, 1.0, shape).astype(dtype) for shape in ((rows, depth), (depth, columns), columns)]


def hold(assert_close, y, x, w, b, dtype):
    x, w, b = (a.astype("float64") for a in (x, w, b))
    assert_close(y, x @ w + b, (x.shape[1] + 1) * unit(dtype) * (abs(x) @ abs(w) + abs(b)))


@pytest.mark.parametrize(
    ("version", "dtype"), [(1, "float32"), (1, "float64"), (2, "float32"), (2, "float64"), (3, "float32")]
)
@pytest.mark.parametrize("shape", [(1, 1, 1), (15, 17, 16), (16, 16, 17), (3, 41, 37)])
def test_each_version_is_within_the_rounding_of_its_sums(cuda, gpu, rng, assert_close, version, shape, dtype):
    x, w, b = drawn(rng, *shape, dtype)
    hold(assert_close, product_of(cuda, gpu, version, x, w, b), x, w, b, dtype)


def test_a_version_without_b_adds_none(cuda, gpu, rng):
    x, w, _ = drawn(rng, 2, 3, 4, "float32")
    results = []
    for version in cuda.product.VERSIONS:
        y = gpu.asarray(np.full((2, 4), np.nan, "float32"))
        cuda.product.product_version(version, gpu.asarray(x), gpu.asarray(w), y)
        results.append(gpu.to_host(y))
    np.testing.assert_allclose(results, [x @ w] * 4, rtol=0, atol=4 * np.finfo("f4").eps * (abs(x) @ abs(w)).max())


@pytest.mark.parametrize("shape", [(129, 9, 3), (5, 8, 130)])
def test_version_3_over_several_blocks(cuda, gpu, rng, assert_close, shape):
    x, w, b = drawn(rng, *shape, "float32")
    hold(assert_close, product_of(cuda, gpu, 3, x, w, b), x, w, b, "float32")


def product_of(cuda, gpu, version, x, w, b):
    """Return what a version computes."""
    y = gpu.asarray(np.full((x.shape[0], w.shape[1]), np.nan, x.dtype))
    cuda.product.product_version(str(version), gpu.asarray(x), gpu.asarray(w), y, gpu.asarray(b))
    return gpu.to_host(y)


def multiply(cuda, gpu, tile, left, right, x, w, b, length, biased=1):
    """Return what version 4 computes in slices of `length`, operands stored as their layouts say."""
    stored_x = x if left == "along" else np.ascontiguousarray(x.T)
    stored_w = w if right == "across" else np.ascontiguousarray(w.T)
    operands = [getattr(cuda.operands, f"matrix_{layout}") for layout in (left, right)]
    kernel = cuda.product4.make_product(cuda.product4.Tile(*tile), *operands)
    (rows, depth), columns, blocks_for = x.shape, w.shape[1], cuda.device.blocks_for
    slices = blocks_for(depth, length)
    high, wide = cuda.product4.Tile(*tile).shape
    blocks = blocks_for(rows, high), blocks_for(columns, wide), slices
    partial = gpu.asarray(np.full((slices * rows, columns), np.nan, x.dtype))
    moved = [gpu.asarray(a) for a in (stored_x, stored_w, b)]
    cuda.device.launch(kernel, blocks, (16, 16), *moved, biased, partial, rows, depth, length, (0,))
    if slices == 1:
        return gpu.to_host(partial)
    y = gpu.asarray(np.full((rows, columns), np.nan, x.dtype))
    cuda.device.launch(cuda.product4.add_slices, blocks_for(rows * columns), 256, partial, y, slices)
    return gpu.to_host(y)


@pytest.mark.parametrize("right", LAYOUTS)
@pytest.mark.parametrize("left", LAYOUTS)
@pytest.mark.parametrize(
    ("tile", "shape", "length"),
    [
        ((1, 1, 16), (1, 1, 1), 16),
        ((1, 1, 16), (17, 33, 16), 48),
        ((1, 1, 16), (16, 37, 5), 16),  # three slices
        ((2, 1, 16), (31, 16, 17), 16),
        ((1, 2, 16), (7, 35, 34), 32),  # two slices
    ],
)
def test_version_4_of_any_layout_and_in_slices(cuda, gpu, rng, assert_close, left, right, tile, shape, length):
    x, w, b = drawn(rng, *shape, "float32")
    hold(assert_close, multiply(cuda, gpu, tile, left, right, x, w, b, length), x, w, b, "float32")
    unread = np.empty(0, "float32")
    hold(assert_close, multiply(cuda, gpu, tile, left, right, x, w, unread, length, 0), x, w, 0 * b, "float32")


@pytest.mark.parametrize(("left", "right"), [("along", "across"), ("along", "along"), ("across", "across")])
@pytest.mark.parametrize("index", range(3))
def test_the_tiles_in_use(cuda, gpu, rng, assert_close, index, left, right):
    tile = list(cuda.product.TILES)[index]
    shape = tile.shape[0] + 1, tile.step + 1, 2
    x, w, b = drawn(rng, *shape, "float32")
    hold(assert_close, multiply(cuda, gpu, tile, left, right, x, w, b, 64), x, w, b, "float32")
    x, w, b = drawn(rng, 2, tile.step - 1, tile.shape[1], "float32")
    hold(assert_close, multiply(cuda, gpu, tile, left, right, x, w, b, 64), x, w, b, "float32")


@pytest.mark.filterwarnings("ignore:invalid value")  # in the simulator, of NumPy
@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_what_is_not_finite_stays_in_its_row_and_column(cuda, gpu, version):
    """Beside the matrix a tile holds other numbers; 0 times infinity would be NaN."""
    x, w, b = np.ones((20, 18), "f4"), np.ones((18, 19), "f4"), np.zeros(19, "f4")
    x[19, 17], w[17, 18] = np.inf, np.inf  # the last of both: what lies outside is taken to be there
    x[7, 2], w[3, 5] = np.nan, np.nan
    y = product_of(cuda, gpu, version, x, w, b)
    expected = np.full((20, 19), 18.0)
    expected[19], expected[:, 18] = np.inf, np.inf
    expected[7], expected[:, 5] = np.nan, np.nan
    np.testing.assert_array_equal(y, expected)


def test_tiles_and_slices_are_chosen_by_the_shape_alone(cuda):
    tile_for, slices_for, smallest = cuda.product.tile_for, cuda.product.slices_for, cuda.product.SMALLEST
    assert tile_for(4096, 4096, 4096, 4).shape == (128, 128)
    assert tile_for(1024, 1024, 1024, 4).shape == (128, 64), "64 blocks of the largest would leave half of a GPU idle"
    assert tile_for(65536, 64, 27, 4).shape == (128, 64)
    assert tile_for(65536, 10, 256, 4) == smallest, "most of a larger tile would be empty"
    assert tile_for(64, 256, 784, 4) == smallest, "few blocks"
    assert tile_for(288, 64, 50176, 4).shape == (128, 64), "few blocks, but long sums"
    assert tile_for(288, 64, 0, 4) == smallest, "which may not be cut"
    assert tile_for(4096, 4096, 4096, 8) == smallest, "doubles"
    for blocks, depth in ((1, 65536), (1, 50000), (3, 50177), (16, 784), (66, 1030)):
        length, slices = slices_for(blocks, depth, smallest)
        assert (slices - 1) * length < depth <= slices * length, "no slice is empty"
        assert length % smallest.step == 0
        assert length >= 256
        assert slices > 1
        assert slices * blocks <= 264
    assert slices_for(1, 511, smallest) == (511, 1)
    assert slices_for(67, 10**6, smallest) == (10**6, 1)


def test_which_kernels_are_launched(cuda, gpu, monkeypatch):
    """What has the same result by another kernel, or without slices, would only be slow."""
    from refplay.kernels.numba_cuda import product1, product2, product3
    from refplay.kernels.numba_cuda.patches import every_stride

    launched = []  # kernels, blocks, and of version 4 the rows, the terms of the sum and those of a slice

    def launch(kernel, blocks, _, *given):
        launched.append((kernel, blocks, given[5:8]))

    monkeypatch.setattr(cuda.product, "launch", launch)
    product, layouts = cuda.product.product, (cuda.operands.matrix_along, cuda.operands.matrix_across)
    x, w, y = gpu.empty((130, 9)), gpu.empty((9, 20)), gpu.empty((130, 20))
    for version in cuda.product.VERSIONS[:3]:
        cuda.product.product_version(version, x, w, y)
    assert launched == [(product1.product, (9, 2), ()), (product2.product, (9, 2), ()), (product3.product, (2, 1), ())]

    for rows, columns, depth, tile, blocks, length, whole in (
        (64, 256, 784, (2, 2, 32), (2, 8, 3), 288, (2, 8)),
        (288, 64, 50176, (8, 4, 8), (3, 1, 88), 576, (9, 2)),
    ):
        y = gpu.empty((rows, columns))
        launched.clear()
        product(*layouts, x, w, None, y, depth)  # x and w are not looked at
        kernel = cuda.product4.make_product(cuda.product4.Tile(*tile), *layouts, cuda.product4.same_row)
        adding = cuda.product4.add_slices, cuda.device.blocks_for(rows * columns), ()
        assert launched == [(kernel, blocks, (rows, depth, length)), adding]
        assert cuda.product.partial_results(rows, columns, depth, 4) == blocks[2] * rows * columns
        launched.clear()
        product(*layouts, x, w, None, y, depth, target=every_stride)
        kernel = cuda.product4.make_product(cuda.product.SMALLEST, *layouts, every_stride)
        assert launched == [(kernel, (*whole, 1), (rows, depth, depth))]
    assert cuda.product.partial_results(4096, 4096, 4096, 4) == 0


def test_views_are_made_once_and_anew_for_other_memory(cuda, gpu, monkeypatch):
    """To make one takes as long as a launch; one of scratch memory that has been replaced would keep it from going."""
    matrix, partial = cuda.product.matrix, cuda.product._partial
    images, vector = gpu.zeros((2, 3, 4)), gpu.zeros(5)
    assert (matrix(images).shape, matrix(vector).shape) == ((6, 4), (1, 5))
    assert matrix(images) is matrix(images)
    monkeypatch.setattr(cuda.device, "_scratch", {})
    view = partial(2, 3, "float64")
    assert (view.shape, view.dtype) == ((2, 3), "float64")
    assert partial(2, 3, "float64") is view
    monkeypatch.setattr(cuda.device, "_scratch", {})
    assert partial(2, 3, "float64") is not view


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (7, 32), (33, 31), (31, 33), (64, 5), (601, 2)])
def test_sums_of_columns_are_rounded_once(cuda, gpu, rng, assert_close, shape, dtype):
    x = rng.normal(0.3, 1.0, shape).astype(dtype)
    y = gpu.asarray(np.full((1, shape[1]), np.nan, dtype))
    cuda.sums.sum_rows(gpu.asarray(x), y)
    exact = x.astype("float64")
    bound = shape[0] * np.finfo("float64").eps * abs(exact).sum(axis=0)
    if dtype == "float32":
        bound += unit(dtype) * abs(exact.sum(axis=0))
    assert_close(gpu.to_host(y)[0], exact.sum(axis=0), bound)

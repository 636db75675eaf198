"""The convolution against the reference, within the rounding of its sums."""

import numpy as np
import pytest

# images N, H, W, C; filters R, S, K; stride, padding
LAYERS = [
    ((1, 1, 1, 1), (1, 1, 1), 1, 0),
    ((2, 5, 4, 3), (3, 2, 2), 2, 1),
    ((3, 3, 3, 1), (1, 1, 2), 1, 0),
    ((1, 7, 6, 2), (2, 3, 3), 3, 2),
    ((2, 5, 5, 3), (1, 1, 17), 2, 0),  # pixels between the strides go under no filter
    ((1, 6, 5, 2), (5, 5, 2), 1, 2),
    ((2, 4, 9, 1), (3, 4, 5), 2, 3),
    ((1, 2, 3, 5), (1, 2, 3), 4, 0),  # a stride longer than the image
    ((1, 3, 2, 17), (3, 3, 3), 1, 1),
    ((0, 4, 4, 2), (3, 3, 2), 1, 1),
]


def unit(dtype):
    """Half an eps: what one rounding costs. Twice in float64, where the reference is no more exact than the kernel."""
    return np.finfo(dtype).eps / (2 if dtype == "float32" else 1)


@pytest.fixture
def small_tiles(gpu, monkeypatch):
    """Let a thread own one output: the simulator takes 32 x 32 outputs as long as sixteen tests of 16 x 16."""
    if gpu.__name__.endswith("cupy_cuda"):
        return  # its tiles are small enough
    from refplay.kernels.numba_cuda import product, product4

    monkeypatch.setattr(product, "tile_for", lambda *_: product4.Tile(1, 1, 16))


def drawn(rng, images, filters, stride, padding, dtype):
    (n, h, w, c), (r, s, k) = images, filters
    oh, ow = (h + 2 * padding - r) // stride + 1, (w + 2 * padding - s) // stride + 1
    return [rng.normal(0.3, 1.0, shape).astype(dtype) for shape in (images, (r, s, c, k), k, (n, oh, ow, k))]


def both_passes(call, x, w, b, dy, stride, padding):
    y, dx, dw, db = (np.full_like(a, np.nan) for a in (dy, x, w, b))
    call("conv2d_forward", x, w, b, y, stride, padding)
    call("conv2d_backward", x, w, dy, dx, dw, db, stride, padding)
    return y, dx, dw, db


def compare(run, reference, assert_close, arrays, stride, padding, dtype):
    results = both_passes(run, *arrays, stride, padding)

    def exactly(name, *arguments):
        getattr(reference, name)(*arguments)

    exact = [a.astype("float64") for a in arrays]
    expected = both_passes(exactly, *exact, stride, padding)
    magnitude = both_passes(exactly, *map(abs, exact), stride, padding)
    (r, s, c, k), pixels = arrays[1].shape, arrays[3].size // arrays[3].shape[3]
    terms = r * s * c + 1, r * s * k, pixels, pixels
    for actual, e, m, count in zip(results, expected, magnitude, terms, strict=True):
        assert_close(actual, e, count * unit(dtype) * m)
    return results


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize(
    ("images", "filters", "stride", "padding", "dtype"),
    [(*layer, "float32") for layer in LAYERS] + [(*layer, "float64") for layer in LAYERS[:4]],
)
def test_conv_is_within_the_rounding_of_its_sums(
    run, reference, rng, assert_close, images, filters, stride, padding, dtype
):
    arrays = drawn(rng, images, filters, stride, padding, dtype)
    compare(run, reference, assert_close, arrays, stride, padding, dtype)


@pytest.mark.numba_cuda
@pytest.mark.parametrize(("tile", "channels"), [((8, 8, 8), 2), ((8, 4, 8), 2), ((2, 2, 32), 11)])
def test_conv_with_the_tiles_in_use(run, reference, rng, assert_close, monkeypatch, tile, channels):
    """More numbers than one for each thread, and more taps than a step.

    A thread has 4 pixels in line: of two rows, of two images, and some beyond the last. With 11 channels it also has
    more than one of them.
    """
    from refplay.kernels.numba_cuda import product, product4

    monkeypatch.setattr(product, "tile_for", lambda *_: product4.Tile(*tile))
    arrays = drawn(rng, (2, 3, 4, channels), (3, 2, 3), 1, 1, "float32")
    compare(run, reference, assert_close, arrays, 1, 1, "float32")


@pytest.mark.numba_cuda
@pytest.mark.usefixtures("small_tiles")
def test_long_sums_in_slices_have_the_same_bits_at_each_call(run, reference, rng, assert_close, monkeypatch):
    from refplay.kernels.numba_cuda import product

    monkeypatch.setattr(product, "slices_for", lambda _, depth, __: (16, product.blocks_for(depth, 16)))
    arrays = drawn(rng, (2, 4, 5, 3), (2, 3, 3), 1, 1, "float32")  # all three sums are longer than 16
    first = compare(run, reference, assert_close, arrays, 1, 1, "float32")
    second = both_passes(run, *arrays, 1, 1)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.usefixtures("small_tiles")
def test_without_the_gradient_of_the_input(run, reference, rng):
    x, w, b, dy = drawn(rng, (2, 4, 4, 2), (3, 3, 3), 1, 1, "float64")
    dw, db, dw_, db_ = np.empty_like(w), np.empty_like(b), np.empty_like(w), np.empty_like(b)
    run("conv2d_backward", x, w, dy, None, dw, db, 1, 1)
    reference.conv2d_backward(x, w, dy, None, dw_, db_, 1, 1)
    np.testing.assert_allclose(dw, dw_, rtol=0, atol=32 * np.finfo("f8").eps * abs(dy).sum() * abs(x).max())
    np.testing.assert_allclose(db, db_, rtol=0, atol=32 * np.finfo("f8").eps * abs(dy).sum())


@pytest.mark.usefixtures("small_tiles")
def test_a_nan_reaches_the_pixels_that_see_it_and_no_others(run):
    x, w, b = np.ones((2, 5, 5, 1), "f4"), np.ones((3, 3, 1, 2), "f4"), np.zeros(2, "f4")
    y, dx, dw, db = np.empty((2, 5, 5, 2), "f4"), np.empty_like(x), np.empty_like(w), np.empty_like(b)
    x[1, 0, 0] = np.nan
    run("conv2d_forward", x, w, b, y, 1, 1)
    seen = np.zeros((2, 5, 5), bool)
    seen[1, :2, :2] = True
    np.testing.assert_array_equal(np.isnan(y), np.repeat(seen[..., None], 2, axis=3))
    dy = np.ones_like(y)
    dy[1, 0, 0, 1] = np.nan
    run("conv2d_backward", np.ones_like(x), w, dy, dx, dw, db, 1, 1)
    np.testing.assert_array_equal(np.isnan(dx[..., 0]), seen)
    np.testing.assert_array_equal(np.isnan(db), [False, True])


@pytest.mark.usefixtures("small_tiles")
def test_an_infinity_does_not_become_nan(run):
    """Beside patches and filters a tile holds other numbers, which a 0 in the other tile would not undo."""
    x, w, b = np.ones((2, 5, 5, 1), "f4"), np.ones((3, 3, 1, 2), "f4"), np.zeros(2, "f4")
    y, dx, dw, db = np.empty((2, 5, 5, 2), "f4"), np.empty_like(x), np.empty_like(w), np.empty_like(b)
    x[1, 4, 4] = np.inf  # the last pixel
    run("conv2d_forward", x, w, b, y, 1, 1)
    run("conv2d_backward", x, w, np.ones_like(y), dx, dw, db, 1, 1)
    np.testing.assert_array_equal(y[1, 3:, 3:], np.inf)
    assert np.isfinite(y).sum() == y.size - 8
    np.testing.assert_array_equal(dw[1:, 1:], np.inf)  # the taps that lay on it
    assert np.isfinite(dw).sum() == dw.size - 8

    w[2, 2, 0, 1] = np.inf  # the last tap, and so much padding that all taps lay on each pixel
    x, dx = np.ones((1, 2, 2, 1), "f4"), np.empty((1, 2, 2, 1), "f4")
    run("conv2d_backward", x, w, np.ones((1, 4, 4, 2), "f4"), dx, dw, db, 1, 2)
    np.testing.assert_array_equal(dx, np.inf)

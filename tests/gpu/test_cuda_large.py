"""Products and convolutions large enough for each kind of tile, on a GPU alone: the simulator would take hours."""

import numpy as np
import pytest

from refplay import kernels

# batch, features in and out: the largest tiles, those of half the width, slices of long sums, and no size round
DENSE = [(4099, 1031, 2053), (20011, 67, 61), (67, 20011, 61), (129, 70001, 127), (64, 784, 256)]
# images, filters, stride, padding
LAYERS = [
    ((64, 28, 28, 1), (3, 3, 32), 1, 1),
    ((61, 14, 14, 32), (3, 3, 64), 1, 1),
    ((17, 33, 31, 65), (3, 3, 130), 2, 1),
    ((9, 32, 32, 160), (1, 1, 320), 2, 0),
    ((5, 40, 41, 7), (5, 4, 33), 3, 2),
]
UNIT = np.finfo("float32").eps / 2


@pytest.fixture(scope="module")
def on_cpu():
    return kernels.load("numba")


def shapes_of_conv(images, filters, stride, padding):
    (n, h, w, c), (r, s, k) = images, filters
    oh, ow = (h + 2 * padding - r) // stride + 1, (w + 2 * padding - s) // stride + 1
    return images, (r, s, c, k), (k,), (n, oh, ow, k)


def hold(run, on_cpu, assert_close, name, arrays, more, terms):
    """Compare with float64 on the CPU, within the rounding of sums of so many terms."""
    x, w, b, dy = arrays
    y, dx, dw, db = (np.full_like(a, np.nan) for a in (dy, x, w, b))
    run(f"{name}_forward", x, w, b, y, *more)
    run(f"{name}_backward", x, w, dy, dx, dw, db, *more)

    def exactly(*given):
        x, w, b, dy = given
        results = [np.empty_like(a) for a in (dy, x, w, b)]
        getattr(on_cpu, f"{name}_forward")(x, w, b, results[0], *more)
        getattr(on_cpu, f"{name}_backward")(x, w, dy, *results[1:], *more)
        return results

    exact = [a.astype("float64") for a in arrays]
    for actual, e, m, count in zip((y, dx, dw, db), exactly(*exact), exactly(*map(abs, exact)), terms, strict=True):
        assert_close(actual, e, count * UNIT * m)


@pytest.mark.gpu
@pytest.mark.parametrize(("batch", "n_in", "n_out"), DENSE)
def test_large_dense_layers(run, on_cpu, rng, assert_close, batch, n_in, n_out):
    shapes = (batch, n_in), (n_in, n_out), (n_out,), (batch, n_out)
    arrays = [rng.normal(0.3, 1.0, shape).astype("float32") for shape in shapes]
    hold(run, on_cpu, assert_close, "dense", arrays, (), (n_in + 1, n_out, batch, batch))


@pytest.mark.gpu
@pytest.mark.parametrize(("images", "filters", "stride", "padding"), LAYERS)
def test_large_convolutions(run, on_cpu, rng, assert_close, images, filters, stride, padding):
    shapes = shapes_of_conv(images, filters, stride, padding)
    arrays = [rng.normal(0.3, 1.0, shape).astype("float32") for shape in shapes]
    (r, s, c, k), pixels = shapes[1], np.prod(shapes[3][:3])
    terms = r * s * c + 1, r * s * k, pixels, pixels
    hold(run, on_cpu, assert_close, "conv2d", arrays, (stride, padding), terms)

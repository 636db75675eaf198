"""Products and convolutions on tensor cores: of small whole numbers, which tf32 and bf16 hold, so that nothing rounds.

A fragment in the wrong lane, a swapped operand or a tile too many shows as another number. Without a GPU plain C++ is
in the place of the tensor cores, and these tests are of the code around them.
"""

import re
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.cupy
# batch, inputs, outputs: for each kind of tile, none of them whole
DENSE = [(65, 70, 67), (129, 35, 131), (3, 200, 5)]
LARGE = [(1025, 1031, 515), (131, 20011, 259), (4099, 513, 129)]
# images, filters, stride, padding
CONV = [((3, 9, 8, 5), (3, 3, 35), 1, 1), ((2, 7, 7, 33), (2, 3, 6), 2, 0)]
LARGE_CONV = [((65, 28, 28, 16), (3, 3, 129), 1, 1), ((33, 14, 14, 65), (3, 3, 130), 2, 1)]


def whole(rng, *shapes):
    """Return arrays of whole numbers from -8 to 8: their products and sums stay far below 2^24."""
    return [rng.integers(-8, 9, shape).astype("float32") for shape in shapes]


def check(run, reference, name, precision, arrays, *more):
    from refplay.kernels.cupy_cuda.precision import precision as computing_in

    x, w, b, dy = arrays
    results = []
    for call in (run, lambda name, *a: getattr(reference, name)(*a)):
        y, dx, dw, db = (np.full_like(a, np.nan) for a in (dy, x, w, b))
        with computing_in(precision):
            call(f"{name}_forward", x, w, b, y, *more)
            call(f"{name}_backward", x, w, dy, dx, dw, db, *more)
        results.append((y, dx, dw, db))
    for ours, exact in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, exact)


def dense(run, reference, rng, precision, size):
    batch, n_in, n_out = size
    check(run, reference, "dense", precision, whole(rng, (batch, n_in), (n_in, n_out), n_out, (batch, n_out)))


def conv(run, reference, rng, images, filters, stride, padding):
    (n, h, w, c), (r, s, k) = images, filters
    y = n, (h + 2 * padding - r) // stride + 1, (w + 2 * padding - s) // stride + 1, k
    check(run, reference, "conv2d", "tf32", whole(rng, images, (r, s, c, k), k, y), stride, padding)


@pytest.mark.parametrize("size", DENSE)
@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_dense(run, reference, rng, precision, size):
    dense(run, reference, rng, precision, size)


@pytest.mark.parametrize("layer", CONV)
def test_convolution(run, reference, rng, layer):
    conv(run, reference, rng, *layer)


@pytest.mark.gpu
@pytest.mark.parametrize("size", LARGE)
@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_large_dense(run, reference, rng, precision, size):
    dense(run, reference, rng, precision, size)


@pytest.mark.gpu
@pytest.mark.parametrize("layer", LARGE_CONV)
def test_large_convolution(run, reference, rng, layer):
    conv(run, reference, rng, *layer)


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_factors_are_rounded_and_nothing_else(run, precision):
    """What is below the last bit of a factor is lost, of a bias it is kept."""
    lost = 2.0 ** (-12 if precision == "tf32" else -9)
    x, w, b = np.array([[1 + lost]], "f4"), np.ones((1, 1), "f4"), np.array([lost], "f4")
    y = np.empty((1, 1), "f4")
    from refplay.kernels.cupy_cuda.precision import precision as computing_in

    with computing_in(precision):
        run("dense_forward", x, w, b, y)
    assert y[0, 0] == 1 + lost


def test_the_example_of_the_page_trains_in_another_precision():
    page = Path(__file__).parents[2] / "docs" / "cupy.md"
    (source,) = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    assert "steps=100" in source
    source, weights = source.replace("steps=100", "steps=3"), []
    for text in (source, source.replace('"tf32"', '"float32"')):
        names = {}
        exec(text, names)
        weights.append(names["kernels"].to_host(names["network"].theta))
    assert np.isfinite(weights).all()
    assert 0 < abs(weights[0] - weights[1]).max() < 0.01

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from refplay import kernels
from refplay.kernels.numba_cpu.conv import BLOCK_ROWS

NUMBA = kernels.load("numba")
drawn = settings(derandomize=True, deadline=None, max_examples=80)


def unit(dtype):
    """Half an eps: what one rounding costs. Twice in float64, where the reference is no more exact than the kernel."""
    return np.finfo(dtype).eps / (2 if dtype == "float32" else 1)


def run(backend, x, w, b, dy, stride, padding):
    y, dx, dw, db = (np.full_like(a, np.nan) for a in (dy, x, w, b))
    backend.conv2d_forward(x, w, b, y, stride, padding)
    backend.conv2d_backward(x, w, dy, dx, dw, db, stride, padding)
    return y, dx, dw, db


@drawn
@given(
    image=st.tuples(st.integers(0, 3), st.integers(1, 9), st.integers(1, 9), st.integers(1, 4)),
    filters=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5)),
    stride=st.integers(1, 3),
    padding=st.integers(0, 3),
    dtype=st.sampled_from(["float32", "float64"]),
)
# More pixels than a block has rows: several images in a block, an image over several blocks, a line wider than a block.
@example(image=(7, 9, 11, 2), filters=(3, 2, 3), stride=1, padding=1, dtype="float32")
@example(image=(2, 31, 29, 2), filters=(3, 3, 3), stride=1, padding=1, dtype="float64")
@example(image=(2, 3, BLOCK_ROWS + 5, 1), filters=(2, 3, 2), stride=1, padding=1, dtype="float32")
@example(image=(2, 64, 8, 1), filters=(1, 1, 2), stride=1, padding=0, dtype="float32")
def test_conv_is_within_the_rounding_of_its_sums(reference, assert_close, image, filters, stride, padding, dtype):
    (n, h, w, c), (r, s, k) = image, filters
    assume(r <= h + 2 * padding and s <= w + 2 * padding)
    oh, ow = (h + 2 * padding - r) // stride + 1, (w + 2 * padding - s) // stride + 1
    rng = np.random.default_rng(n + 10 * h + 100 * w)
    arrays = [rng.normal(0.3, 1.0, shape).astype(dtype) for shape in (image, (r, s, c, k), k, (n, oh, ow, k))]
    y, dx, dw, db = run(NUMBA, *arrays, stride, padding)

    exact = [a.astype("float64") for a in arrays]
    expected = run(reference, *exact, stride, padding)
    magnitude = run(reference, *(abs(a) for a in exact), stride, padding)
    terms = r * s * c + 1, r * s * k, n * oh * ow, n * oh * ow
    for actual, e, m, count in zip((y, dx, dw, db), expected, magnitude, terms, strict=True):
        assert_close(actual, e, count * unit(dtype) * m)

    again_w, again_b = np.empty_like(dw), np.empty_like(db)
    NUMBA.conv2d_backward(arrays[0], arrays[1], arrays[3], None, again_w, again_b, stride, padding)
    np.testing.assert_array_equal(again_w, dw)
    np.testing.assert_array_equal(again_b, db)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_nan_reaches_the_pixels_that_see_it_and_no_others(dtype):
    x, w, b, y = np.ones((2, 5, 5, 1), dtype), np.ones((3, 3, 1, 2), dtype), np.zeros(2, dtype), None
    x[1, 0, 0] = np.nan
    y = np.empty((2, 5, 5, 2), dtype)
    NUMBA.conv2d_forward(x, w, b, y, 1, 1)
    seen = np.zeros((2, 5, 5, 2), bool)
    seen[1, :2, :2] = True
    np.testing.assert_array_equal(np.isnan(y), seen)

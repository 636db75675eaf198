"""Convolution, ReLU and max pool in one: held against the three kernels, and against the reference's gradients."""

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from refplay import kernels
from refplay.kernels.numba_cpu import threads
from refplay.kernels.numba_cpu.conv_pool import conv_relu_pool_backward_calls, conv_relu_pool_calls
from refplay.kernels.numba_cpu.convolve import new_frame
from refplay.kernels.numba_cpu.program import launch

NUMBA = kernels.load("numba")
drawn = settings(derandomize=True, deadline=None, max_examples=60)
UNIT = np.finfo("float32").eps / 2


def fused(x, w, b, dp, stride, padding, window, frame=None, want_dx=True):
    """Return p, winners, dx, dw, db of the fused kernels."""
    p, winners, dx, dw, db = np.full_like(dp, np.nan), np.empty(dp.shape, np.uint8), *map(np.empty_like, (x, w, b))
    launch(*conv_relu_pool_calls(x, w, b, p, winners, stride, padding, window, frame))
    launch(*conv_relu_pool_backward_calls(
        x, w, p, winners, dp, dx if want_dx else None, dw, db, stride, padding, window, frame
    ))  # fmt: skip
    return p, winners, dx, dw, db


def separate(x, w, b, dp, stride, padding, window):
    """Return p and the gradient of the convolution's output, by one kernel after the other."""
    oh, ow = ((n + 2 * padding - r) // stride + 1 for n, r in zip(x.shape[1:3], w.shape[:2], strict=True))
    y, p = np.empty((len(x), oh, ow, len(b)), x.dtype), np.empty_like(dp)
    h, dh, dy = map(np.empty_like, (y, y, y))
    NUMBA.conv2d_forward(x, w, b, y, stride, padding)
    NUMBA.relu_forward(y, h)
    NUMBA.max_pool2d_forward(h, p, window, window)
    NUMBA.max_pool2d_backward(h, p, dp, dh, window, window)
    NUMBA.relu_backward(y, h, dh, dy)
    return p, dy


def draw(image, filters, stride, padding, window, rng):
    (n, h, w, c), (r, s, k) = image, filters
    oh, ow = ((size + 2 * padding - taps) // stride + 1 for size, taps in ((h, r), (w, s)))
    shapes = image, (r, s, c, k), (k,), (n, oh // window, ow // window, k)
    return [rng.normal(0.1, 1.0, shape).astype("float32") for shape in shapes]


@drawn
@given(
    image=st.tuples(st.integers(0, 3), st.integers(1, 9), st.integers(1, 9), st.integers(1, 20)),
    filters=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 40)),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    window=st.integers(1, 3),
)
@example(image=(1, 14, 14, 32), filters=(3, 3, 64), stride=1, padding=1, window=2)  # strips of an image
@example(image=(18, 14, 14, 16), filters=(3, 3, 33), stride=1, padding=1, window=2)  # parts of a batch
@example(image=(3, 28, 28, 1), filters=(5, 5, 17), stride=1, padding=2, window=2)  # the gradient written out in full
@example(image=(2, 13, 11, 40), filters=(5, 5, 20), stride=2, padding=2, window=2)  # a block in several pieces
def test_the_block_is_the_three_kernels(reference, assert_close, image, filters, stride, padding, window):
    (n, h, w, _), (r, s, k) = image, filters
    oh, ow = ((size + 2 * padding - taps) // stride + 1 for size, taps in ((h, r), (w, s)))
    assume(min(oh, ow) >= window and r <= h + 2 * padding and s <= w + 2 * padding)
    x, weights, b, dp = draw(image, filters, stride, padding, window, np.random.default_rng(h + 10 * w))
    p, winners, dx, dw, db = fused(x, weights, b, dp, stride, padding, window)
    p_separate, dy = separate(x, weights, b, dp, stride, padding, window)
    np.testing.assert_array_equal(p, p_separate)
    np.testing.assert_array_equal(winners == 255, p == 0)

    exact = [a.astype("float64") for a in (x, weights, dy)]
    expected, magnitude = ([np.empty(a.shape) for a in (dx, dw, db)] for _ in range(2))
    reference.conv2d_backward(*exact, *expected, stride, padding)
    reference.conv2d_backward(*map(abs, exact), *magnitude, stride, padding)
    terms = r * s * k, n * oh * ow, n * oh * ow
    for actual, e, m, count in zip((dx, dw, db), expected, magnitude, terms, strict=True):
        assert_close(actual, e, count * UNIT * m)
    _, _, _, dw_alone, db_alone = fused(x, weights, b, dp, stride, padding, window, want_dx=False)
    np.testing.assert_array_equal(dw_alone, dw)
    np.testing.assert_array_equal(db_alone, db)


@pytest.mark.parametrize("channels", [1, 16])
def test_ties_go_to_the_first_and_a_nan_is_handed_on_but_gets_no_gradient(channels):
    x = np.ones((1, 4, 4, channels), "float32")
    x[0, 0, 0], x[0, 2, 2] = np.nan, -5
    w, b, dp = np.ones((1, 1, channels, 2), "float32"), np.array([0, -100], "float32"), np.ones((1, 2, 2, 2), "float32")
    p, winners, dx, _, db = fused(x, w, b, dp, 1, 0, 2)
    assert np.isnan(p[0, 0, 0]).all()
    np.testing.assert_array_equal(p[0, ..., 0].ravel()[1:], [channels] * 3)
    np.testing.assert_array_equal(p[0, ..., 1].ravel()[1:], [0] * 3)
    np.testing.assert_array_equal(winners[0, ..., 0].ravel(), [255, 0, 0, 1])
    np.testing.assert_array_equal(winners[0, ..., 1].ravel(), [255] * 4)
    np.testing.assert_array_equal(db, [3, 0])
    expected = np.zeros((4, 4))
    expected[0, 2] = expected[2, 0] = expected[2, 3] = 1
    np.testing.assert_array_equal(dx[0, ..., 0], expected)


@pytest.mark.parametrize("n", [1, 5, 17])
def test_neither_threads_nor_a_frame_of_ones_own_change_a_bit(rng, n):
    arrays = draw((n, 12, 10, 8), (3, 3, 35), 1, 1, 2, rng)
    results, before = [], threads.threads()
    try:
        for count in (1, 2, 3):
            threads.set_threads(count)
            results.append(fused(*arrays, 1, 1, 2, frame=new_frame(arrays[0], 1)))
    finally:
        threads.set_threads(before)
    results.append(fused(*arrays, 1, 1, 2))
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)

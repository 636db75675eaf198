import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from refplay import kernels
from refplay.kernels.numba_cpu import threads
from refplay.kernels.numba_cpu.conv import BLOCK_ROWS, conv2d_backward_calls, conv2d_forward_calls
from refplay.kernels.numba_cpu.convolve import new_frame
from refplay.kernels.numba_cpu.program import launch

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


LAYERS = [  # images, filters, stride, padding: every way that tiles, panels, parts and phases are cut
    ((3, 14, 14, 32), (3, 3, 64), 1, 1),
    ((17, 7, 7, 16), (3, 3, 40), 1, 1),
    ((2, 28, 27, 3), (5, 5, 33), 2, 2),
    ((9, 8, 8, 16), (1, 1, 32), 2, 0),
    ((4, 3, 2, 17), (2, 2, 130), 1, 1),
    ((2, 5, 40, 1), (3, 3, 15), 3, 0),
]


@pytest.mark.parametrize(("image", "filters", "stride", "padding"), LAYERS)
def test_layers_agree_with_pytorch(assert_close, image, filters, stride, padding):
    (n, h, w, c), (r, s, k) = image, filters
    oh, ow = (h + 2 * padding - r) // stride + 1, (w + 2 * padding - s) // stride + 1
    rng = np.random.default_rng(n + k)
    arrays = [rng.normal(0.3, 1.0, shape).astype("float32") for shape in (image, (r, s, c, k), k, (n, oh, ow, k))]
    results = run(NUMBA, *arrays, stride, padding)

    def pytorch(x, weights, bias, dy):
        x, weights, bias, dy = (torch.tensor(a.astype("float64")) for a in (x, weights, bias, dy))
        images, kernels_first = x.permute(0, 3, 1, 2).requires_grad_(), weights.permute(3, 2, 0, 1).requires_grad_()
        bias.requires_grad_()
        y = torch.nn.functional.conv2d(images, kernels_first, bias, stride, padding)
        dx, dw, db = torch.autograd.grad(y, (images, kernels_first, bias), dy.permute(0, 3, 1, 2))
        return [a.detach().numpy() for a in (y.permute(0, 2, 3, 1), dx.permute(0, 2, 3, 1), dw.permute(2, 3, 1, 0), db)]

    terms = r * s * c + 1, r * s * k, n * oh * ow, n * oh * ow
    expected, magnitude = pytorch(*arrays), pytorch(*map(abs, arrays))
    for actual, e, m, count in zip(results, expected, magnitude, terms, strict=True):
        assert_close(actual, e, count * unit("float32") * m)


@pytest.mark.parametrize(("image", "filters", "stride", "padding"), LAYERS[:3])
def test_threads_and_a_frame_handed_over_change_no_bit(image, filters, stride, padding):
    (n, h, w, c), (r, s, k) = image, filters
    oh, ow = (h + 2 * padding - r) // stride + 1, (w + 2 * padding - s) // stride + 1
    rng = np.random.default_rng(n + k)
    x, weights, b, dy = (rng.normal(0.3, 1.0, shape).astype("float32")
                         for shape in (image, (r, s, c, k), k, (n, oh, ow, k)))  # fmt: skip
    before, results = threads.threads(), []
    try:
        for count in (1, 2, 3):
            threads.set_threads(count)
            results.append(run(NUMBA, x, weights, b, dy, stride, padding))
    finally:
        threads.set_threads(before)
    y, dx, dw, db = (np.full_like(a, np.nan) for a in (dy, x, weights, b))
    frame = new_frame(x, padding)
    launch(*conv2d_forward_calls(x, weights, b, y, stride, padding, floor=0.0, frame=frame))
    launch(*conv2d_backward_calls(x, weights, dy, dx, dw, db, stride, padding, frame=frame))
    for y_one, *gradients in results:
        np.testing.assert_array_equal(y_one, results[0][0])
        np.testing.assert_array_equal(np.maximum(y_one, 0), y)
        for one, other in zip(gradients, (dx, dw, db), strict=True):
            np.testing.assert_array_equal(one, other)

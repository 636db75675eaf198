"""Convolutions, launched as on a GPU: conv.cu, conv_tf32.cu, against numpy_ref in double.

Each tile, cut into one part and several. Bounds as in test_product_cu: (k + 1) u times the sum of magnitudes, which are
the same convolution of absolute values.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from cuda_on_cpu import cupy_on_cpu
from cuda_on_cpu.cupy_on_cpu import placed, values_of
from cuda_on_cpu.launch import VARIANT, load
from refplay.kernels import numpy_ref

TILES = {
    "float32": ("128x128", "128x64", "128x32", "32x32"),
    "float64": ("64x64",),
    "tf32": ("128x128", "128x32"),
}
CASES = [(precision, tile) for precision, tiles in TILES.items() for tile in tiles]
if VARIANT != "plain":
    CASES = [("float32", "32x32"), ("float64", "64x64"), ("tf32", "128x32")]

# N, H, W, C, K, R, S, stride, padding
SHAPES = [
    (1, 1, 1, 1, 1, 1, 1, 1, 0),
    (2, 7, 5, 3, 5, 3, 3, 1, 1),  # as an image's first layer; nothing is a multiple of 4
    (2, 8, 9, 4, 8, 3, 2, 2, 1),  # filters that are not square; phases of two sizes
    (3, 6, 7, 2, 3, 1, 1, 3, 0),  # pixels that no window holds
    (1, 9, 8, 5, 33, 5, 3, 3, 4),  # more padding than the filter reaches: windows of nothing but zeros
    (2, 5, 5, 36, 36, 3, 3, 1, 1),  # taps and channels past one tile
    (5, 6, 6, 1, 4, 3, 3, 1, 0),  # one channel, no padding
    (1, 3, 3, 4, 4, 3, 3, 5, 1),  # a stride longer than the filter: phases without taps
]
if VARIANT != "plain":
    SHAPES = [SHAPES[2], SHAPES[4]]


@pytest.fixture(scope="module")
def gpu():
    cupy_on_cpu.install()
    from refplay.kernels.cupy_cuda import conv, plan, precision

    return SimpleNamespace(conv=conv, plan=plan, precision=precision)


@pytest.fixture
def force(gpu, monkeypatch):
    def use(name: str, parts: int) -> None:
        def plan(m, n, k, tiles, multiprocessors):
            tile = next(tile for tile in tiles if tile.name == name)
            chunk = max(1, -(-k // (parts * tile.k))) * tile.k
            return gpu.plan.Plan(tile, -(-m // tile.m) * -(-n // tile.n), parts, chunk)

        monkeypatch.setattr(gpu.conv, "plan", plan)

    return use


def to_tf32(x: np.ndarray) -> np.ndarray:
    mantissa, exponent = np.frexp(x.astype(float))
    return np.ldexp(np.copysign(np.floor(abs(mantissa) * 2**11 + 0.5), mantissa), exponent - 11)


def empty_at(offset: int, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    return placed(np.full(shape, np.nan, dtype), offset)


def layer(shape: tuple[int, ...], dtype: str) -> tuple[np.ndarray, ...]:
    n, h, w, c, k, r, s, stride, padding = shape
    rng = np.random.default_rng(shape)
    oh, ow = (h + 2 * padding - r) // stride + 1, (w + 2 * padding - s) // stride + 1
    sizes = ((n, h, w, c), (r, s, c, k), (k,), (n, oh, ow, k))
    return tuple(rng.standard_normal(size).astype(dtype) for size in sizes)


def convolve(backend, x, w, b, dy, stride, padding, empty) -> list[np.ndarray]:
    """Return y, dx, dw, db of a backend, on the host."""
    out = [empty(a.shape) for a in (dy, x, w, b)]
    backend.conv2d_forward(x, w, b, out[0], stride, padding)
    backend.conv2d_backward(x, w, dy, *out[1:], stride, padding)
    return [a if isinstance(a, np.ndarray) else values_of(a) for a in out]


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize(("precision", "tile"), CASES)
def test_convolutions(gpu, force, precision, tile, parts):
    force(tile, parts)
    dtype = "float64" if precision == "float64" else "float32"
    rounded = to_tf32 if precision == "tf32" else lambda a: a.astype(float)
    for shape in SHAPES:
        x, w, b, dy = layer(shape, dtype)
        stride, padding = shape[7:]
        exact = rounded(x), rounded(w), b.astype(float), rounded(dy)
        expected = convolve(numpy_ref, *exact, stride, padding, np.empty)
        expected[3] = dy.astype(float).sum((0, 1, 2))  # which no precision rounds
        magnitudes = convolve(numpy_ref, *map(abs, exact), stride, padding, np.empty)
        magnitudes[3] = abs(dy).astype(float).sum((0, 1, 2))
        lengths = np.array([w[..., 0].size, w[:, :, 0].size, dy[..., 0].size, dy[..., 0].size]) + 1
        for offset in (0, 1) if VARIANT == "plain" else (0,):
            with gpu.precision.precision("tf32" if precision == "tf32" else "float32"):
                arrays = [placed(a, offset) for a in (x, w, b, dy)]
                got = convolve(gpu.conv, *arrays, stride, padding, partial(empty_at, offset, dtype))
            values = zip(["y", "dx", "dw", "db"], got, expected, magnitudes, lengths, strict=True)
            for name, a, reference, magnitude, length in values:
                allowed = length * (np.finfo(dtype).eps / 2 + 4 * np.finfo(float).eps) * 1.001 * magnitude
                assert (abs(np.asarray(a, float) - reference) <= allowed).all(), (name, shape, offset)


@pytest.mark.parametrize("stride", [1, 2])
def test_what_is_no_number_stays_in_its_windows(gpu, force, stride):
    """In images and gradients. An infinite weight may also meet the zeros beside an image, here and there not alike."""
    force("32x32", 2)
    x, w, b, dy = layer((2, 6, 7, 5, 6, 3, 3, stride, 1), "float32")
    x[1, 2, 3, 4], x[0, 0, 6, 1], dy[0, 1, 1, 2], dy[1, 0, 0, 5] = np.nan, np.inf, np.nan, -np.inf
    x[1, 4, 4, 0] = np.nan  # where a tap too many, the first of a row below the filter, would reach it
    with np.errstate(invalid="ignore"):
        expected = convolve(numpy_ref, x, w, b, dy, stride, 1, lambda size: np.empty(size, np.float32))
    got = convolve(gpu.conv, *(placed(a) for a in (x, w, b, dy)), stride, 1, partial(empty_at, 0, "float32"))
    for a, reference in zip(got, expected, strict=True):
        np.testing.assert_array_equal(np.isfinite(a), np.isfinite(reference))


def test_no_gradient_of_images_where_nobody_wants_it(gpu):
    x, w, b, dy = (placed(a) for a in layer(SHAPES[1], "float32"))
    dw, db = (cupy_on_cpu.empty(a.shape, "float32") for a in (w, b))
    gpu.conv.conv2d_backward(x, w, dy, None, dw, db, *SHAPES[1][7:])
    assert np.isfinite(values_of(dw)).all()
    assert np.isfinite(values_of(db)).all()


def test_no_images(gpu):
    x, w, b, dy = (placed(a) for a in layer((0, 7, 5, 3, 5, 3, 3, 1, 1), "float32"))
    _, _, dw, db = convolve(gpu.conv, x, w, b, dy, 1, 1, partial(empty_at, 0, "float32"))
    assert not dw.any()
    assert not db.any()


def test_the_same_bits_at_every_call(gpu):
    x, w, b, dy = (placed(a) for a in layer((4, 9, 9, 3, 7, 3, 3, 2, 1), "float32"))
    first, again = (convolve(gpu.conv, x, w, b, dy, 2, 1, partial(empty_at, 0, "float32")) for _ in "12")
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)


def test_bf16_is_refused_by_name(gpu):
    x, w, b, dy = (placed(a) for a in layer(SHAPES[1], "float32"))
    with gpu.precision.precision("bf16"), pytest.raises(ValueError, match="conv2d_forward: no convolution in bf16"):
        gpu.conv.conv2d_forward(x, w, b, dy, *SHAPES[1][7:])


def test_division_without_dividing():
    """Of numbers around multiples of the divisor, where a rounded reciprocal would go wrong, up to 2^31 - 1."""
    rng = np.random.default_rng(3)
    bits = rng.integers(0, 31, 2000)
    divisors = np.concatenate([np.arange(1, 300), 1 << np.arange(31), (1 << bits) + rng.integers(0, 1 << bits)])
    divisors = np.concatenate([divisors, [(1 << 31) - 1]])
    multiples = rng.integers(0, ((1 << 31) - 1) // divisors + 1) * divisors
    n = np.concatenate([np.clip(multiples + step, 0, (1 << 31) - 1) for step in (-1, 0, 1)]).astype(np.int32)
    d = np.tile(divisors, 3).astype(np.int32)
    quotient, rest = np.zeros_like(n), np.zeros_like(n)
    kernel = load(Path(__file__).with_name("divider.cu")).get_function("divide")
    kernel((-(-n.size // 256),), (256,), (n, d, quotient, rest, n.size))
    np.testing.assert_array_equal(quotient, n // d)
    np.testing.assert_array_equal(rest, n % d)

"""The convolution of images, which is a cross-correlation: the filter is not flipped."""

from __future__ import annotations

from ..contract import Array, PrecisionError
from . import check
from .device import launch, multiprocessors, scratch
from .parts import sum_parts
from .plan import Plan, Tile, plan
from .precision import chosen
from .product import ACTIVATIONS

TILES = {  # as conv.cu and conv_tf32.cu have them
    "float32": (Tile("128x128", 128, 128, 16, 256, 0.76), Tile("128x64", 128, 64, 16, 128, 0.72),
                Tile("128x32", 128, 32, 16, 128, 0.58), Tile("32x32", 32, 32, 16, 64, 0.5)),
    "tf32": (Tile("128x128", 128, 128, 16, 128, 3.0), Tile("128x32", 128, 32, 16, 128, 1.5)),
    "float64": (Tile("64x64", 64, 64, 16, 256, 0.6),),
}  # fmt: skip
FILES = {"float32": "conv", "tf32": "conv_tf32", "float64": "conv"}


def conv2d_forward(x: Array, w: Array, b: Array, y: Array, stride: int, padding: int) -> None:
    """Write y[n,i,j,k] = b[k] + sum_rsc x[n, i stride + r - padding, j stride + s - padding, c] w[r,s,c,k]."""
    check.conv2d_forward(x, w, b, y, stride, padding)
    forward(x, w, b, y, stride, padding)


def forward(
    x: Array, w: Array, b: Array, y: Array, stride: int, padding: int, activation: str = "none", z: Array | None = None
) -> None:
    """Write activation(x * w + b) into `y`, and x * w + b into `z` where it is wanted, as `product.nn`."""
    precision, sizes = _precision("conv2d_forward", x), _sizes(x, w, y, stride, padding)
    act = ACTIVATIONS.index(activation)
    (count, oh, ow, outputs), (r, s, c) = y.shape, w.shape[:3]
    how = plan(count * oh * ow, outputs, r * s * c, TILES[precision], multiprocessors())
    if how.parts == 1:
        _launch("forward", precision, how, how.tiles, x, w, b, z, y, *sizes, how.chunk, 0, act)
    else:
        parts = scratch(how.parts * y.size, x.dtype.name, "conv")
        _launch("forward", precision, how, how.tiles, x, w, None, None, parts, *sizes, how.chunk, y.size, 0)
        sum_parts(parts, how.parts, y, bias=b, activation=act, z=z)


def conv2d_backward(
    x: Array, w: Array, dy: Array, dx: Array | None, dw: Array, db: Array, stride: int, padding: int
) -> None:
    """Write the gradients: of the images by the filters, and of the filters and biases by sums over all windows."""
    check.conv2d_backward(x, w, dy, dx, dw, db, stride, padding)
    precision, sizes = _precision("conv2d_backward", x), _sizes(x, w, dy, stride, padding)
    if dx is not None:
        _input_gradient(precision, w, dy, dx, sizes, stride)
    _filter_gradient(precision, x, dy, dw, db, sizes)


def _input_gradient(precision: str, w: Array, dy: Array, dx: Array, sizes: tuple[int, ...], stride: int) -> None:
    (count, height, width, inputs), (r, s, _, outputs) = dx.shape, w.shape
    pixels = count * -(-height // stride) * -(-width // stride)  # of the largest phase
    taps = -(-r // stride) * -(-s // stride)
    how = plan(pixels * stride**2, inputs, taps * outputs, TILES[precision], multiprocessors())
    tiles = -(-pixels // how.tile.m) * -(-inputs // how.tile.n)
    if how.parts == 1:
        _launch("input_gradient", precision, how, tiles * stride**2, w, dy, dx, tiles, *sizes, how.chunk, 0)
    else:
        parts = scratch(how.parts * dx.size, dx.dtype.name, "conv")
        _launch("input_gradient", precision, how, tiles * stride**2, w, dy, parts, tiles, *sizes, how.chunk, dx.size)
        sum_parts(parts, how.parts, dx)


def _filter_gradient(precision: str, x: Array, dy: Array, dw: Array, db: Array, sizes: tuple[int, ...]) -> None:
    (count, oh, ow, outputs), taps = dy.shape, dw.size // dw.shape[3]
    how = plan(taps, outputs, count * oh * ow, TILES[precision], multiprocessors())
    if how.parts == 1:
        _launch("filter_gradient", precision, how, how.tiles, x, dy, dw, db, *sizes, how.chunk, 0)
    else:
        size = dw.size + outputs  # of a part: dw's values, then db's
        parts = scratch(how.parts * size, dw.dtype.name, "conv")
        _launch("filter_gradient", precision, how, how.tiles, x, dy, parts, parts[dw.size :], *sizes, how.chunk, size)
        sum_parts(parts, how.parts, dw, tail=db)


def _precision(function: str, x: Array) -> str:
    precision = chosen(x.dtype.name)
    if precision not in TILES:
        raise PrecisionError(f"{function}: no convolution in {precision}; float32 and tf32 are there")
    return precision


def _sizes(x: Array, w: Array, y: Array, stride: int, padding: int) -> tuple[int, ...]:
    """Return the sizes as the kernels take them."""
    (count, height, width, inputs), (_, oh, ow, outputs), (r, s) = x.shape, y.shape, w.shape[:2]
    return count, height, width, inputs, oh, ow, outputs, r, s, int(stride), int(padding)


def _launch(function: str, precision: str, how: Plan, tiles: int, a: Array, *arguments: object) -> None:
    kernel = f"{FILES[precision]}.conv_{function}_{how.tile.name}_{a.dtype.name}"
    launch(kernel, (tiles, how.parts), how.tile.threads, a, *arguments)

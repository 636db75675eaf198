"""The matrix products, launched as on a GPU: product.cu, product_tf32.cu, product_bf16.cu, parts.cu.

Each tile, cut into one part and several, over sizes next to its own. A sum of k products, in any order, is within
(k + 1) u of the sum of their magnitudes (Higham, Accuracy and Stability, 3.1: gamma_k, with the bias one more), where
u is half of machine epsilon; so nothing here is a tolerance that was chosen.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from cuda_on_cpu import cupy_on_cpu
from cuda_on_cpu.cupy_on_cpu import placed, values_of
from cuda_on_cpu.launch import VARIANT
from refplay.kernels import numpy_ref


@pytest.fixture(scope="module")
def gpu():
    """The launchers, on the CPU."""
    cupy_on_cpu.install()
    from refplay.kernels.cupy_cuda import dense, plan, precision, product, product_bf16

    return SimpleNamespace(dense=dense, plan=plan, precision=precision, product=product, product_bf16=product_bf16)


@pytest.fixture
def force(gpu, monkeypatch):
    """force(tile name, parts): every product that follows is cut so."""

    def use(name: str, parts: int) -> None:
        def plan(m, n, k, tiles, multiprocessors):
            tile = next(tile for tile in tiles if tile.name == name)
            chunk = max(1, -(-k // (parts * tile.k))) * tile.k
            return gpu.plan.Plan(tile, -(-m // tile.m) * -(-n // tile.n), parts, chunk)

        monkeypatch.setattr(gpu.product, "plan", plan)
        monkeypatch.setattr(gpu.product_bf16, "plan", plan)

    return use


def to_tf32(x: np.ndarray) -> np.ndarray:
    mantissa, exponent = np.frexp(x.astype(float))
    return np.ldexp(np.copysign(np.floor(abs(mantissa) * 2**11 + 0.5), mantissa), exponent - 11)


def to_bf16(x: np.ndarray) -> np.ndarray:
    mantissa, exponent = np.frexp(x.astype(float))
    return np.ldexp(np.round(mantissa * 2**8), exponent - 8)


ROUNDED = {"float32": lambda x: x.astype(float), "float64": lambda x: x.astype(float), "tf32": to_tf32, "bf16": to_bf16}
TILES = {
    "float32": {"128x128": (128, 128), "128x64": (128, 64), "64x64": (64, 64), "32x32": (32, 32)},
    "float64": {"64x64": (64, 64)},
    "tf32": {"128x128": (128, 128), "64x64": (64, 64)},
    "bf16": {"128x256": (128, 256), "128x64": (128, 64), "64x64": (64, 64)},
}
CASES = [(precision, tile) for precision, tiles in TILES.items() for tile in tiles]
if VARIANT != "plain":  # the sanitizers need the code of each precision, not each tile
    CASES = [("float32", "32x32"), ("float64", "64x64"), ("tf32", "64x64"), ("bf16", "64x64")]


def sizes_of(precision: str, tile: str) -> list[tuple[int, int, int]]:
    """Return sizes m, k, n: one, a tile less one, a tile, a tile and one, primes; multiples of 4 and others."""
    m, n = TILES[precision][tile]
    near = [(1, 1, 1), (m + 1, 17, n - 1), (37, 67, 23), (4, 12, 8), (m - 1, 33, n + 4), (m, 64, n)]
    if VARIANT != "plain":
        return [(m + 1, 150 if precision == "bf16" else 35, 20)]  # so many steps that a stage is filled again
    return near[:4] if precision in ("tf32", "bf16") else near  # tensor cores take long on a CPU


def layer(m: int, k: int, n: int, dtype: str, seed: int = 0) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng([seed, m, k, n])
    scale = 10.0 ** rng.uniform(-3, 3, (m, 1))  # rows of different magnitude: a row in the place of another shows
    x, w, b = scale * rng.standard_normal((m, k)), rng.standard_normal((k, n)), rng.standard_normal(n)
    return tuple(a.astype(dtype) for a in (x, w, b, rng.standard_normal((m, n))))


def check(name: str, got: np.ndarray, a: np.ndarray, b: np.ndarray, bias: np.ndarray | float = 0.0) -> None:
    """Check got = a b + bias, of factors that are exact as they stand."""
    u, k = np.finfo(got.dtype).eps / 2, a.shape[1]
    allowed = (k + 1) * u / (1 - (k + 1) * u) * (abs(a) @ abs(b) + abs(bias))
    slack = 4 * (k + 1) * np.finfo(float).eps * (abs(a) @ abs(b))  # of the check itself
    error = abs(np.asarray(got, float) - (a @ b + bias))
    assert (error <= allowed + slack).all(), f"{name}: {np.argwhere(~(error <= allowed + slack))[:5]}"


def run(gpu, precision: str, x, w, b, dy, offset: int = 0) -> tuple[np.ndarray, ...]:
    """Return y, dx, dw, db of a dense layer, on the host."""
    dtype, (m, k), n = x.dtype.name, x.shape, w.shape[1]
    x, w, b, dy = (placed(a, offset) for a in (x, w, b, dy))
    y, dx, dw, db = (placed(np.full(shape, np.nan, dtype), offset) for shape in ((m, n), (m, k), (k, n), (n,)))
    with gpu.precision.precision("float32" if dtype == "float64" else precision):
        gpu.dense.dense_forward(x, w, b, y)
        gpu.dense.dense_backward(x, w, dy, dx, dw, db)
    return tuple(values_of(a) for a in (y, dx, dw, db))


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize(("precision", "tile"), CASES)
def test_dense(gpu, force, precision, tile, parts):
    force(tile, parts)
    dtype, rounded = "float64" if precision == "float64" else "float32", ROUNDED[precision]
    for m, k, n in sizes_of(precision, tile):
        x, w, b, dy = layer(m, k, n, dtype)
        for offset in (0, 1) if VARIANT == "plain" else (0,):  # views may begin at any value
            y, dx, dw, db = run(gpu, precision, x, w, b, dy, offset)
            check(f"y {m, k, n, offset}", y, rounded(x), rounded(w), b.astype(float))
            check(f"dx {m, k, n, offset}", dx, rounded(dy), rounded(w).T)
            check(f"dw {m, k, n, offset}", dw, rounded(x).T, rounded(dy))
            check(f"db {m, k, n, offset}", db[None], np.ones((1, m)), dy.astype(float))


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_every_tile_gives_the_same_bits(gpu, force, precision):
    """Whatever the tile, a sum goes along k in the same order; and the bits are the same at every call."""
    x, w, b, dy = layer(70, 45, 67, precision)
    results = []
    for tile in TILES[precision]:
        force(tile, 1)
        results += [run(gpu, precision, x, w, b, dy), run(gpu, precision, x, w, b, dy)]
    for result in results[1:]:
        for first, again in zip(results[0][:3], result[:3], strict=True):
            np.testing.assert_array_equal(again, first)
        np.testing.assert_array_equal(result[3], results[0][3])


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
@pytest.mark.parametrize("parts", [1, 2])
def test_what_is_no_number_stays_in_its_row_and_column(gpu, force, precision, parts):
    """And beside the matrices there is nothing: memory behind them, and shared memory, are full of NaN."""
    force("64x64", parts)
    x, w, b, dy = layer(33, 50, 35, "float32")
    x[7, 11], w[13, 5], dy[3, 2] = np.nan, np.inf, np.nan
    with np.errstate(invalid="ignore"):
        expected = x @ w + b, dy @ w.T, x.T @ dy, dy.sum(0)
    for got, reference in zip(run(gpu, precision, x, w, b, dy), expected, strict=True):
        np.testing.assert_array_equal(np.isfinite(got), np.isfinite(reference))
        np.testing.assert_array_equal(np.isnan(got), np.isnan(reference))


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("precision", ["float32", "float64", "bf16"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_an_activation_on_the_way_out(gpu, force, activation, precision, parts):
    """Of the very values that the layer without it gives; z takes those."""
    force("64x64", parts)
    dtype = "float64" if precision == "float64" else "float32"
    x, w, b, _ = (placed(a / 8) for a in layer(35, 40, 66, dtype))
    plain, z, y, alone = (cupy_on_cpu.empty((35, 66), dtype) for _ in range(4))
    with gpu.precision.precision("float32" if dtype == "float64" else precision):
        gpu.product.nn(x, w, b, plain)
        gpu.product.nn(x, w, b, y, activation, z)
        gpu.product.nn(x, w, b, alone, activation)
    plain, z, y, alone = (values_of(a) for a in (plain, z, y, alone))
    expected = np.empty(plain.shape)
    getattr(numpy_ref, f"{activation}_forward")(plain.astype(float), expected)
    np.testing.assert_array_equal(z, plain)
    np.testing.assert_array_equal(alone, y)
    # tanhf, erfc: 2 and 4 ulp (CUDA C++ Programming Guide), products and the rounding of arguments some more, which
    # Phi magnifies where its argument is large, by at most its square while the result is not 0 beside the others
    ulp = np.finfo(dtype).eps
    np.testing.assert_allclose(y, expected, rtol=64 * ulp, atol=8 * ulp * (activation == "gelu"))


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
def test_a_batch_of_no_examples(gpu, precision):
    x, w, b, dy = layer(0, 5, 3, "float32")
    y, dx, dw, db = run(gpu, precision, x, w, b, dy)
    assert (y.size, dx.size) == (0, 0)
    assert not dw.any()
    assert not db.any()


SMALL = (np.array([[1.0]], np.float32), np.array([[1 + 2.0**-9]], np.float32), np.zeros(1, np.float32))


def product_of(gpu, inside: str | None) -> float:
    x, w, b = (placed(a) for a in SMALL)
    y = cupy_on_cpu.empty((1, 1), "float32")
    if inside:
        with gpu.precision.precision(inside):
            gpu.dense.dense_forward(x, w, b, y)
    else:
        gpu.dense.dense_forward(x, w, b, y)
    return float(values_of(y)[0, 0])


def test_precision_is_what_the_caller_chose(gpu):
    """float32 unless it says otherwise, whatever happens inside of the block."""
    exact = 1 + 2.0**-9  # has more bits than bf16
    assert product_of(gpu, None) == product_of(gpu, "float32") == product_of(gpu, "tf32") == exact
    assert product_of(gpu, "bf16") == 1
    with pytest.raises(KeyError), gpu.precision.precision("bf16"):
        raise KeyError
    assert product_of(gpu, None) == exact


def test_an_unknown_precision_is_refused(gpu):
    refused = pytest.raises(ValueError, match="precision: 'fp8' is none of float32, tf32, bf16")
    with refused, gpu.precision.precision("fp8"):
        pass


@pytest.mark.parametrize("name", ["tf32", "bf16"])
def test_a_gpu_without_tensor_cores_for_it_is_refused_by_name(gpu, monkeypatch, name):
    monkeypatch.setattr(gpu.precision, "architecture", lambda: 75)
    with pytest.raises(ValueError, match=f"{name} needs compute capability 8.0 .* this GPU has 7.5"):
        product_of(gpu, name)
    assert product_of(gpu, "float32") == 1 + 2.0**-9

"""The dense layer against the reference, within the rounding of its sums."""

import numpy as np
import pytest

DTYPES = ["float32", "float64"]
SHAPES = [(0, 3, 4), (1, 1, 1), (2, 3, 5), (15, 16, 17), (17, 15, 16), (16, 17, 33), (37, 29, 11), (5, 131, 2)]


def unit(dtype):
    """Half an eps: what one rounding costs. Twice in float64, where the reference is no more exact than the kernel."""
    return np.finfo(dtype).eps / (2 if dtype == "float32" else 1)


def drawn(rng, batch, n_in, n_out, dtype):
    shapes = (batch, n_in), (n_in, n_out), (n_out,), (batch, n_out)
    return [rng.normal(0.3, 1.0, shape).astype(dtype) for shape in shapes]


def compare(run, reference, assert_close, x, w, b, dy, dtype, with_dx=True):
    y, dx, dw, db = (np.full_like(a, np.nan) for a in (dy, x, w, b))
    run("dense_forward", x, w, b, y)
    run("dense_backward", x, w, dy, dx if with_dx else None, dw, db)
    x64, w64, b64, dy64 = (a.astype("float64") for a in (x, w, b, dy))
    y64, dx64, dw64, db64 = (np.empty_like(a) for a in (dy64, x64, w64, b64))
    reference.dense_forward(x64, w64, b64, y64)
    reference.dense_backward(x64, w64, dy64, dx64, dw64, db64)
    u, ax, aw, ady = unit(dtype), abs(x64), abs(w64), abs(dy64)
    assert_close(y, y64, (x.shape[1] + 1) * u * (ax @ aw + abs(b64)))
    assert_close(dw, dw64, x.shape[0] * u * (ax.T @ ady))
    assert_close(db, db64, x.shape[0] * u * ady.sum(axis=0))
    if with_dx:
        assert_close(dx, dx64, w.shape[1] * u * (ady @ aw.T))
    else:
        assert np.isnan(dx).all()


@pytest.fixture
def small_tiles(gpu, monkeypatch):
    """Let a thread own two outputs: the simulator is slow. More rows than columns, so that mixing them up is seen."""
    if gpu.__name__.endswith("cupy_cuda"):
        return  # its tiles are small enough
    from refplay.kernels.numba_cuda import product, product4

    monkeypatch.setattr(product, "tile_for", lambda *_: product4.Tile(2, 1, 16))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.usefixtures("small_tiles")
def test_dense_is_within_the_rounding_of_its_sums(run, reference, rng, assert_close, shape, dtype):
    compare(run, reference, assert_close, *drawn(rng, *shape, dtype), dtype, with_dx=shape != SHAPES[3])


def test_dense_with_the_tiles_in_use(run, reference, rng, assert_close):
    compare(run, reference, assert_close, *drawn(rng, 2, 35, 3, "float32"), "float32")


@pytest.mark.numba_cuda
@pytest.mark.usefixtures("small_tiles")
def test_long_sums_in_slices_have_the_same_bits_at_each_call(run, reference, rng, assert_close, monkeypatch):
    from refplay.kernels.numba_cuda import product

    monkeypatch.setattr(product, "slices_for", lambda _, depth, __: (16, product.blocks_for(depth, 16)))
    x, w, b, dy = drawn(rng, 17, 35, 3, "float32")
    compare(run, reference, assert_close, x, w, b, dy, "float32")
    y, again = np.empty_like(dy), np.empty_like(dy)
    run("dense_forward", x, w, b, y)
    run("dense_forward", x, w, b, again)
    np.testing.assert_array_equal(y, again)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("dtype", DTYPES)
def test_dense_overwrites_what_the_outputs_held_and_lets_a_nan_through(run, dtype):
    x, w, b = np.ones((3, 2), dtype), np.ones((2, 4), dtype), np.ones(4, dtype)
    x[1, 0] = np.nan
    y = np.full((3, 4), np.inf, dtype)
    run("dense_forward", x, w, b, y)
    np.testing.assert_array_equal(y, [[3] * 4, [np.nan] * 4, [3] * 4])


def test_an_empty_batch_has_gradients_of_zero(run):
    w, b = np.ones((2, 4), "f4"), np.ones(4, "f4")
    dw, db = np.full_like(w, np.nan), np.full_like(b, np.nan)
    none = np.empty((0, 2), "f4")
    run("dense_backward", none, w, np.empty((0, 4), "f4"), np.empty((0, 2), "f4"), dw, db)
    assert not dw.any()
    assert not db.any()

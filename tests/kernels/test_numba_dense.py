import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refplay import kernels

NUMBA = kernels.load("numba")
drawn = settings(derandomize=True, deadline=None, max_examples=60)
dtypes = st.sampled_from(["float32", "float64"])


def unit(dtype):
    """Half an eps: what one rounding costs. Twice in float64, where the reference is no more exact than the kernel."""
    return np.finfo(dtype).eps / (2 if dtype == "float32" else 1)


@drawn
@given(
    batch=st.integers(0, 9), n_in=st.integers(1, 40), n_out=st.integers(1, 19), dtype=dtypes, with_dx=st.booleans(),
    seed=st.integers(0, 9),
)  # fmt: skip
def test_dense_is_within_the_rounding_of_its_sums(reference, assert_close, batch, n_in, n_out, dtype, with_dx, seed):
    rng = np.random.default_rng(seed)
    x, w, b, dy = (
        rng.normal(0.3, 1.0, shape).astype(dtype) for shape in ((batch, n_in), (n_in, n_out), n_out, (batch, n_out))
    )
    y, dx, dw, db = (np.full_like(a, np.nan) for a in (dy, x, w, b))
    NUMBA.dense_forward(x, w, b, y)
    NUMBA.dense_backward(x, w, dy, dx if with_dx else None, dw, db)

    x64, w64, b64, dy64 = (a.astype("float64") for a in (x, w, b, dy))
    y64, dx64, dw64, db64 = (np.empty_like(a) for a in (dy64, x64, w64, b64))
    reference.dense_forward(x64, w64, b64, y64)
    reference.dense_backward(x64, w64, dy64, dx64, dw64, db64)
    u, ax, aw, ady = unit(dtype), abs(x64), abs(w64), abs(dy64)
    assert_close(y, y64, (n_in + 1) * u * (ax @ aw + abs(b64)))
    assert_close(dw, dw64, batch * u * (ax.T @ ady))
    assert_close(db, db64, batch * u * ady.sum(axis=0))
    if with_dx:
        assert_close(dx, dx64, n_out * u * (ady @ aw.T))
    else:
        assert np.isnan(dx).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dense_overwrites_what_the_outputs_held_and_lets_a_nan_through(dtype):
    x, w, b = np.ones((3, 2), dtype), np.ones((2, 4), dtype), np.ones(4, dtype)
    x[1, 0] = np.nan
    y = np.full((3, 4), np.inf, dtype)
    NUMBA.dense_forward(x, w, b, y)
    np.testing.assert_array_equal(y, [[3] * 4, [np.nan] * 4, [3] * 4])

"""Long arrays begin with a line of the cache, each elsewhere in its page; otherwise they are as the reference's."""

import numpy as np
import pytest

from refplay import kernels
from refplay.kernels.numba_cpu import array
from refplay.kernels.numba_cpu.array import LINE, PAGE

NUMBA = kernels.load("numba")
LONG = 2**14


@pytest.fixture(autouse=True)
def _what_is_long(monkeypatch):
    monkeypatch.setattr(array, "LONG", LONG)


@pytest.mark.parametrize("make", [NUMBA.zeros, NUMBA.empty])
def test_long_arrays_begin_with_a_line_and_64_of_them_at_64_places(make):
    arrays = [make(LONG // 4) for _ in range(PAGE // LINE)]
    places = [a.ctypes.data % PAGE for a in arrays]
    assert sorted(places) == list(range(0, PAGE, LINE))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
@pytest.mark.parametrize("shape", [(), 0, 7, (3, 0), LONG // 4 - 1, LONG // 4, (5, 7, 911)])
def test_shape_dtype_and_zeros_are_those_of_the_reference(shape, dtype, reference):
    found, expected = NUMBA.zeros(shape, dtype), reference.zeros(shape, dtype)
    np.testing.assert_array_equal(found, expected, strict=True)
    assert found.flags.carray
    assert NUMBA.empty(shape, dtype).shape == expected.shape
    found[...] = 1
    assert found.sum() == found.size


def test_the_place_of_a_vector_changes_no_bit_of_an_update(rng):
    n = LONG // 4 + 5
    theta, g, m, v = rng.normal(size=(4, n)).astype(np.float32) ** 2
    found = []
    for make in (np.zeros, NUMBA.zeros, NUMBA.zeros):
        vectors = [make(n, "float32") for _ in range(4)]
        for vector, values in zip(vectors, (theta, g, m, v), strict=True):
            vector[:] = values
        NUMBA.adam(*vectors, 3, 1e-3, 0.9, 0.99, 1e-8)
        found.append([vector.tobytes() for vector in vectors])
    assert found[0] == found[1] == found[2]

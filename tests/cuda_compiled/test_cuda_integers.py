"""Integers as Numba types them: the simulator computes with NumPy's, which wrap and mix by other rules.

Numba-CUDA types as Numba does for the CPU, where the same source can be run: a mix of int64 and uint64 is a float64.
"""

import numpy as np
import pytest
from numba import njit

from refplay.kernels.numba_cuda.dropout import philox
from refplay.kernels.philox import philox4x32


@pytest.mark.parametrize("block", [0, 1, 2**32 - 1, 2**32, 2**40 + 7, 2**64 - 1])
@pytest.mark.parametrize("seed", [0, 2**63 + 2**31 + 1, 2**64 - 1])
def test_philox_as_numba_compiles_it(block, seed):
    step, layer = 2**32 - 1, 5
    counter = np.uint32(step), np.uint32(layer)
    words = njit(philox.py_func)(np.uint64(block), counter, (np.uint32(seed % 2**32), np.uint32(seed >> 32)))
    assert all(type(word) is int for word in words)  # Numba's box of an unsigned integer
    # Python's integers, which do not wrap
    expected = philox4x32((block % 2**32, block >> 32, step, layer), (seed % 2**32, seed >> 32))
    assert list(words) == list(expected)

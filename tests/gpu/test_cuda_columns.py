"""Sums and maxima along the rows and columns of the threads of a block, one after the other in the same memory."""

import numpy as np
import pytest

BLOCK = 256
pytestmark = pytest.mark.numba_cuda


@pytest.mark.parametrize("columns", [1, 2, 8, 32, 256])
def test_sums_and_maxima_of_rows_and_columns(gpu, rng, columns):
    global cuda  # not a local name: the simulator puts its own in the place of a kernel's global one
    from refplay.kernels.numba_cuda.columns import column_sum, row_max, row_sum
    from refplay.kernels.numba_cuda.device import cuda, kernel, launch

    @kernel
    def reduce(x, found):
        values = cuda.shared.array(BLOCK, x.dtype)
        i, j = cuda.threadIdx.y, cuda.threadIdx.x
        for k in range(2):
            found[3 * k, i, j] = row_max(x[k, i, j], values, columns)
            found[3 * k + 1, i, j] = row_sum(x[k, i, j], values, columns)
            found[3 * k + 2, i, j] = column_sum(x[k, i, j], values)
            found[6 + k, i, j] = row_max(x[k, i, j] + 1, values, columns)

    x = rng.integers(-99, 99, (2, BLOCK // columns, columns)).astype("f4")  # whole numbers: no sum is rounded
    found = gpu.zeros((8, *x.shape[1:]))
    launch(reduce, 1, (columns, BLOCK // columns), gpu.asarray(x), found)
    found = gpu.to_host(found)
    for k in range(2):
        largest = np.broadcast_to(x[k].max(axis=1, keepdims=True), x[k].shape)
        np.testing.assert_array_equal(found[3 * k], largest)
        np.testing.assert_array_equal(found[3 * k + 1], np.broadcast_to(x[k].sum(axis=1, keepdims=True), x[k].shape))
        np.testing.assert_array_equal(found[3 * k + 2], np.broadcast_to(x[k].sum(axis=0), x[k].shape))
        np.testing.assert_array_equal(found[6 + k], largest + 1)


def test_two_sums_of_a_block_one_after_the_other(gpu, rng):
    global cuda  # as above
    from refplay.kernels.numba_cuda.device import cuda, kernel, launch
    from refplay.kernels.numba_cuda.reduce import block_sum

    @kernel
    def reduce(x, found):
        values = cuda.shared.array(BLOCK, x.dtype)
        for k in range(2):
            found[k, cuda.threadIdx.x] = block_sum(x[k, cuda.threadIdx.x], values)

    x = rng.integers(-99, 99, (2, BLOCK)).astype("f8")
    found = gpu.zeros((2, BLOCK), "float64")
    launch(reduce, 1, BLOCK, gpu.asarray(x), found)
    np.testing.assert_array_equal(gpu.to_host(found), np.broadcast_to(x.sum(axis=1, keepdims=True), x.shape))

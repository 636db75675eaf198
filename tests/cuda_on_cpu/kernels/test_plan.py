"""How products are cut into blocks: all of k, nothing empty, and enough blocks for the GPU where the work is enough."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cuda_on_cpu import cupy_on_cpu

cupy_on_cpu.install()

from refplay.kernels.cupy_cuda import conv, product, product_bf16  # noqa: E402
from refplay.kernels.cupy_cuda.plan import LONGEST_CHUNK, plan  # noqa: E402

TABLES = [*product.TILES.values(), *conv.TILES.values(), product_bf16.TILES]
SIZE = st.integers(0, 40) | st.integers(1, 1 << 24) | st.sampled_from([1 << 31, 3 << 31])


@given(st.sampled_from(TABLES), SIZE, SIZE, SIZE, st.sampled_from([1, 4, 30, 132]))
def test_parts_cover_k_and_none_is_empty(tiles, m, n, k, multiprocessors):
    how = plan(m, n, k, tiles, multiprocessors)
    assert how.tile in tiles
    assert how.chunk % how.tile.k == 0
    assert how.chunk <= LONGEST_CHUNK
    assert how.parts * how.chunk >= k
    assert (how.parts - 1) * how.chunk < max(k, 1)
    assert how.tiles == -(-m // how.tile.m) * -(-n // how.tile.n)


@pytest.mark.parametrize(
    ("m", "n", "k"),
    [(64, 256, 784), (64, 1024, 1024), (64, 784, 1024), (784, 1024, 64), (256, 256, 8192), (1, 1024, 1024)],
)
def test_a_small_batch_reaches_most_of_a_gpu(m, n, k):
    how = plan(m, n, k, product.TILES["float32"], 132)
    assert how.tiles * how.parts >= 66


@pytest.mark.parametrize(
    ("taps", "outputs", "pixels"), [(9, 32, 512 * 28 * 28), (288, 64, 512 * 14 * 14), (25, 6, 1 << 20)]
)
def test_a_filter_gradient_of_few_tiles_fills_a_gpu(taps, outputs, pixels):
    how = plan(taps, outputs, pixels, conv.TILES["float32"], 132)
    assert how.tiles * how.parts * how.tile.threads >= 0.9 * 132 * 256


@given(st.sampled_from(TABLES), *[st.integers(1, 1 << 13)] * 3, st.sampled_from([1, 4, 30, 132]))
def test_parts_take_no_more_memory_than_a_few_times_the_operands(tiles, m, n, k, multiprocessors):
    how = plan(m, n, k, tiles, multiprocessors)
    assert how.parts == 1 or how.parts * m * n <= 6 * (m * k + k * n)


@pytest.mark.parametrize("size", [2048, 4096, 6144, 8192])
def test_a_large_product_is_not_cut(size):
    """Not even 6144, where two parts would fill the last of 18 rounds of blocks: the estimate gains less than 1 %."""
    how = plan(size, size, size, product.TILES["float32"], 132)
    assert (how.tile.name, how.parts) == ("128x128", 1)

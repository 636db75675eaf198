"""block_sum.cuh by itself, several sums in a row: whole numbers, whose sums are exact in any order."""

from pathlib import Path

import numpy as np
import pytest

from cuda_on_cpu.launch import load


@pytest.mark.parametrize("threads", [32, 96, 1024])
def test_sums_in_a_row(threads: int) -> None:
    x = np.random.default_rng(threads).integers(-(2**40), 2**40, (3, threads)).astype(float)
    out = np.full((3, threads), np.nan)
    kernel = load(Path(__file__).with_name("block_sum.cu")).get_function(f"sums_{threads}")
    kernel((1,), (threads,), (x, out, np.int32(3)))
    np.testing.assert_array_equal(out[:, :32], np.repeat(x.sum(1), 32).reshape(3, 32))  # the first warp has the sum
    assert not out[:, 32:].any()

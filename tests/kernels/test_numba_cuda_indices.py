"""Index arithmetic of the GPU kernels as a compiler sees it: the simulator has another, of numbers without a width.

Compiled for the CPU by Numba, whose rules for integers are those of numba-cuda.
"""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numba import njit

SOURCE = Path(__file__).parents[2] / "kernels" / "numba_cuda" / "indices.py"
LARGEST = 2**32 - 1


def functions(simulated):
    """Return the functions of indices.py, without numba-cuda."""
    line = "from .device import SIMULATED, device_function\n"
    source = SOURCE.read_text()
    assert source.count(line) == 1
    space = {"SIMULATED": simulated, "device_function": njit}
    exec(compile(source.replace(line, ""), SOURCE, "exec"), space)
    return SimpleNamespace(**space)


@pytest.fixture(scope="module")
def compiled():
    return functions(simulated=False)


@pytest.fixture(scope="module")
def strict():
    return functions(simulated=True)


def test_compiled_and_simulated_agree(compiled, strict):
    rng = np.random.default_rng(7)
    for i, n in [(0, 1), (1, 1), (5, 5), (4, 5), (LARGEST, 7), (LARGEST, LARGEST), (LARGEST - 1, LARGEST),
                 *rng.integers(1, 2**32, (50, 2)).tolist()]:  # fmt: skip
        for name in ("nearest", "inside", "split"):
            assert getattr(compiled, name)(i, n) == getattr(strict, name)(i, n), (name, i, n)
        assert compiled.natural(i) == strict.natural(i) == i


@pytest.mark.parametrize("i", [-1, -7, -(2**31)])
def test_a_negative_number_is_outside(compiled, strict, i):
    assert not compiled.inside(i, 2**31 - 1)
    assert not strict.inside(i, 2**31 - 1)
    with pytest.raises(OverflowError):
        strict.natural(i)


def test_values_by_hand(compiled):
    assert [compiled.nearest(i, 3) for i in (0, 1, 2, 3, 9)] == [0, 1, 2, 2, 2]
    assert [compiled.inside(i, 3) for i in (-1, 0, 2, 3)] == [False, True, True, False]
    assert compiled.split(17, 5) == (3, 2)


@pytest.mark.parametrize("i", [LARGEST + 1, 2**40])
def test_a_number_of_more_than_32_bits_is_none(strict, i):
    with pytest.raises(OverflowError):
        strict.natural(i)

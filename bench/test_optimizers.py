"""Times of update rules over vectors in and out of cache: python -m pytest bench/test_optimizers.py."""

import pytest
from rule_cases import rule

from refplay.optim import RULES


@pytest.mark.parametrize("size", [2**16, 2**20, 2**25])
@pytest.mark.parametrize("name", RULES)
def test_rule(benchmark, name, size):
    call = rule("ours", name, size).call
    call()  # compiles
    benchmark(call)

"""The GPU kernels of CuPy, compiled by g++ for the CPU, in a process of their own, where that is the GPU."""

import pytest


@pytest.mark.parametrize("beside", ["cupy"], indirect=True)
def test_the_contract_and_trainings_on_the_cpu(beside, passed):
    """All of tests/gpu passes; nothing is skipped."""
    assert passed(beside) > 1500

"""Both backends, and gradients that no mistake can hide behind."""

import numpy as np
import pytest

from refplay.kernels import load


@pytest.fixture(params=["numpy", "numba"])
def kernels(request):
    return load(request.param)


@pytest.fixture
def oracle():
    """The NumPy backend."""
    return load("numpy")


@pytest.fixture
def course():
    """12 gradients of 5 parameters, magnitudes 0.5 to 2, both signs; starting point; a learning rate that changes."""
    rng = np.random.default_rng(20263)
    g = rng.uniform(0.5, 2, (12, 5)) * rng.choice([-1, 1], (12, 5))
    theta = rng.uniform(1, 3, 5) * rng.choice([-1, 1], 5)
    return theta, g, [0.1 * 0.8**t for t in range(12)]

"""The six rules in steps done by hand. Against their equations, run with 50 digits: tests/verify/test_equations.py."""

import numpy as np
import pytest

from refplay.optim import RULES

# Steps that can be done by hand: the settings make every root rational.
BY_HAND = [
    ("sgd", 0.5, {}, [3.0], [5 - 1.5]),
    ("momentum", 0.5, {"momentum": 0.75}, [4.0, 2.0], [5 - 2, 3 - 0.5 * (3 + 2)]),
    ("nesterov", 0.5, {"momentum": 0.75}, [4.0, 2.0], [5 - 0.5 * 7, 1.5 - 0.5 * (0.75 * 5 + 2)]),
    # v = 3/4 + 9/4 = 3, sqrt(3 + 1) = 2, m = 3/4; then g^2 = 3 keeps v = 9/4 + 3/4 = 3, and m = 3/8 + sqrt(3)/4
    ("rmsprop", 0.5, {"momentum": 0.5, "rho": 0.75, "epsilon": 1.0}, [3.0, np.sqrt(3)],
     [5 - 0.75, 4.25 - (0.375 + np.sqrt(3) / 4)]),
    # m = 2, v = 4, b = (1/2) / (1/2) = 1; then g = 2: m = 2, v = 4, b = sqrt(7)/4 / (3/4) = sqrt(7)/3
    ("adam", 1.0, {"beta1": 0.5, "beta2": 0.75, "epsilon": 2.0}, [4.0, 2.0], [5 - 0.5, 4.5 - np.sqrt(7) / 6]),
    ("nadam", 1.0, {"beta1": 0.5, "beta2": 0.75, "epsilon": 2.0}, [4.0, 2.0], [5 - 0.75, 4.25 - np.sqrt(7) / 6]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "lr", "hyperparameters", "gradients", "expected"), BY_HAND)
def test_steps_done_by_hand(name, lr, hyperparameters, gradients, expected, kernels):
    theta = kernels.asarray(np.array([5.0]))
    state = RULES[name].init(theta, kernels)
    for g, after in zip(gradients, expected, strict=True):
        state = RULES[name].update(theta, kernels.asarray(np.array([g])), state, lr=lr, **hyperparameters,
                                   kernels=kernels)
        # six roundings on values of at most 5 and the rounding of the expected value
        assert abs(kernels.to_host(theta)[0] - after) <= 8 * 5 * np.finfo(np.float64).eps

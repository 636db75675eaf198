"""The rules against PyTorch where it does the same, or can be brought to by a stated change of its arguments."""

import math

import numpy as np
import pytest
import torch

from refplay.kernels import load
from refplay.optim import RULES
from refplay.optim.adaptive import Moments

EPS = np.finfo(np.float64).eps


def ours(name, course, state=None, **hyperparameters):
    kernels = load("numpy")
    theta, gradients, rates = course
    theta, rule = theta.copy(), RULES[name]
    state = state or rule.init(theta, kernels)
    for g, lr in zip(gradients, rates, strict=True):
        state = rule.update(theta, g, state, lr=lr, **hyperparameters, kernels=kernels)
    return theta


def theirs(optimizer, parameter, course, before_step=lambda group, t: None):
    _, gradients, rates = course
    (group,) = optimizer.param_groups
    for t, (g, lr) in enumerate(zip(gradients, rates, strict=True)):
        group["lr"] = lr
        before_step(group, t)
        parameter.grad = torch.tensor(g)
        optimizer.step()
    return parameter.detach().numpy()


def parameter_of(course):
    return torch.nn.Parameter(torch.tensor(course[0]))


def agree(a, b, course):
    # Twelve steps of at most 12 roundings each on either side, on values below |theta| + sum of steps (|v| <= 2 / 0.3).
    reach = np.abs(course[0]).max() + sum(course[2]) * 2 / 0.3 * 2
    np.testing.assert_allclose(a, b, rtol=0, atol=2 * 12 * 12 * EPS * reach)


@pytest.mark.parametrize(("name", "keywords"), [
    ("sgd", {}), ("momentum", {"momentum": 0.7}), ("nesterov", {"momentum": 0.7, "nesterov": True}),
])  # fmt: skip
def test_sgd_momentum_nesterov(name, keywords, course):
    parameter = parameter_of(course)
    expected = theirs(torch.optim.SGD([parameter], lr=1, **keywords), parameter, course)
    agree(ours(name, course, **({"momentum": 0.7} if keywords else {})), expected, course)


def test_adam_with_epsilon_moved_behind_the_correction(course):
    parameter = parameter_of(course)

    def move(group, t):
        group["eps"] = 0.1 / math.sqrt(1 - 0.8 ** (t + 1))

    expected = theirs(torch.optim.Adam([parameter], betas=(0.7, 0.8)), parameter, course, move)
    agree(ours("adam", course, beta1=0.7, beta2=0.8, epsilon=0.1), expected, course)


def test_adam_differs_from_torch_at_the_same_epsilon(course):
    parameter = parameter_of(course)
    expected = theirs(torch.optim.Adam([parameter], betas=(0.7, 0.8), eps=0.1), parameter, course)
    assert np.abs(ours("adam", course, beta1=0.7, beta2=0.8, epsilon=0.1) - expected).max() > 1e-3


def test_rmsprop_from_v_of_one_without_epsilon_at_a_constant_rate(course):
    course = (course[0], course[1], [0.1] * 12)  # PyTorch has the rate outside of the buffer
    parameter = parameter_of(course)
    optimizer = torch.optim.RMSprop([parameter], alpha=0.8, eps=0, momentum=0.7)
    optimizer.state[parameter] = {"step": torch.tensor(0.0), "square_avg": torch.ones(5, dtype=torch.float64),
                                  "momentum_buffer": torch.zeros(5, dtype=torch.float64)}
    agree(ours("rmsprop", course, rho=0.8, momentum=0.7, epsilon=0.0), theirs(optimizer, parameter, course), course)


def test_nadam_far_from_the_start(course):
    # After 10^6 steps all corrections are 1 and PyTorch's warmup of beta1 is over: 0.96^(10^6 * 0.004) is 0 in float64
    # beside 1 (1e-71), so that both are the plain numerator over sqrt(v) + epsilon.
    m, v = np.linspace(-1, 1, 5), np.linspace(0.5, 3, 5)
    parameter = parameter_of(course)
    optimizer = torch.optim.NAdam([parameter], betas=(0.7, 0.8), eps=0.1)
    optimizer.state[parameter] = {"step": torch.tensor(1e6), "mu_product": torch.tensor(0.0, dtype=torch.float64),
                                  "exp_avg": torch.tensor(m), "exp_avg_sq": torch.tensor(v)}
    state = Moments(m.copy(), v.copy(), 10**6)
    agree(ours("nadam", course, state, beta1=0.7, beta2=0.8, epsilon=0.1), theirs(optimizer, parameter, course), course)

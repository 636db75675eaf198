"""Weight decay and Polyak averaging against PyTorch."""

import math

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from refplay.errors import InputError
from refplay.optim import RULES, add_l2_gradient, decay_weights, init_average, update_average

EPS = np.finfo(np.float64).eps
DECAYED = 3  # the last two of the five parameters are biases
WEIGHT_DECAY = 0.4
# Twelve steps of at most 15 roundings on either side; parameters, gradients and velocities stay below 32.
TOLERANCE = 2 * 12 * 15 * 32 * EPS


def groups(theta):
    """The five parameters as PyTorch has them: weights that decay, biases that do not."""
    weights, biases = (torch.nn.Parameter(torch.tensor(part)) for part in (theta[:DECAYED], theta[DECAYED:]))
    return weights, biases, [{"params": [weights], "weight_decay": WEIGHT_DECAY},
                             {"params": [biases], "weight_decay": 0.0}]


def theirs(optimizer, weights, biases, course, move=lambda group, t: None):
    for t, (g, lr) in enumerate(zip(course[1], course[2], strict=True)):
        for group in optimizer.param_groups:
            group["lr"] = lr
            move(group, t)
        weights.grad, biases.grad = torch.tensor(g[:DECAYED]), torch.tensor(g[DECAYED:])
        optimizer.step()
    return np.concatenate([weights.detach().numpy(), biases.detach().numpy()])


def ours(name, kernels, course, decoupled, **hyperparameters):
    rule = RULES[name]
    theta = kernels.asarray(course[0].copy())
    state = rule.init(theta, kernels)
    for row, lr in zip(course[1], course[2], strict=True):
        g = kernels.asarray(row.copy())
        if decoupled:
            decay_weights(theta[:DECAYED], lr, WEIGHT_DECAY, kernels=kernels)
        else:
            add_l2_gradient(theta[:DECAYED], g[:DECAYED], WEIGHT_DECAY, kernels=kernels)
        state = rule.update(theta, g, state, lr=lr, **hyperparameters, kernels=kernels)
    return kernels.to_host(theta)


def test_l2_with_nesterov(kernels, course):
    weights, biases, parameters = groups(course[0])
    optimizer = torch.optim.SGD(parameters, lr=1, momentum=0.7, nesterov=True)
    expected = theirs(optimizer, weights, biases, course)
    np.testing.assert_allclose(ours("nesterov", kernels, course, False, momentum=0.7), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("decoupled", [False, True])
def test_with_adam(kernels, course, decoupled):
    weights, biases, parameters = groups(course[0])
    optimizer = (torch.optim.AdamW if decoupled else torch.optim.Adam)(parameters, betas=(0.7, 0.8))

    def move(group, t):  # epsilon behind the bias correction, see test_rules_against_torch
        group["eps"] = 0.1 / math.sqrt(1 - 0.8 ** (t + 1))

    expected = theirs(optimizer, weights, biases, course, move)
    result = ours("adam", kernels, course, decoupled, beta1=0.7, beta2=0.8, epsilon=0.1)
    np.testing.assert_allclose(result, expected, rtol=0, atol=TOLERANCE)


def test_both_are_one_for_sgd_and_two_for_momentum(oracle, course):
    def differ(name):
        return np.abs(ours(name, oracle, course, True) - ours(name, oracle, course, False)).max()

    assert differ("sgd") <= TOLERANCE
    assert differ("momentum") > 1e-3


@pytest.mark.parametrize("call", [
    lambda kernels: add_l2_gradient(np.ones(2), np.ones(2), -0.1, kernels=kernels),
    lambda kernels: decay_weights(np.ones(2), 0.1, -0.1, kernels=kernels),
])  # fmt: skip
def test_negative_weight_decay_is_named(oracle, call):
    with pytest.raises(InputError, match=r"weight_decay = -0\.1"):
        call(oracle)


def averaged(theta_0, iterates, **keywords):
    module = torch.nn.Linear(5, 1, bias=False, dtype=torch.float64)
    average = AveragedModel(module, **keywords)
    for row in ([theta_0] if keywords else []) + list(iterates):
        module.weight.data[:] = torch.tensor(row)
        average.update_parameters(module)
    return average.module.weight.detach().numpy()[0]


def run_average(kernels, theta_0, iterates, **keywords):
    average = init_average(kernels.asarray(theta_0.copy()), kernels)
    for row in iterates:
        average = update_average(kernels.asarray(row.copy()), average, **keywords, kernels=kernels)
    assert average.t == len(iterates)
    return kernels.to_host(average.theta)


def test_moving_average(kernels, course):
    # PyTorch's first update copies, so it starts from theta_0 as the equation does. Three roundings a step, values < 3.
    expected = averaged(course[0], course[1], multi_avg_fn=get_ema_multi_avg_fn(0.83))
    np.testing.assert_allclose(run_average(kernels, course[0], course[1], decay=0.83), expected, rtol=0,
                               atol=2 * 3 * 12 * 3 * EPS)


def test_bias_free_start_is_the_plain_mean_of_what_came_after_the_start(kernels, course):
    # Up to step 5 t / (t + 1) <= 5/6 = decay; PyTorch's own default is the plain mean.
    for steps in range(1, 7):
        result = run_average(kernels, course[0], course[1][:steps], decay=5 / 6, bias_free=True)
        np.testing.assert_allclose(result, averaged(course[0], course[1][:steps]), rtol=0, atol=2 * 4 * 6 * 3 * EPS)
        np.testing.assert_allclose(result, course[1][:steps].mean(axis=0), rtol=0, atol=2 * 4 * 6 * 3 * EPS)


def test_bias_free_average_goes_on_as_a_moving_average(kernels, course):
    result = run_average(kernels, course[0], course[1], decay=0.75, bias_free=True)
    # the mean of the first four, then factors 3/4: weights by hand
    weights = np.array([1 / 4 * 0.75**8] * 4 + [0.25 * 0.75 ** (7 - k) for k in range(8)])
    assert weights.sum() == pytest.approx(1, rel=8 * EPS)
    np.testing.assert_allclose(result, weights @ course[1], rtol=0, atol=2 * 4 * 12 * 3 * EPS)


def test_average_starts_as_a_copy(kernels):
    theta = kernels.asarray(np.array([1.5, -2.5], np.float32))
    average = init_average(theta, kernels)
    assert kernels.to_host(average.theta).tolist() == [1.5, -2.5]
    assert average.theta.dtype == np.float32
    theta[0] = 7.0
    assert kernels.to_host(average.theta).tolist() == [1.5, -2.5]


@pytest.mark.parametrize("decay", [-0.1, 1.0, math.nan, None])
def test_bad_decay_is_named(oracle, decay):
    with pytest.raises(InputError, match="polyak_decay = "):
        update_average(np.ones(2), init_average(np.ones(2), oracle), decay=decay, kernels=oracle)

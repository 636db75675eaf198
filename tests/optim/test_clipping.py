"""CLP1: clipping by the norm of the whole gradient, against its definition and PyTorch."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from refplay.errors import InputError
from refplay.kernels import load
from refplay.optim import clip_by_norm

EPS = np.finfo(np.float64).eps


def gradient(n, seed, dtype="float64"):
    return (np.random.default_rng(seed).normal(0.3, 2, n)).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("threshold", [0.5, 3.0, 1e3])
def test_against_torch_over_all_parameters(kernels, dtype, threshold):
    g = gradient(131, 4, dtype)
    shapes = (7, 9), (60,), (8,)
    parameters = [torch.nn.Parameter(torch.zeros(shape, dtype=getattr(torch, dtype))) for shape in shapes]
    for parameter, part in zip(parameters, np.split(g, [63, 123]), strict=True):
        parameter.grad = torch.tensor(part).reshape(parameter.shape)
    total = torch.nn.utils.clip_grad_norm_(parameters, threshold).item()
    ours = kernels.asarray(g.copy())
    norm = clip_by_norm(ours, threshold, kernels=kernels)
    eps = float(np.finfo(dtype).eps)
    assert norm == pytest.approx(total, rel=131 * eps)  # a sum of 131 squares in the dtype on PyTorch's side
    clipped = np.concatenate([parameter.grad.numpy().ravel() for parameter in parameters])
    # PyTorch divides by norm + 1e-6
    np.testing.assert_allclose(kernels.to_host(ours), clipped, rtol=1e-6 / norm + 131 * eps)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 60), st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3))
def test_clipped_gradient_has_the_norm_of_the_threshold_and_its_old_direction(n, seed, threshold):
    before, g = gradient(n, seed), gradient(n, seed)
    norm = clip_by_norm(g, threshold, kernels=load("numpy"))
    truth = math.sqrt(math.fsum(x * x for x in before.tolist()))
    assert norm == pytest.approx(truth, rel=n * EPS)  # the unclipped norm, clipped or not
    if norm > threshold:
        assert math.sqrt(math.fsum(x * x for x in g.tolist())) == pytest.approx(threshold, rel=(n + 4) * EPS)
        np.testing.assert_allclose(g / threshold, before / truth, rtol=(n + 4) * EPS)
    else:
        np.testing.assert_array_equal(g, before)


def test_norm_equal_to_the_threshold_is_not_clipped(kernels):
    g = kernels.asarray(np.array([3.0, -4.0]))
    assert clip_by_norm(g, 5.0, kernels=kernels) == 5.0
    assert kernels.to_host(g).tolist() == [3.0, -4.0]


def test_infinite_threshold_only_measures(kernels):
    g = kernels.asarray(np.array([3e10, -4e10]))
    assert clip_by_norm(g, math.inf, kernels=kernels) == 5e10
    assert kernels.to_host(g).tolist() == [3e10, -4e10]


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_broken_gradient_stays_visible(kernels, value):
    g = kernels.asarray(np.array([1.0, value, 2.0]))
    assert not math.isfinite(clip_by_norm(g, 0.5, kernels=kernels))
    np.testing.assert_array_equal(kernels.to_host(g), [1.0, value, 2.0])


@pytest.mark.parametrize("threshold", [0, -1.0, math.nan, -math.inf, "1", None])
def test_bad_threshold_is_named(oracle, threshold):
    g = np.array([3.0, -4.0])
    with pytest.raises(InputError, match=r"clip_threshold = .*; give"):
        clip_by_norm(g, threshold, kernels=oracle)
    assert g.tolist() == [3.0, -4.0]

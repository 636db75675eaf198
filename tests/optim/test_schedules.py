"""Schedules against PyTorch's and against closed forms; warmup is prepended; nothing rises after its end."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from refplay.errors import InputError
from refplay.optim import (
    SCHEDULES,
    constant,
    cosine,
    exponential,
    inverse_sqrt,
    linear,
    piecewise,
    with_warmup,
)

EPS = np.finfo(np.float64).eps
BASE, STEPS, FACTOR = 0.3, 40, 0.15


def torch_rates(make, steps):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=BASE)
    scheduler = make(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


scheduler = torch.optim.lr_scheduler
AGAINST_TORCH = [
    (linear(BASE, STEPS, FACTOR), 90,
     lambda o: scheduler.LinearLR(o, start_factor=1, end_factor=FACTOR, total_iters=STEPS)),
    (cosine(BASE, STEPS, FACTOR), STEPS + 1, lambda o: scheduler.CosineAnnealingLR(o, STEPS, eta_min=FACTOR * BASE)),
    (exponential(BASE, STEPS, FACTOR), STEPS + 1, lambda o: scheduler.ExponentialLR(o, FACTOR ** (1 / STEPS))),
    (piecewise(BASE, [7, 20, 33], [0.2, 0.04, 0.008]), 90, lambda o: scheduler.MultiStepLR(o, [7, 20, 33], 0.2)),
    (constant(BASE), 90, lambda o: scheduler.ConstantLR(o, factor=1)),
    (inverse_sqrt(BASE, 8), 90, lambda o: scheduler.LambdaLR(o, lambda t: (1 + t / 8) ** -0.5)),
]  # fmt: skip


@pytest.mark.parametrize(("schedule", "steps", "make"), AGAINST_TORCH,
                         ids=["linear", "cosine", "exponential", "piecewise", "constant", "inverse_sqrt"])
def test_against_torch(schedule, steps, make):
    # PyTorch goes from each rate to the next by a few multiplications, so its error grows with the step: four roundings
    # of values up to the base rate. (Its cosine divides by 1 + cos, small near the end; so is what it multiplies.)
    rates = [schedule(t) for t in range(steps)]
    np.testing.assert_allclose(rates, torch_rates(make, steps), rtol=0, atol=4 * steps * EPS * BASE)


@pytest.mark.parametrize(("make", "half"), [
    (linear, (1 + FACTOR) / 2), (cosine, (1 + FACTOR) / 2), (exponential, math.sqrt(FACTOR)),
])  # fmt: skip
def test_start_middle_end_and_after(make, half):
    schedule = make(BASE, STEPS, FACTOR)
    assert schedule(0) == pytest.approx(BASE, rel=4 * EPS)
    assert schedule(STEPS // 2) == pytest.approx(BASE * half, rel=8 * EPS)
    for step in (STEPS, STEPS + 1, 2 * STEPS, 10**9):
        assert schedule(step) == pytest.approx(BASE * FACTOR, rel=4 * EPS)


def test_cosine_at_a_third():
    # cos(pi / 3) = 1/2: three quarters of the way down are left
    assert cosine(BASE, 30, FACTOR)(10) == pytest.approx(BASE * (FACTOR + (1 - FACTOR) * 0.75), rel=8 * EPS)


def test_default_end_is_zero():
    assert linear(BASE, STEPS)(STEPS) == 0
    assert cosine(BASE, STEPS)(STEPS) == 0
    assert linear(BASE, STEPS)(STEPS - 1) > 0 < cosine(BASE, STEPS)(STEPS - 1)


def test_inverse_sqrt_halves_after_three_timescales():
    schedule = inverse_sqrt(BASE, 100)
    assert [schedule(t) for t in (0, 300, 1500)] == pytest.approx([BASE, BASE / 2, BASE / 4], rel=4 * EPS)


def test_piecewise_changes_at_the_boundary_itself():
    schedule = piecewise(BASE, [3, 5], [0.5, 0.25])
    assert [schedule(t) for t in range(7)] == [BASE] * 3 + [BASE * 0.5] * 2 + [BASE * 0.25] * 2


RATES, LENGTHS, FACTORS = st.floats(1e-6, 10), st.integers(1, 1000), st.floats(1e-3, 1)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.sampled_from([linear, cosine, exponential]), RATES, LENGTHS, FACTORS, st.integers(0, 3000))
def test_decay_never_rises_and_is_constant_after_its_end(make, base, steps, factor, step):
    schedule = make(base, steps, factor)
    assert schedule(step + 1) <= schedule(step) + 4 * EPS * base  # libm's cos and pow are monotonic to an ulp or so
    assert schedule(steps + step) == schedule(steps)
    assert 0 <= schedule(step) <= base * (1 + 4 * EPS)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.sampled_from([linear, cosine, exponential]), RATES, LENGTHS, FACTORS, st.integers(0, 1000),
       st.integers(0, 3000))  # fmt: skip
def test_warmup_is_prepended(make, base, steps, factor, warmup, step):
    schedule = make(base, steps, factor)
    warm = with_warmup(schedule, warmup, base)
    assert warm(warmup + step) == schedule(step)  # the whole schedule, shifted: nothing is cut off
    if step < warmup:
        assert warm(step) == pytest.approx(base * step / warmup, rel=4 * EPS)


def test_ten_thousand_steps_and_a_thousand_of_warmup_make_eleven_thousand():
    schedule = linear(0.5, 10_000)
    warm = with_warmup(schedule, 1_000, 0.5)
    assert warm(0) == 0
    assert warm(500) == 0.25
    assert warm(1_000) == 0.5
    assert warm(10_999) == schedule(9_999) > 0
    assert warm(11_000) == 0
    ramp, whole = sum(map(warm, range(1_000))), sum(map(schedule, range(10_000)))
    assert ramp == pytest.approx(0.5 * 999 / 2, rel=1000 * EPS)
    assert sum(map(warm, range(11_000))) == pytest.approx(ramp + whole, rel=11_000 * EPS)


def test_no_warmup_is_the_schedule():
    assert [with_warmup(cosine(BASE, 9), 0, BASE)(t) for t in range(12)] == [cosine(BASE, 9)(t) for t in range(12)]


def test_table():
    assert set(SCHEDULES) == {"constant", "linear", "cosine", "inverse_sqrt", "exponential", "piecewise"}
    assert SCHEDULES["cosine"] is cosine


@pytest.mark.parametrize(("call", "name"), [
    (lambda: constant(-0.1), "learning_rate = -0.1"),
    (lambda: linear(float("nan"), 10), "learning_rate = nan"),
    (lambda: linear(0.1, 0), "decay_steps = 0"),
    (lambda: cosine(0.1, 2.5), "decay_steps = 2.5"),
    (lambda: cosine(0.1, float("nan")), "decay_steps = nan"),
    (lambda: cosine(0.1, float("inf")), "decay_steps = inf"),
    (lambda: linear(0.1, 10, 1.5), "end_factor = 1.5"),
    (lambda: cosine(0.1, 10, -0.5), "end_factor = -0.5"),
    (lambda: exponential(0.1, 10, 0), "end_factor = 0"),
    (lambda: inverse_sqrt(0.1, 0), "timescale = 0"),
    (lambda: piecewise(0.1, [5, 5], [0.5, 0.2]), "do not increase"),
    (lambda: piecewise(0.1, [5, 3], [0.5, 0.2]), "do not increase"),
    (lambda: piecewise(0.1, [5], [0.5, 0.2]), "1 boundaries and 2 factors"),
    (lambda: piecewise(0.1, [0], [0.5]), "boundaries = 0"),
    (lambda: piecewise(0.1, [5], [-0.5]), "factors = -0.5"),
    (lambda: with_warmup(constant(0.1), -1, 0.1), "warmup_steps = -1"),
    (lambda: with_warmup(constant(0.1), 10, 0.2), "warmup to 0.2 before a schedule that starts with 0.1"),
])  # fmt: skip
def test_bad_arguments_are_named(call, name):
    with pytest.raises(InputError) as caught:
        call()
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)

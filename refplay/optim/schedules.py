r"""Learning rate schedules: functions from the step to the learning rate.

Each function here returns a `Schedule`; step 0 is the first. Those with `decay_steps` = :math:`T` reach their end value
at step T and keep it; none rises again afterwards. The playbook's default is linear or cosine decay ("Which learning
rate decay should I use as a default?").

The equations are what is tested: `refplay.verify.equations` reads them from the docstrings and runs them. The symbol of
each argument is the one that stands with it under Parameters.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise

from refplay.errors import InputError
from refplay.optim.checks import not_negative, whole

Schedule = Callable[[int], float]


def constant(base: float) -> Schedule:
    r"""One learning rate throughout.

    .. math::
        \eta_t = \eta_0

    Parameters
    ----------
    base : float, 0 or above
        :math:`\eta_0`.

    >>> constant(0.1)(1000)
    0.1
    """
    base = not_negative("learning_rate", base)
    return lambda step: base


def linear(base: float, decay_steps: int, end_factor: float = 0.0) -> Schedule:
    r"""Linear decay from the base rate to a part of it.

    .. math::
        \eta_t = \eta_0 \cdot (1 - (1 - f) \min(\frac{t}{T}, 1))

    which is :math:`f \eta_0` from step :math:`T` on.

    Parameters
    ----------
    base : float, 0 or above
        :math:`\eta_0`.
    decay_steps : int, 1 or more
        :math:`T`.
    end_factor : float in [0, 1]
        :math:`f`.

    >>> [linear(0.8, decay_steps=100, end_factor=0.25)(t) for t in (0, 50, 100, 200)]
    [0.8, 0.5, 0.2, 0.2]
    """
    base, decay_steps, end_factor = _check_decay(base, decay_steps, end_factor)
    return lambda step: base * (1 - (1 - end_factor) * min(step / decay_steps, 1.0))


def cosine(base: float, decay_steps: int, end_factor: float = 0.0) -> Schedule:
    r"""Half a cosine from the base rate to a part of it.

    .. math::
        \eta_t = \eta_0 \cdot (f + (1 - f) \frac{1 + \cos(\pi \min(\frac{t}{T}, 1))}{2})

    which is :math:`f \eta_0` from step :math:`T` on.

    Parameters
    ----------
    base : float, 0 or above
        :math:`\eta_0`.
    decay_steps : int, 1 or more
        :math:`T`.
    end_factor : float in [0, 1]
        :math:`f`.

    Notes
    -----
    Paper: I. Loshchilov and F. Hutter (2017), "SGDR", without restarts.

    >>> [round(cosine(0.8, decay_steps=100, end_factor=0.25)(t), 6) for t in (0, 25, 50, 100, 200)]
    [0.8, 0.712132, 0.5, 0.2, 0.2]
    """
    base, decay_steps, end_factor = _check_decay(base, decay_steps, end_factor)

    def schedule(step: int) -> float:
        fraction = min(step / decay_steps, 1.0)
        return base * (end_factor + (1 - end_factor) * (1 + math.cos(math.pi * fraction)) / 2)

    return schedule


def exponential(base: float, decay_steps: int, end_factor: float) -> Schedule:
    r"""Decay by the same factor at each step, from the base rate to a part of it.

    .. math::
        \eta_t = \eta_0 f^{\min(\frac{t}{T}, 1)}

    which is :math:`f \eta_0` from step :math:`T` on.

    Parameters
    ----------
    base : float, 0 or above
        :math:`\eta_0`.
    decay_steps : int, 1 or more
        :math:`T`.
    end_factor : float in (0, 1]
        :math:`f`.

    >>> [round(exponential(0.8, decay_steps=100, end_factor=0.25)(t), 6) for t in (0, 50, 100, 200)]
    [0.8, 0.4, 0.2, 0.2]
    """
    base, decay_steps, end_factor = _check_decay(base, decay_steps, end_factor)
    if end_factor == 0:
        raise InputError("end_factor = 0 cannot be reached by exponential decay; give a number in (0, 1]")
    return lambda step: base * end_factor ** min(step / decay_steps, 1.0)


def inverse_sqrt(base: float, timescale: int) -> Schedule:
    r"""Decay with the inverse square root of the step; it has no end.

    .. math::
        \eta_t = \eta_0 \sqrt{\frac{\tau}{t + \tau}}

    Parameters
    ----------
    base : float, 0 or above
        :math:`\eta_0`.
    timescale : int, 1 or more
        :math:`\tau`: after :math:`3 \tau` steps the rate has halved.

    Notes
    -----
    After A. Vaswani et al. (2017), "Attention Is All You Need", with the ramp left to `with_warmup` and the step
    shifted so that it starts from the base rate.

    >>> [inverse_sqrt(0.8, timescale=100)(t) for t in (0, 300, 1500)]
    [0.8, 0.4, 0.2]
    """
    base, timescale = not_negative("learning_rate", base), whole("timescale", timescale, least=1)
    return lambda step: base * math.sqrt(timescale / (step + timescale))


def piecewise(base: float, boundaries: Sequence[int], factors: Sequence[float]) -> Schedule:
    r"""Piecewise constant: from each boundary on, the base rate times the factor that belongs to it.

    .. math::
        s_{K+1} = \infty

        \eta_t = \begin{cases}
            \eta_0 & t < s_1 \\
            f_k \eta_0 & s_k \le t < s_{k+1}
        \end{cases}

    for :math:`k = 1, \dots, K`.

    Parameters
    ----------
    base : float, 0 or above
        :math:`\eta_0`.
    boundaries : sequence of int, increasing, 1 or more
        :math:`s_k`, the first step of each piece after the first piece.
    factors : sequence of float, 0 or above
        :math:`f_k`, as many as boundaries; relative to the base rate, not to the piece before.

    >>> [piecewise(0.8, boundaries=[10, 20], factors=[0.5, 0.125])(t) for t in (0, 9, 10, 20, 1000)]
    [0.8, 0.8, 0.4, 0.1, 0.1]
    """
    base = not_negative("learning_rate", base)
    for name, values in (("boundaries", boundaries), ("factors", factors)):
        if isinstance(values, str) or not isinstance(values, Sequence):
            raise InputError(f"{name} = {values!r} of a piecewise schedule; give a list of numbers")
    steps = [whole("boundaries", boundary, least=1) for boundary in boundaries]
    if any(a >= b for a, b in pairwise(steps)):
        raise InputError(f"boundaries = {steps} of a piecewise schedule do not increase; sort them, each step once")
    if len(factors) != len(steps):
        raise InputError(f"a piecewise schedule with {len(steps)} boundaries and {len(factors)} factors; give one "
                         "factor for each boundary")
    rates = [base, *(base * not_negative("factors", factor) for factor in factors)]
    return lambda step: rates[bisect_right(steps, step)]


def with_warmup(schedule: Schedule, warmup_steps: int, base: float) -> Schedule:
    r"""Prepend a linear ramp from 0 to the base rate, and shift the whole schedule behind it.

    .. math::
        \eta_t = \begin{cases}
            \eta_0 \frac{t}{W} & t < W \\
            h(t - W) & t \ge W
        \end{cases}

    Training gets longer by W steps: 1,000 steps of warmup before a schedule of 10,000 make 11,000. Step 0 has learning
    rate 0. Source: playbook, "How to apply learning rate warmup".

    Parameters
    ----------
    schedule : Schedule
        :math:`h`, what follows.
    warmup_steps : int, 0 or more
        :math:`W`; 0 gives the schedule itself.
    base : float, 0 or above
        :math:`\eta_0`, with which the schedule must start.

    Raises
    ------
    InputError
        A value out of its range, or a schedule that does not start with the base rate.

    >>> schedule = with_warmup(linear(0.8, decay_steps=100), warmup_steps=4, base=0.8)
    >>> [round(schedule(t), 6) for t in (0, 1, 2, 3, 4, 54, 104)]
    [0.0, 0.2, 0.4, 0.6, 0.8, 0.4, 0.0]
    """
    base, warmup_steps = not_negative("learning_rate", base), whole("warmup_steps", warmup_steps)
    if not math.isclose(schedule(0), base, rel_tol=1e-12):  # far above rounding, far below any rate meant otherwise
        raise InputError(f"warmup to {base} before a schedule that starts with {schedule(0)}; give both the same "
                         "learning_rate")
    return lambda step: base * (step / warmup_steps) if step < warmup_steps else schedule(step - warmup_steps)


def _check_decay(base: float, decay_steps: int, end_factor: float) -> tuple[float, int, float]:
    if not 0 <= not_negative("end_factor", end_factor) <= 1:
        raise InputError(f"end_factor = {end_factor!r} would raise the learning rate; give a number in [0, 1]")
    return not_negative("learning_rate", base), whole("decay_steps", decay_steps, least=1), float(end_factor)


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    schedule.__name__: schedule for schedule in (constant, linear, cosine, inverse_sqrt, exponential, piecewise)
}

"""What throughput over batch sizes says: where doubling stops paying, what holds it back, what is worth considering.

All functions are pure: they take what was measured, by `refplay.procedures.throughput` or by anybody else, and return
values. Sources: playbook, "Determining the feasible batch sizes and estimating training throughput"; the two factors
are ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

NEARLY_DOUBLES = 1.8  # a doubling of the batch that raises throughput by this factor or more is as it should be
PAYS = 1.1  # a larger batch is worth considering if it raises throughput by this factor or more


class Timing(NamedTuple):
    """How fast training steps of one batch size run; times in seconds, warm-up left out.

    Where a size could not be measured, `failed` says why and all times are 0.
    """

    batch_size: int
    seconds: float  # of a whole step: waiting for the batch, loss, gradient, update; median of the rounds
    lower: float  # first quartile of the steps
    upper: float  # third quartile
    rounds: tuple[float, ...]  # the median of each round: what repeating the measurement gives
    waiting: float  # median of the part of a step that waits for its batch
    steps: int
    memory: int  # bytes of a step, as the model of memory states them; 0 where nobody states them
    failed: str = ""

    @property
    def fastest(self) -> float:
        """Seconds of a step as repeating may give them at best; of five rounds or more, the fastest is not believed."""
        return sorted(self.rounds)[1 if len(self.rounds) >= 5 else 0]

    @property
    def slowest(self) -> float:
        """The same at worst."""
        return sorted(self.rounds)[-2 if len(self.rounds) >= 5 else -1]

    @property
    def throughput(self) -> float:
        """Examples per second."""
        return self.batch_size / self.seconds

    @property
    def waiting_share(self) -> float:
        """Part of a step that waits for its batch, 0 to 1."""
        return self.waiting / self.seconds


def failure(batch_size: int, memory: int, why: str) -> Timing:
    """Return the record of a size that could not be measured."""
    return Timing(batch_size, 0.0, 0.0, 0.0, (), 0.0, 0, memory, why)


class Comparison(NamedTuple):
    """Two ways to do a step, timed in turns at one batch size."""

    what: str  # the other way
    plain: Timing
    other: Timing

    @property
    def gains(self) -> tuple[float, float, float]:
        """By what factor the other way has more throughput: median, least and most that the rounds allow."""
        return (self.plain.seconds / self.other.seconds, self.plain.fastest / self.other.slowest,
                self.plain.slowest / self.other.fastest)


class Measured(NamedTuple):
    """A whole measurement: what `refplay throughput` stores and reports."""

    key: dict[str, str]  # what it belongs to: model, optimizer, data, backend, machine, versions
    budget: int  # bytes that a step was allowed
    ours: tuple[Timing, ...]
    peers: dict[str, tuple[Timing, ...]]
    accumulation: Comparison | None  # one batch against the same in pieces, at the largest size worth considering
    prefetch: Comparison | None  # without against with prefetching
    ended: str  # what ended the doubling
    busy: float  # cores that other processes took meanwhile, on average


class Doubling(NamedTuple):
    """From one measured size to the next."""

    smaller: int
    larger: int
    gain: float  # factor of the throughput, per doubling of the batch
    lowest: float  # the same, read from the rounds as unfavourably as they allow
    highest: float  # ... and as favourably
    bottleneck: str  # "input pipeline", "overhead", "compute"; "" where throughput nearly doubles

    @property
    def verdict(self) -> str:
        """One of "nearly doubles", "pays", "does not pay"; "unclear" where noise spans the line between the last."""
        if self.gain >= NEARLY_DOUBLES:
            return "nearly doubles"
        if self.lowest < PAYS <= self.highest:
            return "unclear"
        return "pays" if self.gain >= PAYS else "does not pay"


class Saturation(NamedTuple):
    """The largest batch size worth considering."""

    batch_size: int
    lowest: int  # the same, read from the rounds as unfavourably to large sizes as they allow
    highest: int  # ... and as favourably
    reached: bool  # False: throughput was still rising at the largest size that was measured


def measured(timings: Sequence[Timing]) -> list[Timing]:
    """Return those that did not fail, by batch size."""
    return sorted((timing for timing in timings if not timing.failed), key=lambda timing: timing.batch_size)


def doublings(timings: Sequence[Timing]) -> list[Doubling]:
    """Return what each step to the next larger size did to the throughput, and what held it back.

    Where the batch grows by another factor than 2, gains are per doubling: the root of order log2 of that factor.

    >>> timings = [Timing(b, s, s, s, (s,), 0.0, 9, 0) for b, s in ((8, 1.0), (16, 1.1), (32, 2.2))]
    >>> [(d.larger, round(d.gain, 3), d.verdict, d.bottleneck) for d in doublings(timings)]
    [(16, 1.818, 'nearly doubles', ''), (32, 1.0, 'does not pay', 'compute')]
    """
    ordered = measured(timings)
    return [Doubling(a.batch_size, b.batch_size, *gains(a, b), bottleneck(a, b, ordered)) for a, b in pairwise(ordered)]


def gains(a: Timing, b: Timing) -> tuple[float, float, float]:
    """Return by what factor the throughput of `b` exceeds that of `a` per doubling of the batch: median and bounds.

    The bounds are the quotients of the slowest round of one and the fastest of the other.
    """
    power = 1.0 / math.log2(b.batch_size / a.batch_size)
    per_step = b.batch_size / a.batch_size
    middle, lowest, highest = (
        (per_step * before / after) ** power
        for before, after in ((a.seconds, b.seconds), (a.fastest, b.slowest), (a.slowest, b.fastest))
    )
    return middle, lowest, highest


def bottleneck(a: Timing, b: Timing, timings: Sequence[Timing]) -> str:
    """Name what made a step of size `b` longer than one of size `a`; "" where throughput nearly doubled.

    Without a bottleneck a larger batch takes no longer. The growth of the time per step has three parts, and the
    largest gives the name:

    - "input pipeline": the time spent waiting for the batch grew;
    - "compute": the examples added, at the lowest cost per example that any size reached;
    - "overhead": the rest, which neither of them explains, such as synchronization of threads, or memory traffic.
    """
    if gains(a, b)[0] >= NEARLY_DOUBLES:
        return ""
    cost = min((timing.seconds - timing.waiting) / timing.batch_size for timing in timings)
    growth, waiting = b.seconds - a.seconds, b.waiting - a.waiting
    compute = min(cost * (b.batch_size - a.batch_size), growth - waiting)
    parts = {"input pipeline": waiting, "compute": compute, "overhead": growth - waiting - compute}
    return max(parts, key=lambda name: parts[name])


def saturation(timings: Sequence[Timing]) -> Saturation:
    """Return the largest size worth considering: the last one whose throughput rises by `PAYS` or more.

    Sizes are taken in order; one is worth considering if its throughput is at least `PAYS` times that of the last one
    that was. So noise around a plateau adds nothing, while a slow rise over several doublings counts in the end.

    Raises
    ------
    ValueError
        Where no size was measured.

    >>> timings = [Timing(b, s, s, s, (.95 * s, s), 0.0, 9, 0) for b, s in ((8, 1.0), (16, 1.1), (32, 2.1), (64, 4.2))]
    >>> saturation(timings)
    Saturation(batch_size=16, lowest=16, highest=32, reached=True)
    """
    ordered = measured(timings)
    if not ordered:
        raise ValueError("no batch size was measured")

    def last(low: Sequence[float], high: Sequence[float]) -> int:
        """Return the index of the last size that pays, a larger one being read as `low`, the one before as `high`."""
        candidate = 0
        for i in range(len(ordered)):
            if low[i] >= PAYS * high[candidate]:
                candidate = i
        return candidate

    middle = [timing.throughput for timing in ordered]
    slow = [timing.batch_size / timing.slowest for timing in ordered]
    fast = [timing.batch_size / timing.fastest for timing in ordered]
    best, least, most = last(middle, middle), last(slow, fast), last(fast, slow)
    sizes = [timing.batch_size for timing in ordered]
    return Saturation(sizes[best], sizes[min(least, best)], sizes[max(most, best)], best < len(sizes) - 1)


def shares(timing: Timing, timings: Sequence[Timing]) -> dict[str, float]:
    """Return what a step of one size spends its time on, as parts of 1, under the names of `bottleneck`.

    "compute" is what its examples cost at the best size of all; "overhead" is what is left.
    """
    cost = min((each.seconds - each.waiting) / each.batch_size for each in measured(timings))
    compute = cost * timing.batch_size / timing.seconds
    return {"input pipeline": timing.waiting_share, "compute": compute,
            "overhead": 1.0 - timing.waiting_share - compute}

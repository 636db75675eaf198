"""A piece of work that can be timed, and how a burst of it is."""

from __future__ import annotations

from collections.abc import Callable
from statistics import mean, median
from time import perf_counter
from typing import Any, NamedTuple

WARM_UP = 0.2  # of a burst: caches and clock rate are the other contender's when it begins


class Work(NamedTuple):
    """What a contender is asked for."""

    call: Callable[[], Any]  # done when it returns
    steps: int = 1  # how many steps one call makes
    check: float | None = None  # a result by which contenders are seen to do the same work


class Burst(NamedTuple):
    """What came of one burst."""

    median_us: float  # of a step
    mean_us: float  # the same with the steps in which the process had to wait for a core
    calls: int


def time_burst(work: Work, seconds: float) -> Burst:
    """Call `work` again and again for about `seconds`, each call timed; at least one call warms up and one counts."""
    call, times = work.call, []
    start = perf_counter()
    call()
    while perf_counter() - start < WARM_UP * seconds:
        call()
    before, end = perf_counter(), start + seconds
    while True:
        call()
        after = perf_counter()
        times.append(after - before)
        if after >= end:
            microseconds = 1e6 / work.steps
            return Burst(median(times) * microseconds, mean(times) * microseconds, len(times))
        before = after

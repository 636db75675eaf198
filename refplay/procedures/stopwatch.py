"""The clock: training steps of several contenders, timed in turns.

Each contender runs in several rounds that alternate with those of the others, so that what changes on the machine (its
clock, its load) meets all of them, and the scatter between rounds shows what repeating the measurement would give.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from refplay.analysis.throughput import Timing, failure
from refplay.data import Gather
from refplay.procedures.peers import is_out_of_memory

ROUNDS = 9
LEAST = 2  # steps of a round that count, however long they take
WARM_UP = 3  # steps before the first round: they compile and allocate


class Contender(NamedTuple):
    """Something that trains: where its batches come from, and what it does with one."""

    gather: Gather
    step: Callable[[np.ndarray, np.ndarray], Any]  # (x, labels) -> loss; `float` of it waits for the step to be done
    waits_every: int = 1  # steps; so many are timed as one, and the last is waited for


@dataclass
class _Watch:
    contender: Contender
    count: int = 0
    total: list[list[float]] = field(default_factory=list)  # of each round, seconds of a step, one for each wait
    waiting: list[list[float]] = field(default_factory=list)

    def step(self) -> tuple[float, float]:
        """Make as many steps as go by between two waits; return the seconds of one, and those for its batch."""
        gathering, loss = 0.0, None
        begun = perf_counter()
        for _ in range(self.contender.waits_every):
            asked = perf_counter()
            x, labels = self.contender.gather(self.count)
            gathering += perf_counter() - asked
            loss = self.contender.step(x, labels)
            self.count += 1
        float(loss)  # type: ignore[arg-type]
        ended = perf_counter()
        return (ended - begun) / self.contender.waits_every, gathering / self.contender.waits_every

    def warm_up(self) -> None:
        for _ in range(WARM_UP):
            self.step()

    def round(self, seconds: float) -> None:
        """Time steps for so many seconds; the first one, which finds another contender's caches, does not count."""
        self.step()
        total: list[float] = []
        waiting: list[float] = []
        end = perf_counter() + seconds
        while len(total) < LEAST or perf_counter() < end:
            step = self.step()
            total.append(step[0])
            waiting.append(step[1])
        self.total.append(total)
        self.waiting.append(waiting)

    def timing(self, batch_size: int, memory: int) -> Timing:
        total, waiting = np.concatenate(self.total), np.concatenate(self.waiting)
        rounds = tuple(float(np.median(each)) for each in self.total)
        lower, upper = (float(quartile) for quartile in np.quantile(total, (0.25, 0.75)))
        return Timing(batch_size, float(np.median(rounds)), lower, upper, rounds, float(np.median(waiting)),
                      len(total) * self.contender.waits_every, memory)


def time_in_turns(
    contenders: Mapping[str, Contender], batch_size: int, memory: Mapping[str, int], seconds: float
) -> dict[str, Timing]:
    """Return how fast each contender trains.

    A contender takes 3 steps of warm-up, then part in 9 rounds. A round lasts a ninth of `seconds` and at least two
    steps; its first step does not count. The time of a step is the median over the rounds of the median over a round's
    steps: it rests on 18 steps or more, and the rounds tell how far it can be trusted. (Where a contender is not waited
    for after each step, a step stands here for all up to the next wait.) A contender whose memory runs out is recorded
    as failed, and the others go on.

    Parameters
    ----------
    contenders : mapping of str to Contender
    batch_size : int
        Of all of them.
    memory : mapping of str to int
        The bytes of a step, of those for which they are known.
    seconds : float
        That each contender is timed for.
    """
    watches = {name: _Watch(contender) for name, contender in contenders.items()}
    failed: dict[str, str] = {}

    def attempt(name: str, action: Callable[[], None]) -> None:
        try:
            action()
        except Exception as error:  # of a step, or of its loss, which may be waited for
            if not is_out_of_memory(error):
                raise
            failed[name] = "out of memory"

    collecting = gc.isenabled()
    gc.disable()  # a collection would fall into some step by chance
    try:
        for name, watch in watches.items():
            attempt(name, watch.warm_up)
        for _ in range(ROUNDS):
            for name in [name for name in watches if name not in failed]:
                attempt(name, partial(watches[name].round, seconds / ROUNDS))
    finally:
        if collecting:
            gc.enable()
    stated = {name: memory.get(name, 0) for name in watches}
    return {name: failure(batch_size, stated[name], failed[name]) if name in failed
            else watch.timing(batch_size, stated[name]) for name, watch in watches.items()}

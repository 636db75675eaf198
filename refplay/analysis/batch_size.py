"""Which batch size trains in the least time, and what each one consumes.

Sources: playbook, "Choosing the batch size to minimize training time" and "Choosing the batch size to minimize
resource consumption".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from refplay.analysis.throughput import Timing, measured, saturation
from refplay.errors import InputError


class Cost(NamedTuple):
    """What training to the target costs at one batch size."""

    batch_size: int
    steps: int  # to the target
    seconds: float  # training time = time per step x steps
    devices: int
    device_seconds: float  # resource consumption = devices x time per step x steps
    consumption: str  # against the size before: "decreases", "stays", "increases"; "" for the smallest


class Choice(NamedTuple):
    """The recommended batch size, and the costs that it rests on."""

    batch_size: int
    costs: tuple[Cost, ...]  # of every size whose target was reached, by size
    largest: int  # the largest size worth considering: throughput does not rise beyond it


def choose_batch_size(
    timings: Sequence[Timing], steps_to_target: Mapping[int, int | None], devices: int | Mapping[int, int] = 1
) -> Choice:
    """Return the batch size with the least training time, and what every size consumes.

    Sizes beyond the one where throughput stops rising are not considered, even if they fit; so a larger size that takes
    longer is never recommended. Of equal times the smaller size wins.

    Parameters
    ----------
    timings : sequence of Timing
        Of one model, optimizer and machine.
    steps_to_target : mapping of int to int or None
        Steps that each size needs to one and the same goal, its hyperparameters tuned anew at this size; None where it
        was not reached.
    devices : int or mapping of int to int
        How many each size runs on.

    Raises
    ------
    InputError
        No size has both a time per step and a number of steps, or a number below 1.

    >>> timings = [Timing(b, s, s, s, (s,), 0.0, 9, 0) for b, s in ((64, 1.0), (128, 1.1), (256, 1.5))]
    >>> choice = choose_batch_size(timings, {64: 1000, 128: 500, 256: 400})   # perfect scaling up to 128, then not
    >>> choice.batch_size
    128
    >>> [(cost.batch_size, round(cost.device_seconds), cost.consumption) for cost in choice.costs]
    [(64, 1000, ''), (128, 550, 'decreases'), (256, 600, 'increases')]
    """
    ordered = measured(timings)
    known = [timing for timing in ordered if steps_to_target.get(timing.batch_size) is not None]
    if not known:
        raise InputError(f"no batch size has both a time per step ({_sizes(ordered)}) and steps to the target "
                         f"({', '.join(map(str, steps_to_target)) or 'none'}); measure the same sizes")
    costs: list[Cost] = []
    for i, timing in enumerate(known):
        size = timing.batch_size
        steps = _at_least_one(f"steps to the target at batch size {size}", steps_to_target[size])
        many = devices if isinstance(devices, int) else devices.get(size, 1)
        many = _at_least_one(f"devices at batch size {size}", many)
        seconds = steps * timing.seconds
        change = "" if i == 0 else _change(known[i - 1], costs[-1], timing, many * steps)
        costs.append(Cost(size, steps, seconds, many, many * seconds, change))
    largest = saturation(ordered).batch_size
    worth = [cost for cost in costs if cost.batch_size <= largest] or costs[:1]
    return Choice(min(worth, key=lambda cost: cost.seconds).batch_size, tuple(costs), largest)


def _change(before: Timing, cost: Cost, timing: Timing, device_steps: int) -> str:
    """Compare two consumptions; they stay where the rounds of measurement allow either to be the larger."""
    lowest, highest = device_steps * timing.fastest, device_steps * timing.slowest
    if lowest > cost.devices * cost.steps * before.slowest:
        return "increases"
    return "decreases" if highest < cost.devices * cost.steps * before.fastest else "stays"


def _at_least_one(what: str, value: int | None) -> int:
    if isinstance(value, bool) or value is None or value != int(value) or value < 1:
        raise InputError(f"{what}: {value!r}; give a whole number of at least 1")
    return int(value)


def _sizes(timings: Sequence[Timing]) -> str:
    return ", ".join(str(timing.batch_size) for timing in timings) or "none"

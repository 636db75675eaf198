"""What a measurement of throughput found, in sentences with their numbers and next steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Literal

from refplay.analysis.finding import Finding
from refplay.analysis.throughput import (
    NEARLY_DOUBLES,
    PAYS,
    Comparison,
    Measured,
    Timing,
    doublings,
    measured,
    saturation,
    shares,
)

FEASIBLE = "Determining the feasible batch sizes and estimating training throughput"
RESOURCES = "Choosing the batch size to minimize resource consumption"
PIPELINE = "Optimizing the input pipeline"
WAITS = 0.1  # share of a step spent waiting for data from which training counts as input-bound
BUSY = 0.2  # cores that other processes take from which they are likely to disturb a measurement

MENDS = {
    "input pipeline": "Prepare the data once offline, drop what is not used, or prefetch; then measure again.",
    "overhead": "Neither data nor examples explain this time: look for synchronization (other processes on these "
                "cores, more threads than the work is worth) before choosing a size.",
    "compute": "",
}
REASONS = {
    "input pipeline": "the wait for the batch grows",
    "overhead": "overhead grows",
    "compute": "the examples added have to be computed, and the device has no idle units left for them",
}


def throughput_findings(found: Measured) -> list[Finding]:
    """Return what the measurement says, the most important first. No size measured: one finding that says so."""
    if not measured(found.ours):
        return [_finding(found, "batch size", "attention", f"No batch size could be measured. Ended by {found.ended}.")]
    parts = (_busy(found), _largest(found), _held_back(found), _unclear(found), _consumption(found), _waiting(found),
             _prefetch(found), _accumulation(found), _against(found))
    return [finding for part in parts for finding in part]


def _finding(found: Measured, topic: str, verdict: Literal["good", "attention", "note"], seen: str,
             numbers: Mapping[str, Any] | None = None, action: str = "", section: str = FEASIBLE) -> Finding:
    return Finding(topic, found.key.get("model", ""), verdict, seen, dict(numbers or {}), action, section)


def _busy(found: Measured) -> Iterator[Finding]:
    if found.busy >= BUSY:
        yield _finding(found, "machine", "attention", f"Other processes took {found.busy:.1f} of "
                       f"{found.key.get('cores', '?')} cores meanwhile: times and ratios are partly due to them.",
                       {"busy": found.busy}, "Measure again when nothing else runs.")


def _largest(found: Measured) -> Iterator[Finding]:
    topic, limit = "largest batch size", saturation(found.ours)
    best = next(timing for timing in found.ours if timing.batch_size == limit.batch_size)
    numbers = {**limit._asdict(), "throughput": best.throughput, "factor": PAYS}
    at = f"{limit.batch_size} ({best.throughput:,.0f} examples/s)"
    if len(measured(found.ours)) == 1:
        yield _finding(found, topic, "note", f"Only {at} was measured, which says nothing about other sizes.", numbers,
                       "Give a range, such as --batch-sizes 1:65536.")
    elif limit.reached:
        noise = "" if limit.lowest == limit.highest else f" The noise allows {limit.lowest} to {limit.highest}."
        yield _finding(found, topic, "good", f"Consider batch sizes up to {at}: no larger one has {PAYS:g} times that "
                       f"throughput, even if it fits.{noise}", numbers)
    else:
        yield _finding(found, topic, "note", f"Throughput still rises at {at}, the largest size measured: all of them "
                       f"are worth considering. What ended the doubling: {found.ended}.", numbers)


def _held_back(found: Measured) -> Iterator[Finding]:
    """Name the bottleneck of each stretch of sizes below saturation; what is lost in noise has none."""
    limit = saturation(found.ours).batch_size
    below = [doubling for doubling in doublings(found.ours) if doubling.larger <= limit]
    for (unclear, name), stretch in groupby(below, key=lambda each: (each.verdict == "unclear", each.bottleneck)):
        steps = list(stretch)
        if unclear:
            continue
        numbers = {"gains": {step.larger: step.gain for step in steps}, "bottleneck": name}
        text = (f"From batch size {steps[0].smaller} to {steps[-1].larger} doubling multiplies throughput by "
                f"{_range([step.gain for step in steps])}")
        if not name:
            yield _finding(found, "doubling", "good", f"{text}: nearly double, as it should be.", numbers)
            continue
        yield _finding(found, "doubling", "attention" if MENDS[name] else "note",
                       f"{text}, less than {NEARLY_DOUBLES:g}: {REASONS[name]} (bottleneck: {name}).", numbers,
                       MENDS[name])


def _unclear(found: Measured) -> Iterator[Finding]:
    unclear = [doubling.larger for doubling in doublings(found.ours) if doubling.verdict == "unclear"]
    if unclear:
        yield _finding(found, "noise", "note", f"The rounds scatter too much to tell whether batch size "
                       f"{_listed(unclear)} gains {PAYS:g} times over the size before.", {"sizes": unclear},
                       "Measure longer (--seconds) or on a quieter machine.")


def _consumption(found: Measured) -> Iterator[Finding]:
    cost = {timing.batch_size: timing.seconds / timing.batch_size for timing in measured(found.ours)}
    least, most = min(cost, key=cost.__getitem__), max(cost, key=cost.__getitem__)
    against = f" (at batch size {least}) to {cost[most] * 1e6:,.3g} (at {most})" if least != most else ""
    yield _finding(found, "consumption", "note", f"A step occupies one device for all of its time: per example "
                   f"{cost[least] * 1e6:,.3g}{against} millionths of a device-second. Times the batch size and the "
                   "steps to the target, that is what training consumes.", {"device_seconds_per_example": cost},
                   section=RESOURCES)


def _waiting(found: Measured) -> Iterator[Finding]:
    worst = max(measured(found.ours), key=lambda timing: timing.waiting_share)
    share = worst.waiting_share
    text = f"A step waits for its batch {share:.1%} of its time at most (at batch size {worst.batch_size})"
    numbers = {"share": share, "parts": shares(worst, found.ours)}
    if share >= WAITS:
        yield _finding(found, "input pipeline", "attention", f"{text}: training is input-bound there.", numbers,
                       MENDS["input pipeline"], PIPELINE)
    else:
        yield _finding(found, "input pipeline", "good", f"{text}: training is not input-bound.", numbers,
                       section=PIPELINE)


def _prefetch(found: Measured) -> Iterator[Finding]:
    if found.prefetch is None:
        return
    pair = found.prefetch
    _, lowest, highest = pair.gains
    does = "helps" if lowest > 1 else "costs more than it saves" if highest < 1 else "makes no difference that shows"
    yield _finding(found, "prefetching", "note", f"A prefetching thread {does}: {_times(pair)} the throughput at batch "
                   f"size {pair.plain.batch_size}.", _numbers(pair), section=PIPELINE)


def _accumulation(found: Measured) -> Iterator[Finding]:
    pair = found.accumulation
    if pair is None:
        return
    text = (f"One batch of {pair.plain.batch_size} {pair.what}, gradients accumulated, has {_times(pair)} the "
            "throughput")
    if pair.gains[1] > 1:
        yield _finding(found, "gradient accumulation", "attention", f"{text}: smaller batches are faster here.",
                       _numbers(pair), "Use the smaller batch size; the larger one is past what pays.")
    else:
        yield _finding(found, "gradient accumulation", "good", f"{text}: no benefit. It saves memory and nothing else.",
                       _numbers(pair))


def _against(found: Measured) -> Iterator[Finding]:
    for peer, theirs in found.peers.items():
        if both := ratios(found.ours, theirs):
            faster = sum(ratio > 1 for ratio in both.values())
            load = " Both shared the cores with others, which slows them unequally." if found.busy >= BUSY else ""
            yield _finding(found, "peers", "note", f"refplay has {_range(list(both.values()))} times the throughput of "
                           f"{peer}; it is the faster one at {faster} of {len(both)} sizes.{load}",
                           {"peer": peer, "ratios": both})


def ratios(ours: Sequence[Timing], theirs: Sequence[Timing]) -> dict[int, float]:
    """Return our throughput over a peer's, at each size that both were measured at."""
    peer = {timing.batch_size: timing for timing in measured(theirs)}
    return {timing.batch_size: peer[timing.batch_size].seconds / timing.seconds for timing in measured(ours)
            if timing.batch_size in peer}


def _times(pair: Comparison) -> str:
    gain, lowest, highest = pair.gains
    return f"{gain:.2f} times ({lowest:.2f} to {highest:.2f})"


def _numbers(pair: Comparison) -> dict[str, float]:
    return dict(zip(("gain", "lowest", "highest"), pair.gains, strict=True))


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return low if low == high else f"{low} to {high}"


def _listed(sizes: Sequence[int]) -> str:
    return ", ".join(map(str, sizes[:-1])) + (" or " if sizes[1:] else "") + str(sizes[-1])

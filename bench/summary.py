"""From the bursts of alternating rounds to medians, ratios and their spread. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

OURS = "ours"
# Shown, but no yardsticks: many steps in one call, on batches stacked before, are another task; the triad is no step;
# our product without its rounding is ours.
OURS_ROUNDED = "ours-rounded"
NO_PEERS = (OURS, OURS_ROUNDED, "jax-scan", "triad")


def better_peer(medians: Mapping[str, float]) -> str | None:
    """Return the peer of the smallest median; None where there is no peer.

    >>> better_peer({"ours": 1.0, "torch": 3.0, "jax": 2.0})
    'jax'
    """
    return min((name for name in medians if name not in NO_PEERS), key=medians.__getitem__, default=None)


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """Return the 25th and 75th percentile, interpolated.

    >>> quartiles([1.0, 2.0, 3.0, 4.0, 5.0])
    (2.0, 4.0)
    """
    low, high = np.percentile(values, [25, 75])
    return float(low), float(high)


def summarize(rounds: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Summarize the rounds of one case.

    Parameters
    ----------
    rounds : mapping of str to float[R]
        Of each contender, the median step of its burst in every round, in microseconds.

    Returns
    -------
    dict with
        median_us : of each contender, over the rounds
        better_peer : the peer of the smallest median, the same for all rounds
        ratio : its burst over ours, the median over the rounds: above 1, ours is faster
        quartiles : of the same ratios, [low, high]

    Without ours or without a peer, the last three are None.
    """
    medians = {name: median(values) for name, values in rounds.items()}
    peer = better_peer(medians)
    if peer is None or OURS not in rounds:
        return {"median_us": medians, "better_peer": None, "ratio": None, "quartiles": None}
    paired = [theirs / ours for theirs, ours in zip(rounds[peer], rounds[OURS], strict=True)]
    return {"median_us": medians, "better_peer": peer, "ratio": median(paired), "quartiles": list(quartiles(paired))}


def slowdowns(free: Mapping[str, float], loaded: Mapping[str, float]) -> dict[str, float]:
    """Return by how much the median step of each contender is longer under load.

    >>> slowdowns({"ours": 10.0, "jax": 20.0}, {"ours": 15.0, "jax": 50.0})
    {'ours': 1.5, 'jax': 2.5}
    """
    return {name: loaded[name] / free[name] for name in loaded}

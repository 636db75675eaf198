"""How findings write numbers, counts and lists, so that all of them read alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def show(value: Any) -> str:
    """Return a value as a person writes it: four significant digits for real numbers.

    >>> show(0.0123456), show(3), show("adam")
    ('0.01235', '3', 'adam')
    """
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def count(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it belongs.

    >>> count(1, "trial"), count(3, "trial"), count(2, "study")
    ('1 trial', '3 trials', '2 studies')
    """
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun[:-1]}ies" if noun.endswith("y") else f"{number} {noun}s"


def listed(items: Sequence[str], most: int = 6) -> str:
    """Return items as a phrase; beyond `most` of them the rest is counted.

    >>> listed(["a", "b", "c"]), listed(["7", "9"]), listed(list("abcdefgh"))
    ('a, b and c', '7 and 9', 'a, b, c, d, e, f and 2 more')
    """
    if not items:
        return ""
    if len(items) > most:
        return ", ".join(items[:most]) + f" and {len(items) - most} more"
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def known(value: float) -> float | None:
    """Return a number, or None for nan: findings are compared and written as JSON, and nan equals nothing.

    >>> known(0.5), known(float("nan"))
    (0.5, None)
    """
    return None if value != value else value


def percent(fraction: float) -> str:
    """Return a fraction as a percentage; small ones keep a digit.

    >>> percent(0.5), percent(0.012), percent(0.0004)
    ('50%', '1.2%', '0.04%')
    """
    return f"{100 * fraction:.2g}%" if fraction < 0.095 else f"{100 * fraction:.0f}%"

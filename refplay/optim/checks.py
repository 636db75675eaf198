"""Checks of hyperparameters: what a person or a search gave, named as they know it."""

import math
from numbers import Real
from typing import Any

from refplay.errors import InputError


def _is_number(value: Any) -> bool:
    return type(value) is float or (isinstance(value, Real) and not isinstance(value, bool))  # the first is fast


def not_negative(name: str, value: Any) -> float:
    """Return `value` as a Python float; InputError unless it is a finite number of at least 0."""
    if not _is_number(value) or not 0 <= value < math.inf:
        raise InputError(f"{name} = {value!r}; give a finite number, 0 or above")
    return float(value)


def below_one(name: str, value: Any) -> float:
    """Return `value` as a Python float; InputError unless it is a number with 0 <= value < 1."""
    if not _is_number(value) or not 0 <= value < 1:
        raise InputError(f"{name} = {value!r}; give a number in [0, 1): at least 0 and below 1")
    return float(value)


def whole(name: str, value: Any, least: int = 0) -> int:
    """Return `value` as an int; InputError unless it is a whole number of at least `least`."""
    if not _is_number(value) or value != value // 1 or value < least:
        raise InputError(f"{name} = {value!r}; give a whole number, {least} or above")
    return int(value)

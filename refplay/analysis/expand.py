"""The range for the next study, where the best trials gathered at an edge.

The playbook (section "Identifying bad search space boundaries") says to expand in that direction until the best point
is no longer near the boundary, and gives no width. Here: a logarithmic scale grows by a decade, a linear one by its own
width, whole numbers on a logarithmic scale by a factor of 4 (they are widths and batch sizes, whose cost grows with
them), ordered options by one more of their progression. Natural limits hold: what is non-negative stays so, a fraction
(momentum, dropout, ...) stays below 1.
"""

from __future__ import annotations

from typing import Literal

from refplay.errors import InputError
from refplay.search.space import Choice, Domain, Integer, LogUniform, OneMinusLogUniform, Uniform

DECADE = 10.0
INTEGER_FACTOR = 4
NEAREST_TO_ONE = 1e-7  # 1 - x below about 6e-8 rounds to x = 1 in single precision

# Hyperparameters that are fractions, whatever prefix their name has.
FRACTIONS = ("momentum", "dropout", "beta1", "beta2", "rho", "smoothing", "gamma", "averaging", "ema", "dropout_rate",
             "drop_rate", "polyak", "polyak_decay", "ema_decay", "label_smoothing")


def is_fraction(name: str) -> bool:
    """Whether a hyperparameter lives in [0, 1) by its name.

    >>> is_fraction("optimizer.adam.beta1"), is_fraction("mlp_dropout"), is_fraction("learning_rate")
    (True, True, False)
    """
    last = name.rsplit(".", 1)[-1].lower()
    return last in FRACTIONS or last.endswith(tuple("_" + fraction for fraction in FRACTIONS))


def expand(name: str, domain: Domain, edge: Literal["low", "high"]) -> Domain | None:
    """Return the domain grown beyond one edge; None where a natural limit leaves no room.

    >>> expand("learning_rate", LogUniform(1e-4, 1e-1), "high")
    LogUniform(low=0.0001, high=1.0)
    >>> expand("momentum", OneMinusLogUniform(1e-3, 1.0), "high")
    OneMinusLogUniform(low=0.0001, high=1.0)
    >>> expand("dropout", Uniform(0.0, 0.5), "high"), expand("dropout", Uniform(0.0, 0.5), "low")
    (Uniform(low=0.0, high=0.75), None)
    """
    try:
        if isinstance(domain, OneMinusLogUniform):
            return _one_minus(domain, edge)
        if isinstance(domain, Choice):
            return _choice(name, domain, edge)
        if isinstance(domain, Integer):
            return _integer(domain, edge)
        return _real(name, domain, edge)
    except (InputError, OverflowError):  # beyond what float64 holds
        return None


def _real(name: str, domain: Uniform | LogUniform, edge: Literal["low", "high"]) -> Uniform | LogUniform | None:
    low, high, log = domain.low, domain.high, isinstance(domain, LogUniform)
    scale = LogUniform if log else Uniform
    if edge == "low":
        new = _round(low / DECADE if log else low - (high - low))
        new = max(new, 0.0) if low >= 0 else new
        return scale(new, high) if new < low else None
    new = _round(high * DECADE if log else high + (high - low))
    if is_fraction(name) and low >= 0 and high <= 1 and new >= 1:
        new = _round(1 - (1 - high) / 2)  # half the way that is left
    return scale(low, new) if new > high else None


def _one_minus(domain: OneMinusLogUniform, edge: Literal["low", "high"]) -> OneMinusLogUniform | None:
    if edge == "low":  # smaller x: larger distance from 1
        high = min(_round(domain.high * DECADE), 1.0)
        return OneMinusLogUniform(domain.low, high) if high > domain.high else None
    low = max(_round(domain.low / DECADE), NEAREST_TO_ONE)
    return OneMinusLogUniform(low, domain.high) if low < domain.low else None


def _integer(domain: Integer, edge: Literal["low", "high"]) -> Integer | None:
    width = domain.high - domain.low
    if edge == "high":
        return Integer(domain.low, domain.high * INTEGER_FACTOR if domain.log else domain.high + width, domain.log)
    floor = min(domain.low, 1) if domain.low >= 0 else domain.low - width
    low = max(domain.low // INTEGER_FACTOR if domain.log else domain.low - width, floor)
    return Integer(low, domain.high, domain.log) if low < domain.low else None


def _choice(name: str, domain: Choice, edge: Literal["low", "high"]) -> Choice | None:
    options = list(domain.options)
    first, second = (options[-1], options[-2]) if edge == "high" else (options[0], options[1])
    geometric = min(options) > 0
    new = first * first / second if geometric else 2 * first - second
    new = round(new) if all(isinstance(option, int) for option in options) else _round(float(new))
    if min(options) >= 0:
        new = max(new, 0)
    if is_fraction(name) and max(options) < 1 and new >= 1:
        new = _round(1 - (1 - first) / 2)
    if new in options or (new == 0 and geometric):
        return None
    return Choice([*options, new] if edge == "high" else [new, *options], domain.when)


def _round(x: float) -> float:
    return float(f"{x:.6g}")

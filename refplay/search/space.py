"""The search space: which hyperparameters vary, between which limits, on which scale.

A domain maps the unit interval to values of one hyperparameter and back. Search algorithms see only the unit cube;
analysis measures on the same unit axis how near a trial lies to an edge, so that "near" has one meaning on every scale.
"""

from __future__ import annotations

import math
import numbers
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from refplay.errors import InputError

# Names under which people search over the length of training. The playbook forbids it (section "Deciding how long to
# train when training is not compute-bound"): trials of different length cannot be compared.
LENGTH_NAMES = frozenset({"max_train_steps", "train_steps", "num_train_steps", "training_steps", "max_steps",
                          "num_steps", "n_steps", "steps", "epochs", "num_epochs", "n_epochs", "max_epochs",
                          "num_train_epochs"})

_LARGEST_INTEGER = 2**53  # up to here a float64 holds every whole number


def _real(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise InputError(f"limit {value!r} is not a number; give two numbers without quotes")
    try:
        return float(value)
    except OverflowError:
        raise InputError(f"limit {value!r} is beyond the range of a float64; give a smaller one") from None


def _check_range(low: float, high: float) -> None:
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError(f"range [{low}, {high}] is not finite; give two finite numbers")
    if low >= high:
        raise InputError(f"range [{low}, {high}] is empty or reversed; give low < high, or fix the hyperparameter")


def _set_real_range(domain: Uniform | LogUniform | OneMinusLogUniform) -> None:
    # The limits of a frozen dataclass become Python floats, whatever number type came, so that they compare and store.
    object.__setattr__(domain, "low", _real(domain.low))
    object.__setattr__(domain, "high", _real(domain.high))
    _check_range(domain.low, domain.high)


@dataclass(frozen=True)
class Uniform:
    """A real number, uniform in [low, high]."""

    low: float
    high: float

    def __post_init__(self) -> None:
        _set_real_range(self)
        if not math.isfinite(self.high - self.low):
            raise InputError(f"range [{self.low}, {self.high}] is wider than a float64 can hold; give a narrower one")

    def from_unit(self, u: float) -> float:
        return min(max(self.low + u * (self.high - self.low), self.low), self.high)

    def to_unit(self, value: float) -> float:
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class LogUniform:
    """A positive real number whose logarithm is uniform in [log low, log high].

    >>> round(LogUniform(1e-4, 1e0).from_unit(0.5), 6)
    0.01
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _set_real_range(self)
        if self.low <= 0:
            raise InputError(f"log scale over [{self.low}, {self.high}] reaches zero or below; give low > 0")
        if not math.isfinite(self.high / self.low):
            raise InputError(f"range [{self.low}, {self.high}] is wider than a float64 can hold; give a narrower one")

    def from_unit(self, u: float) -> float:
        return min(max(self.low * math.pow(self.high / self.low, u), self.low), self.high)

    def to_unit(self, value: float) -> float:
        return math.log(value / self.low) / math.log(self.high / self.low)


@dataclass(frozen=True)
class OneMinusLogUniform:
    """A number x below 1 whose distance 1 - x is log-uniform in [low, high]: the scale for momentum and beta.

    The unit axis runs with x: u = 0 gives 1 - high, u = 1 gives 1 - low.

    >>> domain = OneMinusLogUniform(1e-3, 1e0)
    >>> [round(domain.from_unit(u), 6) for u in (0, 1/3, 2/3, 1)]
    [0.0, 0.9, 0.99, 0.999]
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _set_real_range(self)
        if self.low <= 0 or self.high > 1:
            raise InputError(f"one-minus-log scale needs 0 < low < high <= 1 for the distance from 1, "
                             f"got [{self.low}, {self.high}]")
        if 1.0 - self.low == 1.0:
            raise InputError(f"one-minus-log scale from {self.low}: 1 - {self.low} rounds to 1 in float64; "
                             "give low >= 1.2e-16")

    def from_unit(self, u: float) -> float:
        return 1.0 - LogUniform(self.low, self.high).from_unit(1.0 - u)

    def to_unit(self, value: float) -> float:
        return 1.0 - LogUniform(self.low, self.high).to_unit(1.0 - value)


@dataclass(frozen=True)
class Integer:
    """A whole number from low to high, both included; log=True makes the scale logarithmic."""

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        for side in ("low", "high"):
            limit = getattr(self, side)
            if isinstance(limit, bool) or not isinstance(limit, numbers.Integral):
                raise InputError(f"integer range [{self.low!r}, {self.high!r}] has a limit that is not a whole number")
            if abs(int(limit)) > _LARGEST_INTEGER:
                raise InputError(f"integer limit {limit} lies beyond 2**53, where float64 skips numbers")
            object.__setattr__(self, side, int(limit))
        _check_range(self.low, self.high)
        if self.log and self.low <= 0:
            raise InputError(f"log scale over [{self.low}, {self.high}] reaches zero or below; give low > 0")

    def _edges(self) -> Uniform | LogUniform:
        # Each whole number owns the cell of half a unit on both sides of it, so that the end values are not starved.
        return (LogUniform if self.log else Uniform)(self.low - 0.5, self.high + 0.5)

    def from_unit(self, u: float) -> int:
        value = self._edges().from_unit(u) + 0.5 if self.log else self.low + u * (self.high - self.low + 1)
        return min(max(math.floor(value), self.low), self.high)

    def to_unit(self, value: int) -> float:
        return self._edges().to_unit(value)


@dataclass(frozen=True)
class Choice:
    """One of several values, each equally likely; `when` gives a value hyperparameters of its own (conditional ones).

    >>> Choice(["relu", "tanh"]).from_unit(0.7)
    'tanh'
    >>> optimizer = Choice(["momentum", "adam"], when={"adam": Space(beta1=OneMinusLogUniform(1e-2, 1))})
    """

    options: Sequence[Any]
    when: Mapping[Any, Space] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.options, str) or not isinstance(self.options, Sequence):
            raise InputError(f"the options of a choice are a list, got {self.options!r}")
        object.__setattr__(self, "options", tuple(_option(option) for option in self.options))
        object.__setattr__(self, "when", dict(self.when))
        if not self.options:
            raise InputError("a choice without options; give at least one value")
        if len(set(self.options)) != len(self.options):
            raise InputError(f"a choice with duplicate options: {list(self.options)} (note that 1 equals 1.0 and true)")
        for parent, space in self.when.items():
            if parent not in self.options:
                raise InputError(f"hyperparameters under {parent!r}, which is not an option of {list(self.options)}")
            if not isinstance(space, Space):
                raise InputError(f"hyperparameters under {parent!r} are a Space(name=domain, ...), got {space!r}")

    def from_unit(self, u: float) -> Any:
        return self.options[min(int(u * len(self.options)), len(self.options) - 1)]

    def to_unit(self, value: Any) -> float:
        return (self.options.index(value) + 0.5) / len(self.options)


def _option(value: Any) -> str | bool | int | float:
    # What a TOML file and a store can hold and compare; anything else would come back as another value.
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, str | bool | int | float):
        raise InputError(f"option {value!r} is not text, a number or a boolean; name it by a text "
                         "and look the value up in the objective")
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"option {value!r} is not finite")
    return value


Domain = Uniform | LogUniform | OneMinusLogUniform | Integer | Choice


class Dimension(NamedTuple):
    """One axis of the unit cube: a hyperparameter's qualified name, its domain and the choices that it lives under."""

    name: str  # "learning_rate", or "optimizer.adam.learning_rate" when it exists only under optimizer="adam"
    domain: Domain
    condition: tuple[tuple[str, Any], ...]  # (("optimizer", "adam"),): active only when all of these hold


class Space:
    """A search space: named domains, and, under options of a choice, further spaces.

    Equal names under different parents are different hyperparameters, each with its own range, so every axis has a
    qualified name: parent, option and own name joined by dots.

    Parameters
    ----------
    **domains : Uniform, LogUniform, OneMinusLogUniform, Integer or Choice
        The hyperparameters that vary.

    Raises
    ------
    InputError
        A name that stands for the length of training, that is not an identifier, or that two hyperparameters share
        while both are active; a value that is not a domain.

    Source: playbook, "Identifying scientific, nuisance, and fixed hyperparameters".

    >>> space = Space(width=Integer(16, 256, log=True),
    ...               optimizer=Choice(["momentum", "adam"], when={"adam": Space(epsilon=LogUniform(1e-10, 1e-2))}))
    >>> [d.name for d in space.dimensions]
    ['width', 'optimizer', 'optimizer.adam.epsilon']
    >>> space.from_unit([0.5, 0.1, 0.5])
    {'width': 63, 'optimizer': 'momentum'}
    """

    def __init__(self, **domains: Domain) -> None:
        for name, domain in domains.items():
            if not name.isidentifier():
                raise InputError(f"hyperparameter name {name!r} is not an identifier; use letters, digits and "
                                 "underscores, a letter first")
            if name.lower() in LENGTH_NAMES:
                raise InputError(f"{name!r} cannot be searched over: trials of different length are not comparable; "
                                 "give one number of steps to all trials (`steps` of the plan)")
            if not isinstance(domain, Domain):
                raise InputError(f"hyperparameter {name!r} needs a domain such as LogUniform(1e-4, 1e-1), "
                                 f"got {domain!r}")
        self.domains: dict[str, Domain] = dict(domains)
        self.dimensions: tuple[Dimension, ...] = tuple(_flatten(self, "", (), frozenset()))
        repeated = [name for name, count in Counter(d.name for d in self.dimensions).items() if count > 1]
        if repeated:
            raise InputError(f"two hyperparameters are called {repeated[0]!r}; rename one, or an option above it")

    def from_unit(self, point: Sequence[float]) -> dict[str, Any]:
        """Map a point of the unit cube (one coordinate per dimension) to the hyperparameters that are active there."""
        values: dict[str, Any] = {}
        for dimension, u in zip(self.dimensions, point, strict=True):
            if all(values.get(parent, ...) == option for parent, option in dimension.condition):
                values[dimension.name] = dimension.domain.from_unit(float(u))
        return values

    def __repr__(self) -> str:
        return f"Space({', '.join(f'{name}={domain!r}' for name, domain in self.domains.items())})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Space) and self.domains == other.domains


def _flatten(space: Space, prefix: str, condition: tuple[tuple[str, Any], ...],
             enclosing: frozenset[str]) -> Iterator[Dimension]:
    for name, domain in space.domains.items():
        qualified = prefix + name
        if name in enclosing:
            # Both would be active at once, so trial["name"] would have two meanings.
            raise InputError(f"hyperparameter {name!r} exists outside and again as {qualified!r}; rename one of them")
        yield Dimension(qualified, domain, condition)
        if isinstance(domain, Choice):
            for option in domain.options:
                if option in domain.when:
                    yield from _flatten(domain.when[option], f"{qualified}.{option}.",
                                        (*condition, (qualified, option)), enclosing | space.domains.keys())

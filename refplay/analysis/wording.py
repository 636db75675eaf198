"""How findings write numbers, counts and lists, so that all of them read alike."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from refplay.study.record import Study


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


def last_words(reason: str) -> str:
    """Return the line of a reason that says most: of a traceback the error, however many lines its message has.

    >>> last_words("loss is nan at step 3")
    'loss is nan at step 3'
    >>> last_words('Traceback (most recent call last):\\n  File "m.py", line 1, in f\\n    g()\\nKeyError: 1\\nmore')
    'KeyError: 1'
    """
    lines = [line for line in reason.splitlines() if line.strip()]
    calls = [i for i, line in enumerate(lines) if line.startswith("  File ")]
    after = [line for line in lines[calls[-1]:] if not line[0].isspace()] if calls else lines[-1:]
    return after[0].strip() if after else "no reason recorded"


def last_place(reason: str) -> str:
    """Return the place of a traceback that its error came from; "" for a reason that is no traceback.

    >>> last_place('Traceback (most recent call last):\\n  File "m.py", line 1, in f\\n    g()\\nKeyError: 1')
    'm.py, line 1, in f'
    """
    calls = [line for line in reason.splitlines() if line.startswith("  File ")]
    return calls[-1].removeprefix("  File ").replace('"', "").strip() if calls else ""


def known(value: float) -> float | None:
    """Return a number, or None for nan: findings are compared and written as JSON, and nan equals nothing.

    >>> known(0.5), known(float("nan"))
    (0.5, None)
    """
    return None if value != value else value


def percent(fraction: float) -> str:
    """Return a fraction as a percentage; small ones keep a digit, tiny ones are said to be less than 0.001%.

    >>> percent(0.5), percent(0.012), percent(0.0004), percent(7.5e-10), percent(0.0)
    ('50%', '1.2%', '0.04%', 'less than 0.001%', '0%')
    """
    if 0 < fraction < 1e-5:
        return "less than 0.001%"
    return f"{100 * fraction:.2g}%" if fraction < 0.095 else f"{100 * fraction:.0f}%"


REGRESSION = ("square", "absolute", "mean_", "relative", "reconstruction")  # errors that are no rates


class Quantity(NamedTuple):
    """How a metric is written: its words, the unit's sign and the factor from the recorded number to that unit."""

    words: str  # "validation error"
    unit: str  # "%" or ""
    factor: float

    @property
    def label(self) -> str:
        """The axis label: words and unit."""
        return f"{self.words} ({self.unit})" if self.unit else self.words

    def write(self, value: float | None) -> str:
        """Return a value with its unit; a dash where there is none.

        >>> quantity("valid_error").write(0.01234), quantity("valid_loss").write(0.01234), quantity("x").write(None)
        ('1.23%', '0.0123', '–')
        """
        if value is None or not math.isfinite(value):
            return "–"
        return f"{self.factor * value:.3g}{self.unit}"

    def gap(self, value: float) -> str:
        """Return a difference: of two percentages, in percentage points; a dash where there is none.

        >>> quantity("valid_error").gap(-0.0067), quantity("valid_loss").gap(0.0067)
        ('−0.67 percentage points', '0.0067')
        >>> quantity("valid_error").gap(0.01)
        '1 percentage point'
        """
        if not math.isfinite(value):
            return "–"
        number = f"{self.factor * value:.3g}".replace("-", "−", 1)
        noun = " percentage point" if number in ("1", "−1") else " percentage points"
        return number + noun * (self.unit == "%")

    def interval(self, low: float, high: float) -> str:
        """Return the interval of a difference, its unit once.

        >>> quantity("valid_error").interval(-0.01, 0.002), quantity("valid_loss").interval(-0.01, 0.002)
        ('−1 to 0.2 percentage points', '−0.01 to 0.002')
        """
        return f"{self.gap(low).partition(' ')[0]} to {self.gap(high)}"


def quantity(metric: str, values: Iterable[float] = ()) -> Quantity:
    """Say how to write `metric`: errors are fractions of the examples and shown in per cent.

    An "error" with a value above one or below zero cannot be a fraction and stays as it is, and so does a squared,
    absolute or other error of a regression by its name.

    >>> quantity("valid_error", [0.02, 0.9]).label
    'validation error (%)'
    >>> quantity("valid_error", [0.02, 3.5]).label
    'validation error'
    >>> quantity("valid_error", [-0.02]).label
    'validation error'
    >>> quantity("valid_squared_error", [0.02]).label
    'validation squared error'
    """
    words = metric.replace("_", " ")
    for short, long in (("valid ", "validation "), ("train ", "training ")):
        if words.startswith(short):
            words = long + words.removeprefix(short)
    rate = metric.endswith(("error", "error_rate")) and not any(kind in metric for kind in REGRESSION)
    fraction = rate and all(0 <= v <= 1 for v in values if math.isfinite(v))
    return Quantity(words, "%" if fraction else "", 100.0 if fraction else 1.0)


def study_quantity(metric: str, *studies: Study) -> Quantity:
    """Say how to write `metric` of some studies, from the best values of all their trials."""
    bests = (trial.best(metric) for study in studies for trial in (*study.trials, *study.reruns))
    return quantity(metric, [best.value for best in bests if best])

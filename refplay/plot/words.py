"""How reports and plots write metrics, hyperparameters and their values. No matplotlib is imported here."""

from __future__ import annotations

import math
import unicodedata
from typing import Any

import numpy as np

from refplay.search.space import Choice, Domain, Integer, LogUniform, OneMinusLogUniform


def leaf(name: str) -> str:
    """Return a hyperparameter's own name without the choices that it lives under.

    >>> leaf("optimizer.adam.beta1")
    'beta1'
    """
    return name.rsplit(".", 1)[-1]


def number(value: Any) -> str:
    """Write a hyperparameter's value shortly, with three digits; near one, with three digits of the distance from one.

    >>> number(0.0123456), number(0.99987654), number(64), number("relu"), number(True)
    ('0.0123', '0.999877', '64', 'relu', 'True')
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, float | np.floating):
        return str(value)
    if 0.9 < value < 1:
        return f"{value:.{2 - math.floor(math.log10(1 - value))}f}".rstrip("0")
    return f"{value:.3g}"


def count(n: int, thing: str) -> str:
    """Return "1 trial", "3 trials"."""
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


def domain_text(domain: Domain) -> str:
    """Write a search range and its scale.

    >>> domain_text(LogUniform(1e-3, 1)), domain_text(OneMinusLogUniform(1e-3, 1)), domain_text(Integer(1, 4))
    ('0.001 to 1, log', '0 to 0.999, log of 1 − value', '1 to 4, whole numbers')
    """
    if isinstance(domain, Choice):
        return ", ".join(str(option) for option in domain.options)
    if isinstance(domain, OneMinusLogUniform):
        return f"{number(1 - domain.high)} to {number(1 - domain.low)}, log of 1 − value"
    words = f"{number(domain.low)} to {number(domain.high)}"
    if isinstance(domain, Integer):
        words += ", whole numbers"
    return words + (", log" if isinstance(domain, LogUniform) or (isinstance(domain, Integer) and domain.log) else "")


def printable(text: object) -> str:
    """Replace what a terminal or a page could take for a command: control characters and direction overrides.

    Line breaks and tabs stay.

    >>> printable("a\\x1b[31m\\u202eb")
    'a�[31m�b'
    """
    return "".join("\ufffd" if _commands(c) else c for c in str(text))


def _commands(character: str) -> bool:
    if character in "\n\t":
        return False
    overrides = "\u202a" <= character <= "\u202e" or "\u2066" <= character <= "\u2069"
    return overrides or unicodedata.category(character) in ("Cc", "Cs")

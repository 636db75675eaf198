r"""From the LaTeX of a docstring to expressions: what is written under ``.. math::`` and under Parameters.

SymPy's LaTeX parser reads the mathematics; it knows nothing of documents. So before it reads, and this is all:

- a blank line ends an equation; so does ``\\`` outside of ``cases``; line breaks within an equation are spaces;
- ``&`` of an alignment, ``\left``, ``\right`` and the spaces ``\,`` ``\;`` ``\quad`` are dropped;
- :math:`\nabla \mathcal{l}(\theta_t)`, the playbook's name of the gradient, becomes :math:`g_t`;
- ``\begin{cases} a & x < y \\ b & y \le x < z \end{cases}`` is taken apart: the parser reads each value and each
  comparison; after reading, :math:`\pi` is the number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from inspect import cleandoc
from typing import Any, NamedTuple

from refplay.errors import InputError

GRADIENT = re.compile(r"\\nabla\s*\\mathcal\{l\}\s*\(\s*\\theta_t\s*\)")
LAYOUT = re.compile(r"\\left\b|\\right\b|\\,|\\;|\\quad\b")
CASES = re.compile(r"\\begin\{cases\}(.*)\\end\{cases\}")
COMPARISON = re.compile(r"(<|>|\\leq?(?![a-z])|\\geq?(?![a-z]))")


class EquationError(ValueError):
    """An equation that cannot be read, or that needs what nothing defines: a mistake in a docstring."""


class Branch(NamedTuple):
    """A value, and the comparisons that must hold for it; none for an equation without cases."""

    value: Any
    conditions: tuple[Any, ...]


class Equation(NamedTuple):
    r"""One equation: the symbol on the left as SymPy names it (``theta_{t + 1}``), and what it equals."""

    latex: str
    target: str
    branches: tuple[Branch, ...]


def read_equations(docstring: str) -> tuple[Equation, ...]:
    r"""Return all equations under the ``.. math::`` of a docstring, in order.

    Raises
    ------
    EquationError
        An equation that SymPy cannot read, or one without a single symbol on its left.

    >>> [momentum] = read_equations('''Heavy ball.
    ...
    ... .. math:: v_{t+1} = \\gamma v_t + g_t
    ... ''')
    >>> momentum.target, momentum.branches[0].value
    ('v_{t + 1}', g_{t} + gamma*v_{t})
    """
    return tuple(read_equation(normalize(text)) for text in _displayed(docstring))


def read_symbols(docstring: str) -> dict[str, str]:
    r"""Return the symbol of each argument: the first formula in its description under Parameters, as SymPy names it.

    >>> read_symbols('''Parameters
    ... ----------
    ... lr : float
    ...     :math:`\\eta_t`, the learning rate.
    ... kernels : backend
    ... ''')
    {'lr': 'eta_{t}'}
    """
    section = re.search(r"^Parameters\n-+\n(.*?)(?=^\w[^\n]*\n---|\Z)", cleandoc(docstring), re.MULTILINE | re.DOTALL)
    found = {}
    for entry in re.split(r"^(?=\w)", section[1] if section else "", flags=re.MULTILINE):
        formula = re.search(r":math:`([^`]*)`", entry)
        if formula:
            found[entry.split(":")[0].strip()] = str(_parse(formula[1]))
    return found


def normalize(latex: str) -> str:
    r"""Return an equation as the parser takes it; see the top of this file.

    >>> normalize(r"\theta_{t+1} &= \theta_t - \eta_t \, \nabla \mathcal{l}(\theta_t)")
    '\\theta_{t+1} = \\theta_t - \\eta_t g_t'
    """
    latex = LAYOUT.sub(" ", GRADIENT.sub("g_t", latex))
    if not CASES.search(latex):
        latex = latex.replace("&", "")
    return " ".join(latex.split())


@cache
def read_equation(latex: str) -> Equation:
    """Return one normalized equation, read."""
    left, equals, right = latex.partition("=")
    target = _parse(left)
    if not equals or not target.is_Symbol:
        raise EquationError(f"{latex!r} does not define one symbol")
    cases = CASES.fullmatch(right.strip())
    rows = [row.split("&") for row in cases[1].split(r"\\") if row.strip()] if cases else [[right]]
    return Equation(latex, str(target), tuple(Branch(_parse(row[0]), _conditions(row[1:])) for row in rows))


def _conditions(texts: list[str]) -> tuple[Any, ...]:
    """Return the comparisons of one row: x <= y < z is two."""
    parts = [part for text in texts for part in COMPARISON.split(text)]
    return tuple(_parse("".join(parts[i : i + 3])) for i in range(0, len(parts) - 2, 2))


def _displayed(docstring: str) -> Iterator[str]:
    """Yield the text of each equation under a ``.. math::``."""
    block: list[str] | None = None
    for line in [*cleandoc(docstring).splitlines(), "end"]:
        start = re.match(r"\s*\.\. math::(.*)", line)
        inside = block is not None and (not line.strip() or line.startswith(" "))
        if block is not None and not inside:
            yield from _separate("\n".join(block))
            block = None
        if start:
            block = [start[1]]
        elif block is not None:
            block.append(line)


def _separate(block: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", block):
        pieces = [paragraph] if CASES.search(" ".join(paragraph.split())) else paragraph.split(r"\\")
        yield from (" ".join(piece.split()) for piece in pieces if piece.strip())


def _parse(latex: str) -> Any:
    """Return what SymPy's parser makes of it, with pi the number."""
    try:
        import sympy
        from sympy.parsing.latex import parse_latex
        from sympy.parsing.latex.errors import LaTeXParsingError
    except ModuleNotFoundError:
        raise InputError("running equations needs SymPy: pip install 'refplay[verify]'") from None
    try:
        return parse_latex(latex.strip(), strict=True).xreplace({sympy.Symbol("pi"): sympy.pi})
    except ImportError:
        raise InputError("reading LaTeX needs antlr4-python3-runtime 4.11: pip install 'refplay[verify]'") from None
    except (LaTeXParsingError, AttributeError, TypeError) as error:  # the last two: what its bugs raise on bad LaTeX
        raise EquationError(f"SymPy cannot read {latex.strip()!r}: {error}") from None

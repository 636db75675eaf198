"""A rule with one thing wrong: every single edit of its lines, to find the term in which an optimizer departs from it.

The edits are made from the expressions themselves (an operand dropped, a sign turned, an exponent off by one, a moment
of the step before, ...), not from a list of known bugs.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple

from refplay.verify.dialects import LABELS, Lines


class Variation(NamedTuple):
    """The lines of a rule after one edit, and what was edited."""

    lines: Lines
    term: str  # in words
    theirs: str  # the edited line or lines, as they then read
    ours: str  # as they read before


# What may stand where a name stands. The numbers are the usual defaults: an argument that is not heeded.
_INSTEAD = {
    "g": ("gradient", "(gradient + weight_decay * theta)", "abs(g)", "m", "old_gradient"),
    "gradient": ("old_gradient",),
    "m": ("old_m",), "v": ("old_v",), "p": ("old_p",),
    "beta1": ("beta2", "0.9", "(1 - beta1)"), "beta2": ("beta1", "0.999", "(1 - beta2)"),
    "rho": ("0.9", "0.99", "(1 - rho)", "momentum"), "momentum": ("0.9", "(1 - momentum)", "rho"),
    "epsilon": ("epsilon**2", "sqrt(epsilon)", "1e-8", "1e-7"),
    "lr": ("lr**2", "old_lr", "1"), "weight_decay": ("weight_decay**2",),
    "t": ("0", "(t - 1)", "(t + 1)", "(t // 2)"),
}  # fmt: skip
_ALWAYS = ("gradient", "theta", "lr", "t", "weight_decay", "old_lr", "old_gradient", "sqrt", "abs", "if", "else", "e")
_SWAPPED = (("beta1", "beta2"), ("rho", "momentum"))


def variations(rule: str, lines: Lines) -> Iterator[Variation]:
    """Yield every variation of the lines of a rule by one edit, the simplest first.

    >>> from refplay.verify.dialects import EQUATIONS
    >>> [each.theirs for each in variations("sgd", EQUATIONS["sgd"]) if each.term == "update of theta"][:4]
    ['theta = kept', 'theta = -(lr * g)', 'theta = kept + lr * g', 'theta = lr * g']
    """
    seen = {tuple(lines.values())}
    old = {f"old_{name[:-2]}" for name in lines if name.endswith("_0")}
    known = {*_names(" ".join(lines.values())), *_ALWAYS, *old}
    for found in sorted((*_edited_lines(rule, lines), *_edited_throughout(lines)), key=_is_far_fetched):
        if (key := tuple(found.lines.values())) not in seen and _names(" ".join(key)) <= known:
            seen.add(key)
            yield found


def label_of(rule: str, line: str) -> str:
    """Return in words what a line computes."""
    return LABELS.get(f"{rule}.{line}") or LABELS[line]


def _is_far_fetched(found: Variation) -> bool:
    # Several edits may do the same: that the gradient itself is another one is the last thing to believe.
    return "old_gradient" in found.theirs or "old_lr" in found.theirs or found.term == LABELS["g"]


def _names(expression: str) -> set[str]:
    return set(re.findall(r"\b[a-z_]\w*", expression))


def _edited_lines(rule: str, lines: Lines) -> Iterator[Variation]:
    for name, expression in lines.items():
        for edited in (*_constants(name), *_edits(expression)):
            yield Variation({**lines, name: edited}, label_of(rule, name), f"{name} = {edited}",
                            f"{name} = {expression}")


def _constants(name: str) -> tuple[str, ...]:
    if name.endswith("_0"):
        return ("0", "1", "gradient", "gradient**2")
    return ("1",) if name in ("c_m", "c_v", "c_next") else ()


def _edited_throughout(lines: Lines) -> Iterator[Variation]:
    for a, b in _SWAPPED:
        swapped = _everywhere(lines, {a: b, b: a})
        yield Variation(swapped, f"{a} and {b} swapped", f"{a} where {b} stands, and the reverse", "")
    for name in ("beta1", "beta2", "rho", "momentum", "epsilon", "lr"):
        for instead in _INSTEAD[name]:
            yield Variation(_everywhere(lines, {name: instead}), f"{name}, wherever it stands", instead, name)
    for instead in ("t", "(t + 2)", "1", "(t // 2 + 1)"):
        counted = {name: expression.replace("(t + 1)", instead) for name, expression in lines.items()}
        yield Variation(counted, "index of the step", instead, "t + 1")
    last = [name for name in lines if name in ("u", "move", "n", "d", "theta")]
    states = {name[:-2]: f"old_{name[:-2]}" for name in lines if name.endswith("_0")}
    stale = {**lines, **_everywhere({name: lines[name] for name in last}, states)}
    yield Variation(stale, "order: theta moves before the state is updated", "the state of the step before", "")


def _everywhere(lines: Lines, names: dict[str, str]) -> dict[str, str]:
    pattern = re.compile(rf"\b({'|'.join(names)})\b") if names else re.compile("(?!)")
    return {name: pattern.sub(lambda found: names[found[0]], expression) for name, expression in lines.items()}


def _edits(expression: str) -> Iterator[str]:
    nodes = [node for node in ast.walk(ast.parse(expression, mode="eval")) if isinstance(node, ast.expr)]
    for node in nodes:
        start, end = node.col_offset, node.end_col_offset
        for instead in _instead(node):
            yield ast.unparse(ast.parse(f"{expression[:start]}({instead}){expression[end:]}", mode="eval"))
    for name in {node.id for node in nodes if isinstance(node, ast.Name)}:
        for instead in _INSTEAD.get(name, ()):
            yield _everywhere({"": expression}, {name: instead})[""]
    yield f"sqrt({expression})"
    yield f"({expression})**2"
    yield f"-({expression})"


def _instead(node: ast.expr) -> list[str]:
    match node:
        case ast.BinOp(left, operator, right):
            a, b = ast.unparse(left), ast.unparse(right)
            return {
                ast.Add: [a, b, f"{a} - ({b})"], ast.Sub: [a, f"-({b})", f"{a} + ({b})", b],
                ast.Mult: [a, b, f"({a}) / ({b})"], ast.Div: [a, f"1 / ({b})", f"({a}) * ({b})"],
                ast.Pow: [a, f"({a})**({b} + 1)", f"abs({a})"],
            }[type(operator)]  # fmt: skip
        case ast.Call(ast.Name("sqrt"), [inner]):
            return [ast.unparse(inner), f"sqrt(sqrt({ast.unparse(inner)}))"]
        case ast.Name(name):
            return list(_INSTEAD.get(name, ()))
        case ast.Constant(int(value)):
            return [str(value - 1), str(value + 1)]
    return []

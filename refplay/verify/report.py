"""A verdict in words, for the terminal and for the message of a failed assertion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from refplay.verify.dialects import CHOICES, EQUATIONS, NAMED, lines_of, playbook
from refplay.verify.gradients import STEPS
from refplay.verify.identify import Fit, Verdict, departures


def explain(verdict: Verdict) -> str:
    """Return the verdict as a few lines of text."""
    target = verdict.target
    lines = [f"{target.name} ({target.versions}) {_summary(verdict)}"]
    if verdict.found:
        lines += _choices(verdict)
        worst, step = verdict.found.worst, verdict.found.step
        lines.append(f"  deviation      at most {worst:.2g} ulp of theta a step (step {step})")
    if not verdict.matches and verdict.nearest:
        lines += _difference(verdict, verdict.nearest)
    lines.append(f"  driven over    {STEPS} steps in {verdict.dtype}, "
                 f"{'a new learning rate at each' if verdict.changing else 'its learning rate cannot be changed'}")
    lines.append(f"  built with     {written(verdict.arguments) or 'nothing'}")
    return "\n".join(lines)


def _summary(verdict: Verdict) -> str:
    asked = f"{verdict.rule or 'any of the six rules'} in {_dialect_asked(verdict.dialect)}"
    if verdict.problem:
        return verdict.problem
    if verdict.found is None:
        return f"is not {asked}"
    named = f"{verdict.found.rule} in {dialect_name(verdict.found)}"
    return f"is {named}" if verdict.matches else f"is not {asked}; it is {named}"


def _dialect_asked(dialect: str) -> str:
    return "any dialect" if dialect == "any" else f"the {dialect} dialect"


def dialect_name(found: Fit) -> str:
    """Return what a dialect is called, by the packages that speak it."""
    if not departures(found):
        return "the playbook's dialect"
    decay = found.dialect["weight decay"]  # a matter of the class, not of the package
    names = [name for name, rules in NAMED.items()
             if {**playbook(found.rule), **rules.get(found.rule, {}), "weight decay": decay} == found.dialect]
    suffix = "" if decay == "none" else f" with {decay} weight decay"
    if "playbook" in names:
        return "the playbook's dialect" + suffix
    return (f"the dialect of {' and '.join(names)}" if names else "a dialect of its own") + suffix


def _choices(verdict: Verdict) -> list[str]:
    found, nearest, lines = verdict.found, verdict.nearest, []
    assert found is not None
    if nearest is None or nearest.rule != found.rule:  # else the terms say it
        usual = playbook(found.rule)
        lines += [f"  differs        {choice}: {value} (the playbook: {usual[choice]})"
                  for choice, value in departures(found).items()]
    values = {choice: " / ".join(CHOICES[found.rule][choice]) for choice in verdict.unseen}
    return lines + [f"  not told apart {choice}: {each}" for choice, each in values.items()]


def _difference(verdict: Verdict, nearest: Fit) -> list[str]:
    lines = [f"  nearest        {nearest.rule} in {dialect_name(nearest)}"]
    lines.append(f"  parts at       step {nearest.step}, on gradients that are {', '.join(nearest.families)}; "
                 f"then by up to {nearest.worst:.2g} ulp")
    for text in terms(verdict):
        lines.append(f"  term           {text}")
    if not terms(verdict):
        lines.append("  term           no single edit of the rule makes it what this optimizer does")
    return lines


def terms(verdict: Verdict) -> list[str]:
    """Return the terms in which an optimizer departs from the nearest of what was asked for, as far as known."""
    nearest, found, edit = verdict.nearest, verdict.found, verdict.variation
    if nearest is None:
        return []
    if edit:
        return [f"{edit.term}: {edit.theirs}" + (f", where {nearest.rule} has {edit.ours}" if edit.ours else "")]
    if found and found.rule == nearest.rule:
        return [_choice_term(nearest, found, choice) for choice in CHOICES[found.rule]
                if found.dialect[choice] != nearest.dialect[choice]]
    return []


def _choice_term(nearest: Fit, found: Fit, choice: str) -> str:
    theirs = CHOICES[found.rule][choice][found.dialect[choice]]
    wanted = lines_of(nearest.rule, nearest.dialect)
    changed = list(theirs) or list(CHOICES[found.rule][choice][nearest.dialect[choice]])
    equations = {**EQUATIONS[found.rule], **theirs}
    return (f"{choice}: {found.dialect[choice]}, not {nearest.dialect[choice]} ("
            + "; ".join(f"{name} = {equations[name]}, not {wanted[name]}" for name in changed) + ")")


def written(arguments: Mapping[str, Any]) -> str:
    """Return arguments as they are written in a call.

    >>> written({"lr": 0.1, "nesterov": True})
    'lr=0.1, nesterov=True'
    """
    return ", ".join(f"{name}={value!r}" for name, value in arguments.items())

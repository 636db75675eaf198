"""What an optimizer is built with: values that make differences visible, under its own names."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from refplay.errors import InputError
from refplay.verify.adapters import ALIASES, Target

# Never neutral: no zero, no one, no default, no two alike; epsilon of the size of a gradient.
VISIBLE = {
    "learning_rate": 0.1, "momentum": 0.65, "rho": 0.8, "beta1": 0.7, "beta2": 0.8, "epsilon": 0.1,
    "weight_decay": 0.05,
}  # fmt: skip


def choose(target: Target, rule: str | None, settings: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, float]]:
    """Return the arguments to build an optimizer with, and the hyperparameters that are known by that.

    Rates, averages and epsilon get visible values. What is off by default (momentum, weight decay) stays off, except
    momentum where it belongs to the rule: beside an average of squares, and if momentum or Nesterov is asked for.

    Raises
    ------
    InputError
        A setting that the optimizer does not take, or an argument that it needs and did not get.
    """
    arguments: dict[str, Any] = {}
    known: dict[str, float] = {}
    given = {}
    for name, value in settings.items():
        given[_own_name(target, name)] = value
    for name, default in target.defaults.items():
        meaning = ALIASES.get(name)
        if name == "betas":
            pair = [given.pop(part, None) for part in ("beta1", "beta2")]
            arguments[name] = given.pop(name, None) or tuple(
                VISIBLE[part] if value is None else value
                for part, value in zip(("beta1", "beta2"), pair, strict=True))
            known["beta1"], known["beta2"] = _pair(name, arguments[name])
        elif name in given:
            arguments[name] = given.pop(name)
        elif meaning in VISIBLE and _is_on(str(meaning), default, target, rule):
            arguments[name] = VISIBLE[str(meaning)]
        elif name == "nesterov" and rule == "nesterov":
            arguments[name] = True
        elif default is inspect.Parameter.empty and name != "params":
            raise InputError(f"{target.name} needs a value of {name!r}: --set {name}=...")
        if meaning:
            known[meaning] = _number(name, arguments.get(name, default))
    for name, value in given.items():  # what the optimizer does not take is told of it
        if name in set(ALIASES.values()):
            known[name] = _number(name, value)
        else:
            arguments[name] = value
    if "learning_rate" not in known:
        raise InputError(f"{target.name} takes no learning rate; say which it has: --set learning_rate=...")
    return arguments, known


def _own_name(target: Target, name: str) -> str:
    if name in target.defaults:
        return name
    meaning = ALIASES.get(name)
    for own in target.defaults:
        if meaning and ALIASES.get(own) == meaning:
            return own
    if meaning:
        return meaning
    if target.any_keyword:
        return name
    names = [each for each in (*target.defaults, *sorted(set(ALIASES.values()))) if each != "params"]
    near = get_close_matches(name, names, n=1)
    raise InputError(f"{target.name} takes no {name!r}; " + (f"did you mean {near[0]!r}?" if near
                                                            else f"there is: {', '.join(dict.fromkeys(names))}"))


def _is_on(meaning: str, default: Any, target: Target, rule: str | None) -> bool:
    if meaning == "momentum" and rule != "sgd":
        averages_squares = any(ALIASES.get(name) == "rho" for name in target.defaults)
        return bool(default) or averages_squares or rule in ("momentum", "nesterov")
    return meaning not in ("momentum", "weight_decay") or bool(default)


def _pair(name: str, value: Any) -> tuple[float, float]:
    if not (isinstance(value, tuple | list) and len(value) == 2):
        raise InputError(f"{name} must be a pair such as (0.9,0.999), got {value!r}")
    return _number(name, value[0]), _number(name, value[1])


def _number(name: str, value: Any) -> float:
    try:
        return float(value or 0.0)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be a number, got {value!r}") from None

"""Plans as TOML files: nothing that is loaded can run code, and a plan that was dumped loads as the same plan.

.. code-block:: toml

   name = "nesterov-or-adam"
   goal = "Which optimizer reaches the lower validation error in 400 steps?"
   trials = 24
   steps = 400

   [scientific]
   optimizer = ["nesterov", "adam"]

   [fixed]
   width = 128

   [nuisance]
   weight_decay = {log_uniform = [1e-6, 1e-2]}

   [nuisance.optimizer.adam]
   learning_rate = {log_uniform = [1e-4, 1e-1]}

The keys are the fields of `refplay.Plan`; the forms of a domain are those of `refplay.search.domain_from_data`.
Hand-written trials are tables ``[[configurations]]``.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from refplay.errors import InputError
from refplay.search import domain_from_data, domain_to_data, space_from_data, space_to_data
from refplay.study.checks import did_you_mean, text_of
from refplay.study.plan import Plan

_TABLES = ("scientific", "fixed", "nuisance", "configurations")
_KEYS = [field.name for field in fields(Plan)]
_REQUIRED = [field.name for field in fields(Plan) if field.default is MISSING and field.default_factory is MISSING]


def load_plan(path: str | Path) -> Plan:
    """Read the plan in the TOML file `path`; InputError (file, key, mend) where it is not one."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"there is no plan {path}; give the path of a TOML file") from None
    except IsADirectoryError:
        raise InputError(f"plan {path} is a folder; give the path of a TOML file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"plan {path} cannot be read as a text file: {error}") from None
    try:
        return parse_plan(text)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def parse_plan(text: str) -> Plan:
    """Return the plan that the TOML document `text` describes; InputError (key, mend) where it is none.

    >>> parse_plan('name = "lr"\\ngoal = "How low?"\\ntrails = 8')
    Traceback (most recent call last):
    ...
    refplay.errors.InputError: unknown key 'trails'; did you mean 'trials'?
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"not TOML: {error}") from None
    for key in data:
        if key not in _KEYS:
            raise InputError(f"unknown key {key!r}{did_you_mean(key, _KEYS)}")
    for key in _REQUIRED:
        if key not in data:
            raise InputError(f"key {key!r} is missing; add {key} = \"...\"")
    if isinstance(data.get("nuisance"), dict):
        data["nuisance"] = _nuisance_from_data(data["nuisance"], data.get("scientific", {}))
    return Plan(**data)


def _nuisance_from_data(data: Mapping[str, Any], scientific: Any) -> dict[str, Any]:
    nuisance: dict[str, Any] = {}
    for name, what in data.items():
        if isinstance(scientific, Mapping) and name in scientific and isinstance(what, Mapping):
            values = {text_of(value): value for value in scientific[name]} if isinstance(scientific[name], list) else {}
            nuisance[name] = {values.get(key, key): _space(f"nuisance.{name}.{key}", space)
                              for key, space in what.items()}
        elif isinstance(what, Mapping) and what and all(isinstance(inner, Mapping) for inner in what.values()):
            raise InputError(f"nuisance.{name} lists hyperparameters by value, but {name!r} is not scientific"
                             f"{did_you_mean(name, scientific)}")
        else:
            nuisance[name] = _prefixed("nuisance: ", domain_from_data, name, what)
    return nuisance


def _space(where: str, data: Any) -> Any:
    return _prefixed(f"{where}: ", space_from_data, data)


def _prefixed(where: str, read: Any, *arguments: Any) -> Any:
    try:
        return read(*arguments)
    except InputError as error:
        raise InputError(f"{where}{error}") from None


def dump_plan(plan: Plan) -> str:
    """Return `plan` as a TOML document; `parse_plan` makes the same plan of it."""
    lines = [f"{key} = {_value(getattr(plan, key))}" for key in _KEYS if key not in _TABLES]
    plain = {name: domain_to_data(what) for name, what in plan.nuisance.items() if not isinstance(what, Mapping)}
    lines += _table("scientific", plan.scientific) + _table("fixed", plan.fixed) + _table("nuisance", plain)
    for name, what in plan.nuisance.items():
        if isinstance(what, Mapping):
            for value, space in what.items():
                lines += ["", f"[nuisance.{_key(name)}.{_key(text_of(value))}]", *_pairs(space_to_data(space))]
    for configuration in plan.configurations:
        lines += ["", "[[configurations]]", *_pairs(configuration)]
    return "\n".join(lines) + "\n"


def _table(name: str, data: Mapping[str, Any]) -> list[str]:
    return ["", f"[{name}]", *_pairs(data)] if data else []


def _pairs(data: Mapping[str, Any]) -> list[str]:
    return [f"{_key(key)} = {_value(value)}" for key, value in data.items()]


def _key(name: str) -> str:
    return name if re.fullmatch("[A-Za-z0-9_-]+", name) else _text(name)


def _text(value: str) -> str:
    # A JSON string is a TOML basic string but for the delete character, which TOML wants escaped too.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(_pairs(value)) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(_value, value)) + "]"
    raise TypeError(f"a plan holds no {type(value).__name__}: {value!r}")

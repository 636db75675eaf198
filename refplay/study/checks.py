"""The checks behind `Plan`: every function takes one field, returns it in canonical form or says how to mend it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np

from refplay.errors import InputError
from refplay.search.space import LENGTH_NAMES, Choice, Domain, Space

MODES = ("exploration", "exploitation")
_LONGEST_NAME = 100  # leaves room for scientific values in a file name of 255 bytes


def did_you_mean(name: Any, valid: Iterable[Any]) -> str:
    """Return the end of a message about an unknown name: the nearest valid one, or all of them.

    >>> did_you_mean("trails", ["trials", "steps"])
    "; did you mean 'trials'?"
    """
    names = [str(v) for v in valid]
    near = get_close_matches(str(name), names, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there is {', '.join(map(repr, names)) or 'none'}"


def text_of(value: Any) -> str:
    """Return a value as it is written in names of studies and in keys of TOML tables."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def check_type(field: str, value: Any, kind: type, wanted: str) -> None:
    if not isinstance(value, kind):
        raise InputError(f"{field} = {value!r} is not {wanted}")


def check_text(field: str, value: Any, wanted: str) -> None:
    check_type(field, value, str, "a text")
    if not value.strip():
        raise InputError(f"{field} is empty; give {wanted}")


def check_name(name: Any) -> None:
    check_text("name", name, "the round a name")
    if "/" in name or not name.isprintable() or len(name) > _LONGEST_NAME:
        raise InputError(f"name {name!r} has '/', an unprintable character, or more than {_LONGEST_NAME} characters; "
                         "give a shorter plain name")


def whole_number(field: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value < 2**63:
        raise InputError(f"{field} = {value!r} is not a whole number of {least} or more")
    return int(value)


def check_one_of(field: str, value: Any, valid: Sequence[str]) -> None:
    if value not in valid:
        raise InputError(f"{field} = {value!r} is not known{did_you_mean(value, valid)}")


def _mapping(field: str, given: Any) -> Mapping[str, Any]:
    check_type(field, given, Mapping, "a table of hyperparameter names")
    values: Mapping[str, Any] = given
    for name in values:
        if not isinstance(name, str) or not name.isidentifier():
            raise InputError(f"{field} hyperparameter name {name!r} is not an identifier; use letters, digits and "
                             "underscores, a letter first")
        if name.lower() in LENGTH_NAMES:
            raise InputError(f"{field} {name!r} is the length of training, and trials of different length are not "
                             "comparable; give one number to all with `steps` of the plan")
    return values


def _options(where: str, values: Any) -> tuple[Any, ...]:
    # A Choice knows which values can be stored and compared; here its options are the values of one hyperparameter.
    try:
        return tuple(Choice(values).options)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def clean_scientific(given: Any) -> dict[str, tuple[Any, ...]]:
    """Return the scientific hyperparameters with their values as tuples of plain Python values."""
    clean = {}
    for name, values in _mapping("scientific", given).items():
        clean[name] = _options(f"scientific {name!r}", values.tolist() if isinstance(values, np.ndarray) else values)
        if len({text_of(value) for value in clean[name]}) != len(clean[name]):
            raise InputError(f"scientific {name!r} has values that read alike: {list(clean[name])}; rename one")
    return clean


def clean_fixed(given: Any) -> dict[str, Any]:
    """Return the fixed hyperparameters with their values as plain Python values."""
    return {name: _options(f"fixed {name!r}", (value,))[0] for name, value in _mapping("fixed", given).items()}


def clean_nuisance(given: Any, scientific: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Return the nuisance hyperparameters, those of all studies before the conditional ones.

    The order decides which coordinate of the search sequence a hyperparameter gets, so it is part of the plan.
    """
    plain: dict[str, Any] = {}
    conditional: dict[str, Any] = {}
    for name, what in _mapping("nuisance", given).items():
        if isinstance(what, Domain):
            plain |= Space(**{name: what}).domains
        elif isinstance(what, Mapping):
            conditional |= {name: clean} if (clean := _clean_conditional(name, what, scientific)) else {}
        else:
            raise InputError(f"nuisance {name!r} needs a domain such as LogUniform(1e-4, 1e-1), got {what!r}; "
                             "a value that does not vary belongs to `fixed`")
    return plain | conditional


def _clean_conditional(name: str, given: Mapping[Any, Any],
                       scientific: Mapping[str, Sequence[Any]]) -> dict[Any, Space]:
    if name not in scientific:
        raise InputError(f"nuisance {name!r} lists hyperparameters by value, but {name!r} is not scientific"
                         f"{did_you_mean(name, scientific)}")
    for value, space in given.items():
        if value not in scientific[name]:
            raise InputError(f"nuisance hyperparameters under {name} = {value!r}, which is not among its scientific "
                             f"values{did_you_mean(value, scientific[name])}")
        if not isinstance(space, Space):
            raise InputError(f"nuisance hyperparameters under {name} = {value!r} are a Space(name=domain, ...), "
                             f"got {space!r}")
    return {value: given[value] for value in scientific[name] if value in given}


def check_roles(scientific: Mapping[str, Any], nuisance: Mapping[str, Any], fixed: Mapping[str, Any]) -> None:
    """Refuse a name with two roles, and one name for two hyperparameters that are active at once."""
    owners: dict[str, str] = dict.fromkeys(scientific, "scientific")

    def own(name: str, role: str) -> None:
        if owners.setdefault(name, role) != role:
            raise InputError(f"hyperparameter {name!r} has two roles: {owners[name]} and {role}; give it one")

    for name in fixed:
        own(name, "fixed")
    for name, what in nuisance.items():
        spaces = what.values() if isinstance(what, Mapping) else [Space(**{name: what})]
        role = f"nuisance under {name}" if isinstance(what, Mapping) else "nuisance"
        for leaf in {dimension.name.rpartition(".")[2] for space in spaces for dimension in space.dimensions}:
            own(leaf, role)


def clean_configurations(given: Any, scientific: Mapping[str, Sequence[Any]], nuisance: Mapping[str, Any],
                         fixed: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return the hand-written list of trials, each complete and with values of the plan."""
    if isinstance(given, str | Mapping) or not isinstance(given, Sequence):
        raise InputError(f"configurations = {given!r} is not a list of tables")
    if given and nuisance:
        raise InputError("a plan has nuisance ranges to search, or hand-written configurations, not both; drop one")
    clean = []
    for i, configuration in enumerate(given):
        where = f"configurations[{i}]"
        values = {name: _options(f"{where} {name!r}", (value,))[0]
                  for name, value in _mapping(where, configuration).items()}
        for name in values.keys() & fixed.keys():
            raise InputError(f"{where} sets {name!r}, which is fixed; drop it from one of the two")
        for name, allowed in scientific.items():
            if name not in values:
                raise InputError(f"{where} gives no value to the scientific {name!r}; give one of {list(allowed)}")
            if values[name] not in allowed:
                raise InputError(f"{where} has {name} = {values[name]!r}, which is not among its scientific "
                                 f"values{did_you_mean(values[name], allowed)}")
        clean.append(values)
    return tuple(clean)

"""Search spaces as plain data: what the tables of a TOML plan hold, read and written.

======================================  ==================================================
plain data                              domain
======================================  ==================================================
``{"uniform": [0.0, 0.5]}``             ``Uniform(0.0, 0.5)``
``{"log_uniform": [1e-4, 1e-1]}``       ``LogUniform(1e-4, 1e-1)``
``{"one_minus_log_uniform": [1e-3, 1]}``  ``OneMinusLogUniform(1e-3, 1)``
``{"integer": [1, 8]}``                 ``Integer(1, 8)``
``{"log_integer": [16, 1024]}``         ``Integer(16, 1024, log=True)``
``{"choice": ["momentum", "adam"]}``    ``Choice(["momentum", "adam"])``
======================================  ==================================================

A choice may carry ``"when": {option: {name: domain, ...}}``: the conditional hyperparameters of an option. The keys of
a TOML table are texts, so an option that is a number or a boolean is written there as text (``"2"``, ``"true"``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from refplay.errors import InputError
from refplay.search.space import Choice, Domain, Integer, LogUniform, OneMinusLogUniform, Space, Uniform

_RANGES: dict[str, Callable[[Any, Any], Domain]] = {
    "uniform": Uniform,
    "log_uniform": LogUniform,
    "one_minus_log_uniform": OneMinusLogUniform,
    "integer": Integer,
    "log_integer": lambda low, high: Integer(low, high, log=True),
}
_KINDS = (*_RANGES, "choice")


def domain_from_data(name: str, data: Any) -> Domain:
    """Read the domain of the hyperparameter `name` from plain data.

    Parameters
    ----------
    name : str
        The hyperparameter, for the messages.
    data : mapping
        One of the forms of this module's table.

    Raises
    ------
    InputError
        Anything else; the message names the hyperparameter and the mend.

    >>> domain_from_data("learning_rate", {"log_uniform": [1e-4, 1e-1]})
    LogUniform(low=0.0001, high=0.1)
    >>> domain_from_data("width", {"log_integr": [16, 1024]})
    Traceback (most recent call last):
    ...
    refplay.errors.InputError: hyperparameter 'width': unknown key 'log_integr'; did you mean 'log_integer'?
    """
    with _naming(name):
        kind = _kind(data)
        if kind != "choice":
            return _range_from_data(kind, data[kind])
        choice = Choice(data["choice"])
        when = data.get("when", {})
        if not isinstance(when, Mapping):
            raise InputError(f"'when' is a table of options, got {when!r}")
        options = [_option_of(key, choice) for key in when]
        if len(set(options)) != len(options):
            raise InputError(f"'when' gives an option twice: {list(when)}")
    spaces = [_space_from_data(f"{name}.{key}.", inner) for key, inner in when.items()]
    return Choice(choice.options, when=dict(zip(options, spaces, strict=True)))


def domain_to_data(domain: Domain) -> dict[str, Any]:
    """Write `domain` as plain data, the inverse of `domain_from_data`.

    >>> domain_to_data(Integer(16, 1024, log=True))
    {'log_integer': [16, 1024]}
    """
    if isinstance(domain, Choice):
        when = {_key(option): space_to_data(domain.when[option]) for option in domain.options if option in domain.when}
        return {"choice": list(domain.options)} | ({"when": when} if when else {})
    if isinstance(domain, Integer):
        return {"log_integer" if domain.log else "integer": [domain.low, domain.high]}
    kind = next(kind for kind, make in _RANGES.items() if make is type(domain))
    return {kind: [domain.low, domain.high]}


def space_from_data(data: Mapping[str, Any]) -> Space:
    """Read a space from ``{name: domain as plain data, ...}``; raises InputError as `domain_from_data` does.

    >>> space_from_data({"momentum": {"one_minus_log_uniform": [1e-3, 1.0]}})
    Space(momentum=OneMinusLogUniform(low=0.001, high=1.0))
    """
    return _space_from_data("", data)


def space_to_data(space: Space) -> dict[str, Any]:
    """Write `space` as plain data, the inverse of `space_from_data`.

    >>> space_to_data(Space(optimizer=Choice(["momentum", "adam"], when={"adam": Space(beta1=Uniform(0.8, 0.99))})))
    {'optimizer': {'choice': ['momentum', 'adam'], 'when': {'adam': {'beta1': {'uniform': [0.8, 0.99]}}}}}
    """
    return {name: domain_to_data(domain) for name, domain in space.domains.items()}


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Put the name of the hyperparameter before the message of an InputError."""
    try:
        yield
    except InputError as error:
        raise InputError(f"hyperparameter {name!r}: {error}") from None


def _kind(data: Any) -> str:
    """Return which form `data` has, after checking its keys."""
    if not isinstance(data, Mapping):
        raise InputError(f"needs a domain such as {{log_uniform = [1e-4, 1e-1]}}, got {data!r}; "
                         "a value that does not vary belongs to the fixed hyperparameters")
    kinds = [key for key in data if key in _KINDS]
    for key in data:
        if key == "when" and kinds != ["choice"]:
            raise InputError("'when' belongs beside 'choice' only")
        if key not in (*_KINDS, "when"):
            near = get_close_matches(str(key), _KINDS, n=1, cutoff=0.0)
            raise InputError(f"unknown key {key!r}; did you mean {near[0]!r}?")
    if len(kinds) != 1:
        raise InputError(f"needs exactly one of {', '.join(_KINDS)}; got {', '.join(kinds) or 'none of them'}")
    return str(kinds[0])


def _range_from_data(kind: str, limits: Any) -> Domain:
    if not isinstance(limits, list | tuple) or len(limits) != 2:
        raise InputError(f"{kind!r} needs two limits [low, high], got {limits!r}")
    return _RANGES[kind](*limits)


def _option_of(key: Any, choice: Choice) -> Any:
    """Return the option that a key of 'when' stands for."""
    if key in choice.options:
        return key
    found = [option for option in choice.options if not isinstance(option, str) and key in (_key(option), str(option))]
    if len(found) != 1:
        raise InputError(f"'when' names {key!r}, which is not among the options {list(choice.options)}")
    return found[0]


def _key(option: Any) -> str:
    return str(option).lower() if isinstance(option, bool) else str(option)


def _space_from_data(prefix: str, data: Any) -> Space:
    if not isinstance(data, Mapping):
        where = f"under {prefix[:-1]!r}" if prefix else "of a space"
        raise InputError(f"the hyperparameters {where} are a table of names and domains, got {data!r}")
    return Space(**{str(name): domain_from_data(prefix + str(name), domain) for name, domain in data.items()})

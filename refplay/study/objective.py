"""Objectives: a callable that takes a trial, or the text "module:function" that finds one wherever a trial runs."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable
from functools import reduce
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from refplay.errors import InputError
from refplay.study.checks import did_you_mean
from refplay.study.plan import Plan

Objective = str | Callable[[Any], object]

# Known by name only: studies run whatever takes a trial and import nothing of how refplay itself trains.
BUILT_IN = {"classifier": "refplay.procedures.workloads:classifier"}


def reference_of(objective: Objective) -> str:
    """Return "module:function" for an objective: what a store records and compares on resumption.

    >>> reference_of("classifier")
    'refplay.procedures.workloads:classifier'
    """
    if isinstance(objective, str):
        reference = BUILT_IN.get(objective, objective)
        module, colon, function = reference.partition(":")
        if not (colon and module and function):
            raise InputError(f"objective {objective!r} is neither built in nor 'module:function'"
                             f"{did_you_mean(objective, BUILT_IN)}")
        return reference
    if not callable(objective):
        raise InputError(f"objective {objective!r} is neither a function that takes a trial nor 'module:function'")
    named = objective if hasattr(objective, "__qualname__") else type(objective)
    module = named.__module__
    if module == "__main__":  # a script is the same objective whether it is run or imported
        module = Path(getattr(sys.modules["__main__"], "__file__", None) or "__main__").stem
    return f"{module}:{named.__qualname__}"


def resolve(reference: str, search_path: tuple[str, ...]) -> Callable[[Any], object]:
    """Import and return the function that "module:function" names; `search_path` holds folders to look in first."""
    sys.path[:0] = [folder for folder in search_path if folder not in sys.path]
    module_name, _, function_name = reference.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise InputError(f"objective {reference!r}: there is no module {error.name!r} in "
                             f"{' or '.join(search_path)}, nor installed") from None
        raise InputError(f"objective {reference!r}: importing {module_name} fails: {error}; "
                         "install what it needs") from error
    except Exception as error:
        raise InputError(f"objective {reference!r}: importing {module_name} fails: "
                         f"{type(error).__name__}: {error}") from error
    try:
        function = reduce(getattr, function_name.split("."), module)
    except AttributeError:
        names = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise InputError(f"objective {reference!r}: {module_name} has no function {function_name!r}"
                         f"{did_you_mean(function_name, names)}") from None
    if not callable(function):
        raise InputError(f"objective {reference!r}: {function_name} is not a function but {function!r}")
    return function


def readiness(objective: Objective, search_path: tuple[str, ...], plan: Plan) -> str:
    """Return "" if this process can run `objective` for `plan`, else why not.

    An objective may carry a function `prepare(plan)` as an attribute: called here, once a run, before anything is
    stored, it may refuse the plan by an InputError, or compile what every worker then finds in a cache.
    """
    try:
        function = resolve(objective, search_path) if isinstance(objective, str) else objective
        if prepare := getattr(function, "prepare", None):
            prepare(plan)
    except InputError as error:
        return str(error)
    return ""


_watching = threading.Event()


def die_with_parent() -> None:
    """End this worker process when the process that started it ends, also when that one is killed.

    An orphan would go on writing into the folder of a trial that the resumed run works on again.
    """
    parent = multiprocessing.parent_process()
    if parent is not None and not _watching.is_set():
        _watching.set()
        threading.Thread(target=_exit_after, args=(parent.sentinel,), daemon=True).start()


def _exit_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)

"""`refplay throughput`: measure or read, then table, plot and file."""

from __future__ import annotations

import argparse
import inspect
import math
import re
from pathlib import Path
from typing import Any

from rich.console import Console

from refplay.analysis.throughput import Measured
from refplay.cli.console import PipeConsole
from refplay.cli.verify import setting
from refplay.data import load_dataset
from refplay.errors import InputError
from refplay.nn import FAMILIES
from refplay.optim import RULES
from refplay.procedures.setup import Setup, changes, environment, key_of
from refplay.procedures.throughput import batch_sizes, measure
from refplay.procedures.throughput_file import Stored, check_writable, read_measured, write_measured
from refplay.report.throughput import print_throughput

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


def throughput(arguments: argparse.Namespace) -> int:
    """Carry out the command; everything that can be refused is refused before the first step."""
    for option, path in (("--plot", arguments.plot), ("--json", arguments.json)):
        if path is not None:
            check_writable(path, option)
    if arguments.plot is not None and arguments.plot.suffix.lower() != ".png":
        raise InputError(f"--plot {arguments.plot}: the plot is a PNG picture; give a name that ends in .png")
    console = PipeConsole()
    if arguments.stored is not None:
        return _report(arguments, console)
    setup = setup_of(arguments)
    before = read_measured(arguments.json) if arguments.json and arguments.json.exists() else None
    sizes, memory = sizes_of(arguments.batch_sizes), None if arguments.memory is None else bytes_of(arguments.memory)
    seconds = _seconds(arguments.seconds)
    with Console(stderr=True).status("preparing") as status:
        found = measure(setup, sizes, memory=memory, peers=list(dict.fromkeys(arguments.peers)), seconds=seconds,
                        progress=lambda what: status.update(f"{what}: compiling what is new, measuring"))
    print_throughput(found, console)
    if before is not None:
        _say_what_became(before, found, arguments.json, console)
    if arguments.json is not None:
        write_measured(found, arguments.json)
        console.print(f"results  {arguments.json}", highlight=False)
    _plot(found, arguments.plot, console)
    return 0


def _report(arguments: argparse.Namespace, console: Console) -> int:
    """Report on stored results; with --model and the like, hold them against that setup too."""
    stored = read_measured(arguments.stored)
    found = stored.measured
    now = environment() if arguments.model is None else key_of(setup_of(arguments))
    print_throughput(found, console)
    stale = changes(found.key, now)
    if stale:
        console.print(f"[bold yellow]! stale:[/] measured {stored.created}; since then {'; '.join(stale)}. Measure "
                      "again before you rely on it.", highlight=False)
    else:
        console.print(f"current: measured {stored.created} on this machine with these versions", highlight=False)
    _plot(found, arguments.plot, console)
    return 0


def _say_what_became(before: Stored, found: Measured, path: Path, console: Console) -> None:
    stale = changes(before.measured.key, found.key)
    why = f"was stale ({'; '.join(stale)})" if stale else "held the same setup on the same machine"
    console.print(f"{path} {why}, measured {before.created}; it is replaced", highlight=False)


def _plot(found: Measured, path: Path | None, console: Console) -> None:
    if path is None:
        return
    from refplay.plot.style import save
    from refplay.plot.throughput import throughput_plot

    try:
        save(throughput_plot(found), path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; name another file") from None
    console.print(f"plot     {path}", highlight=False)


def setup_of(arguments: argparse.Namespace) -> Setup:
    """Return what the options describe."""
    if arguments.model is None:
        raise InputError(f"nothing to measure; give --model {', '.join(FAMILIES)}, or --from FILE.json")
    if arguments.model not in FAMILIES:
        raise InputError(f"unknown model {arguments.model!r}; choose one of {', '.join(FAMILIES)}")
    optimizer = arguments.optimizer or "adam"
    if optimizer not in RULES:
        raise InputError(f"unknown optimizer {optimizer!r}; choose one of {', '.join(RULES)}")
    data = load_dataset(arguments.data or "digits")
    family = FAMILIES[arguments.model]
    of_family = [name for name, parameter in inspect.signature(family).parameters.items()
                 if parameter.kind is parameter.KEYWORD_ONLY]
    of_rule = RULES[optimizer].hyperparameters
    chosen = dict(setting(text) for text in arguments.settings)
    for name in chosen:
        if name not in of_family and name not in of_rule:
            raise InputError(f"--set {name}: neither {arguments.model} nor {optimizer} has it; they have "
                             f"{', '.join([*of_family, *of_rule])}")
    of_model = {name: value for name, value in chosen.items() if name in of_family}
    model = family(data.train.x.shape[1:], data.classes, **of_model)
    words = ", ".join(f"{name}={value}" for name, value in sorted(of_model.items()))
    return Setup(model, data, optimizer, {name: _number(name, chosen[name]) for name in chosen if name in of_rule},
                 arguments.backend or "numba", f"{arguments.model}({words})" if words else arguments.model)


def sizes_of(text: str) -> list[int]:
    """Read "64" or "1:65536".

    >>> sizes_of("64"), sizes_of("16:100")
    ([64], [16, 32, 64])
    """
    first, colon, last = text.partition(":")
    whole = re.fullmatch(r"\d{1,15}(:\d{1,15})?", text, re.ASCII) is not None
    if not whole or int(first) < 1 or (colon and int(last) < int(first)):
        raise InputError(f"--batch-sizes {text}: give one size, such as 64, or a range to double over, such as 1:65536")
    return batch_sizes(int(first), int(last or first))


def bytes_of(text: str) -> int:
    """Read an amount of memory.

    >>> bytes_of("4GiB"), bytes_of("1.5 MB"), bytes_of("1000")
    (4294967296, 1500000, 1000)
    """
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,15})?)\s*([A-Za-z]*)", text.strip(), re.ASCII)
    if not found or found[2].upper() not in UNITS or float(found[1]) == 0:
        raise InputError(f"--memory {text}: give an amount such as 4GiB or 512MiB")
    return int(float(found[1]) * UNITS[found[2].upper()])


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise InputError(f"--seconds {text}: give a number above 0, such as 1")
    return seconds


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"--set {name}={value}: give a number")
    return float(value)

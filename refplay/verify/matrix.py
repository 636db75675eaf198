"""The conformance matrix: what the optimizers of PyTorch, optax and Keras compute, found by running them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from refplay.errors import InputError
from refplay.verify.identify import Verdict, departures, identify
from refplay.verify.report import written

BEGIN, END = "<!-- matrix -->", "<!-- end -->"

# All of the three packages that claim to be one of the six rules, with the arguments that make another rule of them.
IMPLEMENTATIONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("torch.optim.SGD", {}),
    ("torch.optim.SGD", {"momentum": 0.65}),
    ("torch.optim.SGD", {"momentum": 0.65, "dampening": 0.3}),
    ("torch.optim.SGD", {"momentum": 0.65, "nesterov": True}),
    ("torch.optim.SGD", {"momentum": 0.65, "nesterov": True, "fused": True}),
    ("torch.optim.RMSprop", {}),
    ("torch.optim.RMSprop", {"centered": True}),
    ("torch.optim.Adam", {}),
    ("torch.optim.Adam", {"fused": True}),
    ("torch.optim.Adam", {"foreach": True}),
    ("torch.optim.Adam", {"weight_decay": 0.05}),
    ("torch.optim.AdamW", {}),
    ("torch.optim.NAdam", {}),
    ("torch.optim.NAdam", {"weight_decay": 0.05, "decoupled_weight_decay": True}),
    ("optax.sgd", {}),
    ("optax.sgd", {"momentum": 0.65}),
    ("optax.sgd", {"momentum": 0.65, "nesterov": True}),
    ("optax.rmsprop", {}),
    ("optax.rmsprop", {"eps_in_sqrt": False}),
    ("optax.rmsprop", {"centered": True}),
    ("optax.rmsprop", {"bias_correction": True}),
    ("optax.rmsprop", {"nesterov": True}),
    ("optax.adam", {}),
    ("optax.adam", {"nesterov": True}),
    ("optax.adamw", {}),
    ("optax.nadam", {}),
    ("optax.nadamw", {}),
    ("keras.optimizers.SGD", {}),
    ("keras.optimizers.SGD", {"momentum": 0.65}),
    ("keras.optimizers.SGD", {"momentum": 0.65, "nesterov": True}),
    ("keras.optimizers.RMSprop", {}),
    ("keras.optimizers.RMSprop", {"centered": True}),
    ("keras.optimizers.Adam", {}),
    ("keras.optimizers.Adam", {"weight_decay": 0.05}),
    ("keras.optimizers.AdamW", {}),
    ("keras.optimizers.Nadam", {}),
)

# Arguments that change what is computed, and what to try for them on the way to the playbook's rule.
_SWITCHES: dict[str, tuple[Any, ...]] = {
    "initial_scale": (1.0,), "eps_in_sqrt": (True,), "centered": (False, True), "bias_correction": (True, False),
    "nesterov": (False, True), "dampening": (0.0,), "momentum_decay": (0.0,), "weight_decay": (0.0,),
    "amsgrad": (True,), "decoupled_weight_decay": (True,),
}  # fmt: skip


def conformance() -> str:
    """Run all implementations and return the matrix as Markdown."""
    rows, versions = [], {}
    for name, arguments in IMPLEMENTATIONS:
        verdict = identify(name, settings=arguments)
        versions[name.split(".")[0]] = verdict.target.versions
        rows.append(f"| {' | '.join(_row(verdict, name, arguments))} |")
    return "\n".join([
        f"Found by running {', '.join(versions.values())}.", "",
        "| optimizer | with | is | departs from the playbook in | becomes the playbook's with |",
        "|---|---|---|---|---|", *rows,
    ])  # fmt: skip


def _row(verdict: Verdict, name: str, arguments: Mapping[str, Any]) -> Iterator[str]:
    found = verdict.found
    yield f"`{name}`"
    yield f"`{written(arguments)}`" if arguments else ""
    if found is None:
        yield from ("none of the six", "", "")
        return
    others = departures(found)
    yield found.rule
    yield "; ".join(f"{choice}: {value}" for choice, value in others.items()) or "nothing"
    if others:
        arguments_found = playbook_arguments(name, found.rule, arguments)
        yield "no argument" if arguments_found is None else f"`{written(arguments_found)}`"
    else:
        yield ""


def playbook_arguments(name: str, rule: str, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    """Search for the fewest arguments that make an implementation the playbook's rule; verify what is found.

    >>> playbook_arguments("torch.optim.SGD", "momentum", {"momentum": 0.65, "dampening": 0.3})
    {'dampening': 0.0}
    """
    from refplay.verify.adapters import find

    defaults = {**find(name).defaults, **arguments}
    switches = [(switch, value) for switch, values in _SWITCHES.items() if switch in defaults
                for value in values if value != defaults[switch]]
    for count in (1, 2):
        for changes in combinations(switches, count):
            changed = dict(changes)
            if len(changed) == count and identify(name, rule, "playbook", {**arguments, **changed}).matches:
                return changed
    return None


def written_into(page: str | None, table: str, path: Path | None) -> str:
    """Return a page with the table between its markers; a page of its own where there is none."""
    if page is None:
        return f"# Which optimizer computes what\n\n{BEGIN}\n{table}\n{END}\n"
    before, begin, rest = page.partition(f"{BEGIN}\n")
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise InputError(f"{path} has no lines {BEGIN} and {END} between which the matrix could go")
    return f"{before}{begin}{table}\n{end}{after}"

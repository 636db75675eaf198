"""A search space to start with, for each optimizer and stage of a project: simple first, general later.

An optimizer with more hyperparameters takes more trials to tune, most of all at the start of a project, when much else
is still open. So a project begins with the learning rate alone, the others at common values, and tunes all of them once
the rest has settled. Source: playbook, "Choosing the optimizer".
"""

from __future__ import annotations

from typing import Any

from refplay.errors import InputError
from refplay.optim import RULES
from refplay.search.space import Domain, LogUniform, OneMinusLogUniform, Space

STAGES = ("initial", "general")

# Wide enough that the best value is expected inside (Choi et al. 2019, arXiv:1910.05446, tune over ranges like these).
_ADAPTIVE, _DESCENT = LogUniform(1e-4, 1e-1), LogUniform(1e-3, 1e1)
LEARNING_RATES: dict[str, Domain] = {"sgd": _DESCENT, "momentum": _DESCENT, "nesterov": _DESCENT,
                                     "rmsprop": _ADAPTIVE, "adam": _ADAPTIVE, "nadam": _ADAPTIVE}
RANGES: dict[str, Domain] = {"momentum": OneMinusLogUniform(1e-2, 1.0), "rho": OneMinusLogUniform(1e-4, 1e-1),
                             "beta1": OneMinusLogUniform(1e-2, 1.0), "beta2": OneMinusLogUniform(1e-4, 1e-1),
                             "epsilon": LogUniform(1e-10, 1e0)}


def starter_space(optimizer: str, stage: str = "initial") -> tuple[Space, dict[str, Any]]:
    """Return what to tune and what to fix for an optimizer at a stage of a project.

    Parameters
    ----------
    optimizer : str
        A name of `refplay.optim.RULES`.
    stage : {"initial", "general"}
        "initial": the learning rate alone, every other hyperparameter of the rule fixed at its default. "general": all
        of them. (Between the two, `adam_space` widens Adam's space by the number of trials.)

    Returns
    -------
    The nuisance space of a plan, and its fixed hyperparameters.

    Raises
    ------
    InputError
        No such optimizer or stage.

    >>> space, fixed = starter_space("nesterov")
    >>> list(space.domains), fixed
    (['learning_rate'], {'momentum': 0.9})
    >>> space, fixed = starter_space("adam", "general")
    >>> list(space.domains), fixed
    (['learning_rate', 'beta1', 'beta2', 'epsilon'], {})
    """
    if optimizer not in RULES:
        raise InputError(f"unknown optimizer {optimizer!r}; choose one of {', '.join(RULES)}")
    if stage not in STAGES:
        raise InputError(f"unknown stage {stage!r}; choose one of {', '.join(STAGES)}")
    others = RULES[optimizer].hyperparameters
    tuned = {name: RANGES[name] for name in others} if stage == "general" else {}
    return Space(learning_rate=LEARNING_RATES[optimizer], **tuned), {} if tuned else dict(others)

"""What do the conclusions hold for? Only for the values at which hyperparameters were fixed.

Said by the playbook's section "Identifying scientific, nuisance, and fixed hyperparameters": fixing a hyperparameter
saves budget and pays with a caveat on every conclusion; the price is high where it interacts with what is compared, as
optimizer hyperparameters do. Which choices of a plan draw a warning is decided in `refplay.study.roles` alone.
"""

from __future__ import annotations

from refplay.analysis.finding import Finding
from refplay.analysis.wording import listed, show
from refplay.study.plan import Plan

SECTION = "Identifying scientific, nuisance, and fixed hyperparameters"


def fixed_caveat(plan: Plan) -> str:
    """Return the sentence that belongs under every conclusion of a round; "" where nothing is fixed.

    >>> fixed_caveat(Plan(name="p", goal="g", fixed={"width": 128, "depth": 2}, trials=1))
    'This holds for width=128 and depth=2 only: other values were not tried.'
    """
    if not plan.fixed:
        return ""
    values = [f"{name}={show(value)}" for name, value in plan.fixed.items()]
    return f"This holds for {listed(values, len(values))} only: other values were not tried."


def caveats(plan: Plan) -> list[Finding]:
    """Return the caveats of a plan: its fixed hyperparameters as one note, then each of its warnings."""
    notes = []
    if plan.fixed:
        notes.append(Finding("roles", plan.name, "note",
                             f"Every conclusion of this round has a caveat. {fixed_caveat(plan)}",
                             {"fixed": dict(plan.fixed)},
                             "Before relying on a conclusion elsewhere, repeat the comparison at another value of "
                             "those that may interact with it.", SECTION))
    return notes + [Finding("roles", plan.name, "attention", warning.seen, {}, warning.action, warning.section,
                            warning.hyperparameter) for warning in plan.warnings()]

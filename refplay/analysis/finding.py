"""What an analysis says: a finding is a value, so that the terminal, the report and a program read the same one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Finding:
    """One answer of the playbook's checklist: what was seen, its numbers, what to do next, the section."""

    topic: str  # "boundary", "feasibility", "sampling", "overfitting", ...
    study: str  # name of the study, or of the plan where the finding is about all of it
    verdict: Literal["good", "attention", "note"]  # good: nothing to do; attention: act first; note: a caveat
    seen: str  # one or two sentences, complete without the plot
    numbers: dict[str, Any] = field(default_factory=dict)  # every number that `seen` rests on
    action: str = ""  # what to do next; "" where nothing is to be done
    section: str = ""  # title of the playbook's section
    hyperparameter: str = ""  # the qualified name it is about, where it is about one

"""The plan of a round: one narrow goal, the role of every hyperparameter, the budget. A plan is data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from refplay.search.space import Domain, Space


@dataclass(frozen=True)
class Plan:
    """What a round of the playbook's loop is meant to find out, and what it may spend."""

    name: str
    goal: str
    scientific: Mapping[str, Sequence[Any]] = field(default_factory=dict)  # {"optimizer": ["nesterov", "adam"]}
    # {"weight_decay": LogUniform(...)} for all studies; {"optimizer": {"adam": Space(...)}}: conditional, only under
    # optimizer="adam", where "optimizer" is a scientific hyperparameter of this plan
    nuisance: Mapping[str, Domain | Mapping[Any, Space]] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    objective: str = "classifier"  # a built-in workload, or "module:function"
    trials: int = 24  # of each study
    steps: int = 400  # of every trial
    reruns: int = 5  # repetitions of the best trial of each study, to measure trial variance
    seed: int = 0
    mode: str = "exploration"  # or "exploitation"
    search: str = "halton"  # or "random", "grid"
    together: bool = False  # one study with the scientific hyperparameters inside its space
    metric: str = "valid_error"  # lower is better
    notes: str = ""

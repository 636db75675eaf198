"""From a plan to its studies: one for each combination of scientific values, or one with those inside its space."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from refplay.errors import InputError
from refplay.search import Choice, Space, suggest
from refplay.seeds import derive
from refplay.study.checks import text_of

if TYPE_CHECKING:
    from refplay.study.plan import Plan


@dataclass(frozen=True)
class StudySpec:
    """A study before it is run: a search space (or a hand-written list), a number of trials, a search algorithm.

    Source: playbook, "Creating a set of studies".
    """

    name: str  # "nesterov-or-adam/optimizer=adam"
    index: int  # its place in the plan: the first step of the path to its random streams
    scientific: dict[str, Any]  # the scientific values that all its trials share; {} when they are inside the space
    fixed: dict[str, Any]
    space: Space
    trials: int  # at most; a grid may have fewer points
    search: str
    seed: int  # of the plan
    configurations: tuple[dict[str, Any], ...] = ()  # the trials, where they were written by hand

    def params(self) -> list[dict[str, Any]]:
        """Return the hyperparameters of every trial, by number: a pure function of the plan."""
        if self.configurations:
            searched: Sequence[Mapping[str, Any]] = self.configurations
        elif self.space.dimensions:
            searched = suggest(self.space, self.trials, self.search, derive(self.seed, self.index, "search"))
        else:
            searched = [{}] * self.trials
        return [{**self.scientific, **self.fixed, **values} for values in searched]

    def trial_seed(self, number: int, rerun: int = 0) -> int:
        """Return the seed of the random streams of trial `number` (rerun 0) or of one of its repetitions."""
        return derive(self.seed, self.index, number, rerun)


def specify(plan: Plan) -> list[StudySpec]:
    """Return the studies of `plan` in order; InputError where they cannot be laid out."""
    if plan.together:
        inside = {name: Choice(values, when=_conditional(plan, name)) for name, values in plan.scientific.items()}
        space = Space(**inside, **_plain(plan))
        if plan.configurations:
            space = _listed_space(plan.name, plan.configurations)
        return [_spec(plan, plan.name, 0, {}, space, plan.configurations)]
    studies = []
    for index, values in enumerate(itertools.product(*plan.scientific.values())):
        scientific = dict(zip(plan.scientific, values, strict=True))
        values_text = ",".join(f"{key}={text_of(value)}" for key, value in scientific.items())
        name = f"{plan.name}/{values_text}" if scientific else plan.name
        studies.append(_one_combination(plan, name, index, scientific))
    return studies


def _one_combination(plan: Plan, name: str, index: int, scientific: dict[str, Any]) -> StudySpec:
    if plan.configurations:
        listed = [{key: value for key, value in configuration.items() if key not in scientific}
                  for configuration in plan.configurations if scientific.items() <= configuration.items()]
        if not listed:
            raise InputError(f"no configuration for {scientific}; add one or drop the value from `scientific`")
        return _spec(plan, name, index, scientific, _listed_space(name, listed), listed)
    domains = _plain(plan)
    for parent, value in scientific.items():
        space = _conditional(plan, parent).get(value)
        domains |= space.domains if space else {}
    return _spec(plan, name, index, scientific, Space(**domains), ())


def _spec(plan: Plan, name: str, index: int, scientific: dict[str, Any], space: Space,
          listed: Sequence[Mapping[str, Any]]) -> StudySpec:
    return StudySpec(name, index, scientific, dict(plan.fixed), space, len(listed) or plan.trials, plan.search,
                     plan.seed, tuple(dict(values) for values in listed))


def _plain(plan: Plan) -> dict[str, Any]:
    return {name: what for name, what in plan.nuisance.items() if not isinstance(what, Mapping)}


def _conditional(plan: Plan, name: str) -> Mapping[Any, Space]:
    what = plan.nuisance.get(name, {})
    return what if isinstance(what, Mapping) else {}


def _listed_space(study: str, listed: Sequence[Mapping[str, Any]]) -> Space:
    # A list has no ranges; the values that occur in it are all that is known about where it searched.
    for values in listed:
        if values.keys() != listed[0].keys():
            raise InputError(f"the configurations of {study!r} do not all name the same hyperparameters: "
                             f"{sorted(values.keys() ^ listed[0].keys())}; give each a value in every one")
    return Space(**{name: Choice(list(dict.fromkeys(values[name] for values in listed))) for name in listed[0]})

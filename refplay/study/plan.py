"""The plan of a round: one narrow goal, the role of every hyperparameter, the budget. A plan is data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from refplay.search import SEARCHES, Domain, Space
from refplay.study import checks
from refplay.study.roles import Caution, cautions
from refplay.study.spec import StudySpec, specify

Role = Literal["scientific", "nuisance", "fixed"]


@dataclass(frozen=True)
class Plan:
    """What a round of the playbook's loop is meant to find out, and what it may spend.

    Roles belong to the goal, not to the hyperparameter: the same activation function is scientific in one round,
    nuisance in the next and fixed in a third. All values are checked on construction, so a plan that exists can run.

    Parameters
    ----------
    name : str
        Of the round; it names the studies and folders too.
    goal : str
        The one question of this round.
    scientific : mapping of str to a list of values
        What the round measures the effect of: text, numbers or booleans.
    nuisance : mapping of str to a domain, or, for a scientific name, of its values to spaces
        What every study tunes so that the comparison is fair. ``{"optimizer": {"adam": Space(...)}}`` gives Adam
        hyperparameters of its own: equal names under other values are other hyperparameters with ranges of their own.
    fixed : mapping of str to a value
        What stays the same; a caveat of every conclusion.
    objective : str
        A built-in workload ("classifier"), or "module:function".
    trials, steps : int
        Trials of each study and training steps of every trial, 1 or more.
    reruns : int
        Repetitions, with other seeds, of the best trial of each combination of scientific values; they measure the
        trial variance.
    seed : int
        0 or more; another seed searches other points and trains with other random numbers.
    mode : "exploration" or "exploitation"
        Whether the round is after insight or after the lowest error.
    search : "halton", "random" or "grid"
        Quasi-random search is the default: its points cover the space evenly and serve any later question.
    together : bool
        False: a study for each combination of scientific values. True: one study whose space contains the scientific
        hyperparameters, each a `Choice` sampled uniformly, with the nuisance hyperparameters of a value under `when`.
    metric : str
        What decides, by its lowest value over training: a name that the objective reports.
    notes : str
        For people; the only field, beside a larger `reruns`, that may change between a run and its resumption.
    configurations : list of mappings
        A hand-written list of trials instead of a search: each names a value for every scientific hyperparameter and
        for what varies beside them. The round then has no `nuisance`, and `trials` and `search` have no effect.

    Raises
    ------
    InputError
        For any value that no round can be run with; the message names the field and the mend.

    Source: playbook, "Designing the next round of experiments" and "Exploration vs exploitation".

    >>> from refplay.search.space import LogUniform, OneMinusLogUniform
    >>> plan = Plan(name="nesterov-or-adam", goal="Which optimizer reaches the lower validation error in 400 steps?",
    ...             scientific={"optimizer": ["nesterov", "adam"]},
    ...             nuisance={"weight_decay": LogUniform(1e-6, 1e-2),
    ...                       "optimizer": {"nesterov": Space(momentum=OneMinusLogUniform(1e-3, 1)),
    ...                                     "adam": Space(beta1=OneMinusLogUniform(1e-2, 1))}}, fixed={"width": 128})
    >>> [(study.name, list(study.space.domains)) for study in plan.studies()]  # doctest: +NORMALIZE_WHITESPACE
    [('nesterov-or-adam/optimizer=nesterov', ['weight_decay', 'momentum']),
     ('nesterov-or-adam/optimizer=adam', ['weight_decay', 'beta1'])]
    """

    name: str
    goal: str
    scientific: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    nuisance: Mapping[str, Domain | Mapping[Any, Space]] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    objective: str = "classifier"
    trials: int = 24
    steps: int = 400
    reruns: int = 5
    seed: int = 0
    mode: str = "exploration"
    search: str = "halton"
    together: bool = False
    metric: str = "valid_error"
    notes: str = ""
    configurations: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        checks.check_name(self.name)
        checks.check_text("goal", self.goal, "the one question that this round answers")
        checks.check_text("metric", self.metric, "a name that the objective reports, such as 'valid_error'")
        checks.check_text("objective", self.objective, "a built-in workload or 'module:function'")
        for name, least in (("trials", 1), ("steps", 1), ("reruns", 0), ("seed", 0)):
            self._set(name, checks.whole_number(name, getattr(self, name), least))
        checks.check_one_of("mode", self.mode, checks.MODES)
        checks.check_one_of("search", self.search, SEARCHES)
        checks.check_type("together", self.together, bool, "true or false")
        checks.check_type("notes", self.notes, str, "a text")
        self._set("scientific", checks.clean_scientific(self.scientific))
        self._set("nuisance", checks.clean_nuisance(self.nuisance, self.scientific))
        self._set("fixed", checks.clean_fixed(self.fixed))
        checks.check_roles(self.scientific, self.nuisance, self.fixed)
        self._set("configurations", checks.clean_configurations(self.configurations, self.scientific, self.nuisance,
                                                                self.fixed))
        self.studies()  # what cannot be laid out as studies is refused here, not in the middle of a run

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)  # the dataclass is frozen; only __post_init__ calls this

    def roles(self) -> dict[str, Role]:
        """Return the role of every hyperparameter by its qualified name, such as "optimizer.adam.beta1".

        In the records of a study of its own (`together=False`) a conditional hyperparameter goes by its bare name
        ("beta1"): there the study stands for the parent value.
        """
        roles: dict[str, Role] = dict.fromkeys(self.scientific, "scientific")
        for name, given in self.nuisance.items():
            if isinstance(given, Mapping):
                for value, space in given.items():
                    roles |= {f"{name}.{value}.{dimension.name}": "nuisance" for dimension in space.dimensions}
            else:
                roles |= {dimension.name: "nuisance" for dimension in Space(**{name: given}).dimensions}
        for configuration in self.configurations:
            roles |= {name: "nuisance" for name in configuration if name not in self.scientific}
        return roles | dict.fromkeys(self.fixed, "fixed")

    def studies(self) -> list[StudySpec]:
        """Return the studies of this round: what varies in each and what it holds fixed, in order."""
        return specify(self)

    def warnings(self) -> list[Caution]:
        """Return what makes the conclusions of this plan weaker than its author may think; see `roles.cautions`."""
        return cautions(self)

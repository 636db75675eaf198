"""The built-in workload: a classifier of any model family, on any data set, as an objective that studies can run.

A plan names it with `objective = "classifier"`. Its hyperparameters are those of the model family, of the update rule
and of the training loop, under the names of `refplay.nn`, `refplay.optim` and `refplay.train.Training`; the table
`DEFAULTS` lists the rest. A name that no trial of a plan would use is refused before anything runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from refplay.data import Dataset, Split, load_dataset
from refplay.errors import InputError
from refplay.kernels import Backend, PrecisionError, load
from refplay.kernels import precision as computing_in
from refplay.nn import FAMILIES, BatchNorm, Model, Network
from refplay.nn.norm import ghost_groups
from refplay.optim import RULES
from refplay.optim.checks import whole
from refplay.optim.schedules import SCHEDULES
from refplay.study.plan import Plan
from refplay.study.record import TrialRecord
from refplay.study.trial import Trial
from refplay.train import Diverged, Evaluation, Training, best_checkpoint, evaluate, fit, load_weights

# What is neither of a model family, nor of an update rule, nor of a schedule, nor a field of Training.
DEFAULTS: dict[str, Any] = {
    "data": "digits",  # or a folder of IDX files, of binary CIFAR-10, or an .npz file
    "data_seed": 0,  # which examples are split off for validation and test (data variance)
    "model": "mlp",
    "optimizer": "nesterov",
    "learning_rate": 0.1,
    "schedule": "constant",
    "batch_size": 64,
    "backend": "numba",
    "precision": "float32",  # of the factors of products; the backend cupy has "tf32" and "bf16" too
    "keep": 3,  # best checkpoints kept on disk
}
_TRAINING = {f.name for f in fields(Training)} - {"rule", "schedule", "steps", "hyperparameters", "batch_size"}


class Workload(NamedTuple):
    """A trial's hyperparameters, turned into what the training loop takes."""

    data: Dataset
    model: Model
    training: Training
    backend: str
    precision: str
    keep: int
    used: frozenset[str]  # the names that had an effect


def classifier(trial: Trial) -> None:
    """Train a classifier with the hyperparameters of `trial`; reports every step and evaluation, keeps checkpoints."""
    workload = build(_by_own_name(trial.params), trial.steps)
    network = _network(workload, trial.seed)
    with computing_in(network.kernels, workload.precision):
        fit(network, workload.data, workload.training, seed=trial.seed, report=trial.report, folder=trial.folder,
            keep=workload.keep)


def prepare(plan: Plan) -> None:
    """Check a whole plan before its first trial, and compile the kernels that it needs.

    Raises
    ------
    InputError
        A hyperparameter that no trial uses, a value out of range, a missing or damaged data set.
    """
    used: set[str] = set()
    for study in plan.studies():
        trials = [_by_own_name(params) for params in study.params()]
        workloads = [build(params, plan.steps) for params in trials]
        used |= {name for workload in workloads for name in workload.used}
        for workload in {workload.precision: workload for workload in workloads}.values():
            _compile(workload)
    given = {name.rpartition(".")[2] for study in plan.studies() for params in study.params() for name in params}
    if unused := sorted(given - used):
        known = ", ".join(sorted(_all_names()))
        raise InputError(f"plan {plan.name!r} gives {unused[0]!r}, which nothing in its trials uses; "
                         f"the classifier has: {known}")


classifier.prepare = prepare  # type: ignore[attr-defined]  # the runner calls it before the first trial


def build(params: Mapping[str, Any], steps: int) -> Workload:
    """Turn hyperparameters into data, model and training.

    Parameters
    ----------
    params : mapping
        Hyperparameters by their own names; what is missing has its default, what does not apply has no effect
        (`beta1` under momentum: plans that compare optimizers may fix it for one of them).
    steps : int
        Of the schedule.
    """
    chosen = {**DEFAULTS, **params}
    data = _load(str(chosen["data"]), whole("data_seed", chosen["data_seed"]))
    family = _pick("model", chosen["model"], FAMILIES)
    rule = _pick("optimizer", chosen["optimizer"], RULES)
    schedule = _pick("schedule", chosen["schedule"], SCHEDULES)

    of_model = {name: chosen[name] for name in _keywords(family) if name in chosen}
    of_rule = {name: chosen[name] for name in rule.hyperparameters if name in chosen}
    of_schedule = {name: chosen[name] for name in _keywords(schedule) if name in chosen}
    if "decay_steps" in _keywords(schedule):
        of_schedule.setdefault("decay_steps", steps)
    for name, parameter in inspect.signature(schedule).parameters.items():
        if parameter.default is parameter.empty and name != "base" and name not in of_schedule:
            raise InputError(f"schedule = {chosen['schedule']!r} needs {name}; give it a value")
    of_training = {name: chosen[name] for name in _TRAINING if name in chosen}

    model = family(data.train.x.shape[1:], data.classes, **of_model)
    training = Training(rule.name, schedule(chosen["learning_rate"], **of_schedule), steps=steps,
                        batch_size=chosen["batch_size"], hyperparameters=of_rule, **of_training)
    if training.batch_size > len(data.train.y):
        raise InputError(f"batch_size = {training.batch_size} is above the {len(data.train.y)} training examples of "
                         f"{data.name}; give at most that")
    for _, layer, _ in model.places():
        if isinstance(layer, BatchNorm):
            ghost_groups(training.batch_size, layer.ghost_size)  # refuses what cannot be split
    used = frozenset(DEFAULTS) | set(of_model) | set(of_rule) | set(of_schedule) | set(of_training)
    return Workload(data, model, training, str(chosen["backend"]), str(chosen["precision"]),
                    whole("keep", chosen["keep"], least=1), used)


def evaluate_on_test(trial: TrialRecord, steps: int) -> Evaluation:
    """Return loss and error of the best checkpoint of a finished trial on the test set.

    To be called once, when all decisions have been made: what has been chosen by the test set says nothing about new
    data any more.

    Source: playbook, "After exploration concludes".
    """
    workload = build(_by_own_name(trial.params), steps)
    network = _network(workload, trial.seed)
    load_weights(network, best_checkpoint(Path(trial.folder)).path)
    with computing_in(network.kernels, workload.precision):
        return evaluate(network, workload.data.test)


def _by_own_name(params: Mapping[str, Any]) -> dict[str, Any]:
    # "optimizer.adam.beta1" of a conditional space is beta1 to the rule; only the active one of equal names is there.
    return {name.rpartition(".")[2]: value for name, value in params.items()}


def load_backend(name: str) -> Backend:
    """Return the kernels of a backend; InputError where there is none of this name, or it cannot run here."""
    try:
        return load(name)
    except ImportError as error:
        raise InputError(f"backend {name} cannot run here: {error}") from None
    except ValueError as error:
        raise InputError(f"backend: {error}") from None


def _network(workload: Workload, seed: int) -> Network:
    return Network(workload.model, load_backend(workload.backend), seed)


@lru_cache(maxsize=2)  # the trials of a worker process share the arrays; nobody writes to them
def _load(source: str, seed: int) -> Dataset:
    return load_dataset(source, seed=seed)


def _compile(workload: Workload) -> None:
    """Make one step and one evaluation, on a few examples, so that workers find the compiled kernels in the cache."""
    data, training = workload.data, workload.training
    few = Split(data.valid.x[:2], data.valid.y[:2])
    batch = Split(data.train.x[: training.batch_size], data.train.y[: training.batch_size])
    one_step = Training(**{**vars(training), "steps": 1, "warmup_steps": 0, "evaluate_every": 1})
    network = _network(workload, seed=0)
    try:
        with computing_in(network.kernels, workload.precision), suppress(Diverged):  # of that trial alone
            fit(network, Dataset(data.name, batch, few, few, data.classes), one_step, seed=0)
    except PrecisionError as error:
        raise InputError(str(error)) from None


def _pick(what: str, name: Any, table: Mapping[str, Any]) -> Any:
    if not isinstance(name, str) or name not in table:
        raise InputError(f"unknown {what} {name!r}; choose one of {', '.join(table)}")
    return table[name]


def _keywords(function: Callable[..., Any]) -> list[str]:
    names = [p.name for p in inspect.signature(function).parameters.values()]
    return [name for name in names if name not in ("input_shape", "classes", "base")]


def _all_names() -> set[str]:
    names = set(DEFAULTS) | _TRAINING
    for function in (*FAMILIES.values(), *SCHEDULES.values()):
        names |= set(_keywords(function))
    for rule in RULES.values():
        names |= set(rule.hyperparameters)
    return names

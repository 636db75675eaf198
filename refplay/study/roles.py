"""Which role a hyperparameter usually has, and where a plan departs from that at a price.

Roles belong to the goal of a round, so these are rules of thumb: a plan may overrule each of them, knowingly.

Source: playbook, "Identifying scientific, nuisance, and fixed hyperparameters".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from refplay.study.plan import Plan

SECTION = "Identifying scientific, nuisance, and fixed hyperparameters"


class Suggestion(NamedTuple):
    """The usual roles of a hyperparameter, likeliest first, and why."""

    category: str
    roles: tuple[str, ...]
    because: str


class Caution(NamedTuple):
    """A choice of a plan that weakens its conclusions: what was seen, what to do about it, and where it says so."""

    hyperparameter: str  # "" where it is about the plan as a whole
    seen: str
    action: str
    section: str


_OPTIMIZER = Suggestion("optimizer hyperparameter", ("nuisance",),
                        "it interacts with nearly every other change, and no value of it is better beforehand")
_OPTIMIZER_CHOICE = Suggestion("choice of optimizer", ("scientific", "fixed"),
                               "it is compared when that is the goal, and otherwise kept")
_INCLUSION = Suggestion("inclusion of a regularizer", ("scientific", "fixed"),
                        "whether its complexity pays is a question of its own; its strength is what gets tuned")
_STRENGTH = Suggestion("strength of a regularizer", ("nuisance",),
                       "its best value changes with the model that it regularizes")
_ARCHITECTURE = Suggestion("architecture", ("scientific", "fixed"),
                           "it changes the cost, latency and memory of training and serving")
_BATCH_SIZE = Suggestion("batch size", ("fixed",),
                         "it sets the speed of training; changing it means tuning most hyperparameters again")
_OTHER = Suggestion("other", ("nuisance",),
                    "whatever is not the question of the round is nuisance until there is a reason to fix it")

# Names as people write them; the first category that holds a name wins.
_NAMES: tuple[tuple[Suggestion, frozenset[str]], ...] = (
    (_OPTIMIZER_CHOICE, frozenset({"optimizer", "opt", "optim", "update_rule"})),
    (_BATCH_SIZE, frozenset({"batch_size", "batchsize", "global_batch_size"})),
    (_STRENGTH, frozenset({"weight_decay", "wd", "l2", "l1", "l2_strength", "dropout_rate", "label_smoothing",
                           "smoothing", "stochastic_depth_rate", "mixup_alpha"})),
    (_INCLUSION, frozenset({"dropout", "regularizer", "regularization", "augmentation", "mixup", "cutout",
                            "early_stopping"})),
    (_OPTIMIZER, frozenset({"learning_rate", "lr", "base_lr", "base_learning_rate", "eta", "alpha", "momentum", "gamma",
                            "rho", "beta1", "beta2", "beta_1", "beta_2", "one_minus_momentum", "one_minus_beta1",
                            "one_minus_beta2", "epsilon", "eps", "schedule", "end_factor", "power", "clip",
                            "clip_norm", "clip_threshold", "grad_clip", "max_grad_norm", "ema_decay"})),
    (_ARCHITECTURE, frozenset({"width", "depth", "layers", "hidden", "units", "channels", "filters", "blocks", "heads",
                               "kernel_size", "activation", "norm", "normalization", "model", "architecture",
                               "hidden_layers", "hidden_size", "embedding_size"})),
)
_BEGINNINGS = ((_INCLUSION, ("use_", "with_", "include_")), (_OPTIMIZER, ("warmup", "decay_", "lr_", "learning_rate_")),
               (_ARCHITECTURE, ("num_", "n_")))
_ENDINGS = ((_STRENGTH, ("_decay_rate", "_regularization", "_penalty", "dropout_rate")),
            (_OPTIMIZER, ("_learning_rate", "_lr", "_momentum", "warmup", "decay_steps")),
            (_ARCHITECTURE, ("_width", "_depth", "_layers", "_size", "_channels", "_units", "_activation")))


def suggest_role(name: str) -> Suggestion:
    """Return the usual roles of the hyperparameter `name` (its last part, where it is qualified by dots).

    >>> suggest_role("optimizer.adam.beta1").roles
    ('nuisance',)
    >>> suggest_role("optimizer").roles, suggest_role("use_dropout").roles, suggest_role("num_layers").roles
    (('scientific', 'fixed'), ('scientific', 'fixed'), ('scientific', 'fixed'))
    """
    leaf = name.rpartition(".")[2].lower()
    for suggestion, names in _NAMES:
        if leaf in names:
            return suggestion
    for suggestion, beginnings in _BEGINNINGS:
        if leaf.startswith(beginnings):
            return suggestion
    for suggestion, endings in _ENDINGS:
        if leaf.endswith(endings):
            return suggestion
    return _OTHER


def cautions(plan: Plan) -> list[Caution]:
    """Return where `plan` departs from the rules of thumb in a way that a reader of its conclusions should know."""
    found = _by_role(plan)
    if plan.mode == "exploration" and plan.search != "halton" and not plan.configurations:
        found.append(Caution("", f"This round explores by {plan.search} search.",
                             "Use search = \"halton\": its points fill the space evenly and serve later questions.",
                             "Why use quasi-random search instead of more sophisticated black box optimization "
                             "algorithms during the exploration phase of tuning?"))
    if not plan.configurations and plan.trials > 1:
        found += [Caution("", f"Nothing varies within {study.name}: its {study.trials} trials differ by seed only.",
                          "Give it nuisance hyperparameters, or trials = 1 (reruns measure the variance).",
                          "Creating a set of studies") for study in plan.studies() if not study.space.dimensions]
    return found


def _by_role(plan: Plan) -> list[Caution]:
    found = []
    compared = ", ".join(plan.scientific)
    for name, role in plan.roles().items():
        usual = suggest_role(name)
        if role == "fixed" and usual in (_OPTIMIZER, _STRENGTH) and compared:
            found.append(Caution(name, f"{name} ({usual.category}) is fixed at {plan.fixed[name]!r} while {compared} "
                                       f"is compared: {usual.because}.",
                                 f"Make {name} nuisance, or say why one value is fair to all values of {compared}.",
                                 SECTION))
        if role == "scientific" and usual is _OPTIMIZER:
            found.append(Caution(name, f"{name} is scientific; what is learned about it holds for this pipeline only.",
                                 f"Make {name} nuisance unless its effect is the question.", SECTION))
        if role == "nuisance" and usual is _BATCH_SIZE:
            found.append(Caution(name, f"{name} is tuned for validation performance.",
                                 "Fix it at the largest size that trains efficiently, and tune the others for it.",
                                 "Why shouldn't the batch size be tuned to directly improve validation set "
                                 "performance?"))
    return found

"""Rules of thumb for roles, and what a plan is warned about."""

import pytest

from refplay.search.space import Integer, LogUniform
from refplay.study.plan import Plan
from refplay.study.roles import suggest_role


@pytest.mark.parametrize(("names", "category", "roles"), [
    ("learning_rate lr momentum beta1 beta2 epsilon rho warmup_steps decay_steps end_factor lr_schedule clip_norm "
     "peak_learning_rate optimizer.adam.beta1 Learning_Rate", "optimizer hyperparameter", ("nuisance",)),
    ("optimizer", "choice of optimizer", ("scientific", "fixed")),
    ("use_dropout with_augmentation dropout", "inclusion of a regularizer", ("scientific", "fixed")),
    ("dropout_rate weight_decay label_smoothing attention_dropout_rate", "strength of a regularizer", ("nuisance",)),
    ("num_layers depth width activation n_heads hidden_width", "architecture", ("scientific", "fixed")),
    ("batch_size", "batch size", ("fixed",)),
    ("temperature", "other", ("nuisance",)),
])
def test_usual_roles(names, category, roles):
    for name in names.split():
        suggestion = suggest_role(name)
        assert (suggestion.category, suggestion.roles) == (category, roles), name
        assert suggestion.because


def warned(**changes):
    fields = {"name": "n", "goal": "g", "scientific": {"depth": [2, 4]}, "trials": 8,
              "nuisance": {"learning_rate": LogUniform(1e-4, 1e-1)}}
    return [(caution.hyperparameter, caution.seen) for caution in Plan(**{**fields, **changes}).warnings()]


def test_a_sound_plan_draws_no_warning():
    assert warned(fixed={"activation": "relu", "batch_size": 64}) == []


def test_a_fixed_optimizer_hyperparameter_in_a_comparison_draws_a_warning():
    ((name, seen),) = warned(fixed={"beta1": 0.9, "activation": "relu"})
    assert name == "beta1"
    assert "0.9" in seen
    assert "depth" in seen
    assert warned(fixed={"beta1": 0.9}, scientific={}) == []  # nothing is compared


@pytest.mark.parametrize(("changes", "name"), [
    ({"fixed": {"weight_decay": 1e-4}}, "weight_decay"),
    ({"scientific": {"momentum": [0.9, 0.99]}}, "momentum"),
    ({"nuisance": {"batch_size": Integer(8, 64)}}, "batch_size"),
    ({"search": "random"}, ""),
    ({"nuisance": {}, "scientific": {}}, ""),
])
def test_other_departures_draw_one_warning_each(changes, name):
    assert [hyperparameter for hyperparameter, _ in warned(**changes)] == [name]


def test_greedy_rounds_may_search_as_they_like():
    assert warned(search="random", mode="exploitation") == []

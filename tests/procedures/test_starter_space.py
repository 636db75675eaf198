"""Simple first, general later, for every optimizer; nothing of the rule is forgotten."""

import pytest

from refplay.errors import InputError
from refplay.optim import RULES
from refplay.procedures.starter_space import STAGES, starter_space
from refplay.procedures.workloads import build


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("optimizer", RULES)
def test_every_hyperparameter_is_tuned_or_fixed(optimizer: str, stage: str) -> None:
    space, fixed = starter_space(optimizer, stage)
    assert {*space.domains, *fixed} == set(RULES[optimizer].tunable)
    assert not {*space.domains} & {*fixed}
    if stage == "initial":
        assert list(space.domains) == ["learning_rate"]
    else:
        assert not fixed


@pytest.mark.parametrize("optimizer", RULES)
def test_the_default_lies_inside_the_range(optimizer: str) -> None:
    space, _ = starter_space(optimizer, "general")
    for name, default in RULES[optimizer].hyperparameters.items():
        assert 0.0 <= space.domains[name].to_unit(default) < 0.95, name


@pytest.mark.parametrize("corner", [0.0, 1.0])
@pytest.mark.parametrize("optimizer", RULES)
def test_the_corners_of_the_space_can_be_trained_with(optimizer: str, corner: float) -> None:
    space, fixed = starter_space(optimizer, "general")
    params = space.from_unit([corner] * len(space.dimensions))
    assert build({"optimizer": optimizer, **fixed, **params}, steps=10).training.rule == optimizer


@pytest.mark.parametrize(("optimizer", "stage"), [("adamw", "initial"), ("adam", "final")])
def test_unknown_names_are_refused_with_those_that_exist(optimizer: str, stage: str) -> None:
    with pytest.raises(InputError, match="choose one of"):
        starter_space(optimizer, stage)

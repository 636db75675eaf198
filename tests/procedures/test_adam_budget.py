"""The budget rule for Adam, row by row, at the edges of each row."""

import pytest

from refplay.errors import InputError
from refplay.procedures.adam_budget import adam_space

ROWS = [
    (1, ["learning_rate"]),
    (9, ["learning_rate"]),
    (10, ["learning_rate", "beta1"]),
    (24, ["learning_rate", "beta1"]),
    (25, ["learning_rate", "beta1", "epsilon"]),
    (49, ["learning_rate", "beta1", "epsilon"]),
    (50, ["learning_rate", "beta1", "epsilon", "beta2"]),
    (1000, ["learning_rate", "beta1", "epsilon", "beta2"]),
]


@pytest.mark.parametrize(("trials", "tuned"), ROWS)
def test_budget_decides_what_is_tuned(trials: int, tuned: list[str]) -> None:
    assert list(adam_space(trials).domains) == tuned


def test_common_defaults_lie_inside_every_range() -> None:
    """A range that leaves out the value everybody starts from would not be a fair study of Adam."""
    defaults = {"learning_rate": 1e-3, "beta1": 0.9, "epsilon": 1e-8, "beta2": 0.999}
    for name, domain in adam_space(50).domains.items():
        assert 0.05 < domain.to_unit(defaults[name]) < 0.95


@pytest.mark.parametrize("trials", [0, -1, 2.5, True, "24"])
def test_no_trials_no_space(trials: object) -> None:
    with pytest.raises(InputError, match="trials="):
        adam_space(trials)

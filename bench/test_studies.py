"""Times of whole studies of 24 trials, as commands: python -m pytest bench/test_studies.py (needs optuna)."""

import pytest
from studies import STUDIES, time_study


@pytest.mark.parametrize("name", STUDIES)
def test_study(benchmark, name):
    benchmark.pedantic(time_study, (name,), rounds=2)

"""Each benchmark runs for half a second: `python -m pytest bench` takes a few minutes."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # as when a script here is run


def pytest_configure(config: pytest.Config) -> None:
    """Set what the command line leaves at pytest-benchmark's defaults."""
    config.option.benchmark_max_time = 0.5
    config.option.benchmark_min_rounds = 3

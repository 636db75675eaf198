"""Each benchmark is run for half a second at most: `python -m pytest bench` takes a few minutes."""

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Set what the command line leaves at pytest-benchmark's defaults."""
    config.option.benchmark_max_time = 0.5
    config.option.benchmark_min_rounds = 3

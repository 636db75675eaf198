"""Contenders as processes: answers, failures, load. The small kernels stand in for all work."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import Contender, ContenderError, Load, OtherUse


@pytest.fixture
def ours() -> Iterator[Contender]:
    contender = Contender("ours", {})
    yield contender
    contender.close()


def test_a_contender_sets_up_and_times(ours: Contender) -> None:
    ours.ask({"case": "rules.momentum", "size": 1000}, timeout=120)
    burst = ours.ask({"seconds": 0.05}, timeout=60)
    assert burst["calls"] > 10
    assert 0 < burst["median_us"] < 5e3


def test_a_contender_that_fails_says_why(ours: Contender) -> None:
    with pytest.raises(ContenderError, match="KeyError: 'no-such-rule'"):
        ours.ask({"case": "rules.no-such-rule", "size": 8}, timeout=120)
    with pytest.raises(ContenderError):
        ours.ask({"seconds": 0.1}, timeout=5)


def test_a_contender_that_hangs_is_ended(ours: Contender) -> None:
    with pytest.raises(ContenderError, match="no answer for 0 s"):
        ours.ask({"case": "rules.momentum", "size": 1000}, timeout=0.01)
    assert ours.process.poll() is not None


def test_load_computes_only_while_it_runs_and_counts_as_our_own_only_where_named() -> None:
    if not Path("/proc/stat").exists():  # what others use is not known there
        assert OtherUse([]).other_cores() == 0.0
        return
    load = Load(1)
    try:
        time.sleep(0.3)
        own, blind = OtherUse(load.processes), OtherUse([])
        with load.running():
            time.sleep(0.6)
        seen = blind.other_cores() - own.other_cores()
        assert 0.5 < seen < 1.5  # a busy process is a core
        quiet = OtherUse([]), OtherUse(load.processes)
        time.sleep(0.5)
        assert abs(quiet[0].other_cores() - quiet[1].other_cores()) < 0.1  # stopped
    finally:
        load.close()
    assert all(process.poll() is not None for process in load.processes)

"""Contenders as processes: answers, failures, load. The small kernels stand in for all work."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import Contender, ContenderError, OtherUse, busy_processes


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


def test_busy_processes_take_cores_and_count_as_our_own_once_they_have_ended() -> None:
    use = OtherUse([])
    if not Path("/proc/stat").exists():  # what others use is not known there
        assert use.other_cores() == 0.0
        return
    with busy_processes(1):
        time.sleep(0.6)
        during = use.other_cores()
    after = use.other_cores()
    assert 0.1 < during - after < 1.5  # of one core, what others leave it


def test_a_busy_process_ends_with_its_parent() -> None:
    code = "import os, sys; from processes import busy_processes; busy_processes(1).__enter__(); os._exit(0)"
    # What a process inherits stays open until it ends too: this returns when both have.
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=30,
                   cwd=Path(__file__).parents[2] / "bench")  # fmt: skip

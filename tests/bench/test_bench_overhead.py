"""What Python costs around the kernels: the parts of a step are no more than the step."""

import re

import overhead
import pytest

from refplay.kernels.numba_cpu import threads


def test_parts_add_up_to_the_whole(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(overhead, "CALLS", 20)
    before = threads.threads()
    overhead.main()
    threads.set_threads(before)
    step, *calls, alone = capsys.readouterr().out.splitlines()
    whole, program, python = (float(number) for number in re.findall(r"(\d+\.\d) us", step))
    assert 0 < program < whole
    assert abs(whole - program - python) < 0.15  # three roundings to 0.1
    assert [line.split()[0] for line in calls] == ["sgd", "adam"]
    launched, _, kept = (float(number) for number in re.findall(r"(\d+\.\d) us", alone))
    assert kept < launched

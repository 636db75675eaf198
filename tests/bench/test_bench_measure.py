"""A case as the harness measures it, with contenders made up: who fails, how, and what is kept."""

import os
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import compare
import pytest
from compare import Case, OtherWorkError, Settings, measure
from processes import ContenderError

CASE, SETTINGS = Case("mlp-256", 8), Settings(rounds=3, burst=0.01, load=0, cpu="native", contenders=[])


class Fake:
    """Answers without a process: a step takes `step` microseconds, and `dies_at` is the burst that ends it."""

    def __init__(self, name: str, step: float, check: float = 2.3, dies_at: int = 0) -> None:
        self.name, self.step, self.check, self.dies_at = name, step, check, dies_at
        self.bursts = 0
        self.process = SimpleNamespace(pid=os.getpid())

    def ask(self, request: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        if "case" in request:
            if self.check < 0:
                raise ContenderError(self.name, "no compiler")
            return {"check": self.check}
        self.bursts += 1
        if self.bursts == self.dies_at:
            raise ContenderError(self.name, "Killed")
        return {"median_us": self.step, "mean_us": 2 * self.step, "calls": 1}


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "REST", 0.0)
    monkeypatch.setattr(compare.OtherUse, "other_cores", lambda self: 0.0)


def together(*fakes: Fake) -> dict[str, Any]:
    return {fake.name: fake for fake in fakes}


def test_who_cannot_set_up_and_who_dies_later_are_recorded_and_the_others_measured() -> None:
    fakes = together(Fake("ours", 10.0), Fake("torch", 30.0), Fake("torch-compile", 5.0, check=-1.0),
                     Fake("jax", 20.0, dies_at=2))  # fmt: skip
    record = measure(CASE, fakes, SETTINGS)
    assert record["errors"] == {"torch-compile": "no compiler", "jax": "Killed"}
    assert record["rounds_us"] == {"ours": [10.0] * 3, "torch": [30.0] * 3}
    assert (record["better_peer"], record["ratio"], record["rounds_left_out"]) == ("torch", 3.0, 0)
    assert "jax failed: Killed" in compare.line(CASE, record)


def test_a_case_that_nobody_can_do_is_recorded_as_that() -> None:
    record = measure(CASE, together(Fake("ours", 1.0, check=-1.0), Fake("jax", 1.0, dies_at=1)), SETTINGS)
    assert record["errors"] == {"ours": "no compiler", "jax": "Killed"}
    assert (record["median_us"], record["ratio"]) == ({}, None)
    assert "ours failed: no compiler" in compare.line(CASE, record)


def test_bursts_alternate_and_everyone_is_first_in_turn() -> None:
    order: list[str] = []
    fakes = together(Fake("ours", 1.0), Fake("torch", 2.0), Fake("jax", 3.0))
    for fake in fakes.values():
        ask = fake.ask
        fake.ask = lambda request, timeout, ask=ask, name=fake.name: order.append(name) or ask(request, timeout)
    measure(CASE, fakes, SETTINGS)
    bursts = order[3:]
    assert [bursts[0], bursts[3], bursts[6]] == ["ours", "torch", "jax"]
    assert sorted(bursts) == sorted(["ours", "torch", "jax"] * 3)


def test_other_work_is_no_measurement() -> None:
    with pytest.raises(OtherWorkError):
        measure(CASE, together(Fake("ours", 1.0), Fake("torch", 2.0, check=2.4)), SETTINGS)


def test_disturbed_rounds_are_measured_again_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    uses = iter([0.0, 0.9, 0.0, 0.5, 0.0])
    monkeypatch.setattr(compare.OtherUse, "other_cores", lambda self: next(uses))
    record = measure(CASE, together(Fake("ours", 1.0), Fake("jax", 2.0)), SETTINGS)
    assert (record["rounds_left_out"], record["other_cores"], len(record["rounds_us"]["ours"])) == (2, 0.0, 3)
    monkeypatch.setattr(compare.OtherUse, "other_cores", lambda self: 0.7)
    record = measure(CASE, together(Fake("ours", 1.0), Fake("jax", 2.0)), SETTINGS)
    assert (record["rounds_left_out"], record["other_cores"]) == (3, 0.7)
    assert "BUSY: 0.70 cores" in compare.line(CASE, record)


def test_load_gives_the_slowdown_of_each() -> None:
    fakes = together(Fake("ours", 1.0), Fake("jax", 2.0))
    record = measure(CASE, fakes, SETTINGS._replace(load=1))
    assert record["slowdown"] == {"ours": 1.0, "jax": 1.0}
    assert record["slowdown_of_mean"] == {"ours": 1.0, "jax": 1.0}
    assert fakes["ours"].bursts == 6  # one without and one with load in each of three rounds

"""The clock, held against contenders whose times are known: they sleep."""

import time

import numpy as np
import pytest

from refplay.procedures.stopwatch import LEAST, ROUNDS, WARM_UP, Contender, time_in_turns

BATCH = np.zeros((4, 2), np.float32), np.zeros(4, np.int64)
MEMORY = {"plain": 123}


def sleeper(waiting: float, working: float) -> Contender:
    def gather(step: int):
        time.sleep(waiting)
        return BATCH

    def step(x, labels):
        time.sleep(working)
        return 0.5

    return Contender(gather, step)


def test_time_per_step_and_the_share_of_waiting() -> None:
    found = time_in_turns({"plain": sleeper(0.005, 0.015)}, 4, MEMORY, seconds=0.2)["plain"]
    # sleep never returns early; as much again is what a busy machine may take (of a median, so not at its worst)
    assert 0.020 <= found.seconds < 0.040
    assert 0.005 <= found.waiting < 0.010
    assert found.lower <= found.upper
    assert found.fastest <= found.seconds <= found.slowest
    assert found.throughput == pytest.approx(4 / found.seconds)
    assert (found.batch_size, found.memory, found.failed) == (4, 123, "")


def test_contenders_take_turns_and_the_first_steps_do_not_count() -> None:
    calls: list[str] = []

    def recorder(name: str) -> Contender:
        return Contender(lambda step: BATCH, lambda x, labels: calls.append(name) or 0.0)

    found = time_in_turns({"a": recorder("a"), "b": recorder("b")}, 4, {}, seconds=0.0)
    turn = LEAST + 1  # the first step of a round does not count
    assert calls == ["a"] * WARM_UP + ["b"] * WARM_UP + (["a"] * turn + ["b"] * turn) * ROUNDS
    assert {timing.steps for timing in found.values()} == {LEAST * ROUNDS}
    assert {len(timing.rounds) for timing in found.values()} == {ROUNDS}


def test_batches_come_in_order() -> None:
    asked: list[int] = []
    contender = Contender(lambda step: asked.append(step) or BATCH, lambda x, labels: 0.0)
    time_in_turns({"a": contender}, 4, {}, seconds=0.0)
    assert asked == list(range(WARM_UP + ROUNDS * (LEAST + 1)))


def test_the_loss_is_waited_for() -> None:
    class Unfinished:
        def __float__(self) -> float:
            time.sleep(0.005)
            return 1.0

    found = time_in_turns({"a": Contender(lambda step: BATCH, lambda x, labels: Unfinished())}, 4, {}, seconds=0.0)
    assert found["a"].seconds >= 0.005


def test_a_slow_warm_up_is_not_in_the_times() -> None:
    delays = iter([0.2, 0.1, 0.1])
    contender = Contender(lambda step: BATCH, lambda x, labels: time.sleep(next(delays, 0.001)) or 0.0)
    assert time_in_turns({"a": contender}, 4, {}, seconds=0.0)["a"].upper < 0.05


@pytest.mark.parametrize("at", [0, WARM_UP, WARM_UP + 9])
def test_out_of_memory_is_a_record_and_the_others_go_on(at: int) -> None:
    steps = iter(range(1000))

    def step(x, labels):
        if next(steps) == at:
            raise MemoryError("Unable to allocate 7 GiB")
        return 0.0

    found = time_in_turns({"a": Contender(lambda step: BATCH, step), "b": sleeper(0.0, 0.0)}, 4, {"a": 99}, 0.0)
    assert found["a"].failed == "out of memory"
    assert found["a"].memory == 99
    assert not found["b"].failed


def test_memory_that_runs_out_while_the_loss_is_waited_for_is_a_record_too() -> None:
    class Loss:
        def __float__(self) -> float:
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 7516192768 bytes.")

    found = time_in_turns({"a": Contender(lambda step: BATCH, lambda x, labels: Loss())}, 4, {}, 0.0)
    assert found["a"].failed == "out of memory"


def test_other_errors_are_bugs_and_keep_their_traceback() -> None:
    def step(x, labels):
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        time_in_turns({"a": Contender(lambda step: BATCH, step)}, 4, {}, 0.0)

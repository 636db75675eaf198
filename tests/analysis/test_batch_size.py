"""The batch size with the least training time, and what each consumes, against arithmetic by hand."""

import pytest

from refplay.analysis.batch_size import choose_batch_size
from refplay.analysis.throughput import Timing
from refplay.errors import InputError


def timing(size: int, seconds: float, noise: float = 0.0) -> Timing:
    return Timing(size, seconds, seconds, seconds, (seconds * (1 - noise), seconds * (1 + noise)), 0.0, 20, 0)


def rising(*seconds: float, noise: float = 0.0) -> list[Timing]:
    return [timing(64 * 2**i, each, noise) for i, each in enumerate(seconds)]


def test_with_perfect_scaling_the_largest_size_that_pays() -> None:
    choice = choose_batch_size(rising(1.0, 1.05, 1.1, 1.2), {64: 800, 128: 400, 256: 200, 512: 100})
    assert choice.batch_size == choice.largest == 512
    assert [cost.seconds for cost in choice.costs] == pytest.approx([800, 420, 220, 120])
    assert [cost.consumption for cost in choice.costs] == ["", "decreases", "decreases", "decreases"]


def test_past_the_critical_size_a_larger_one_that_takes_longer_is_not_recommended() -> None:
    # 256 still saves steps, but fewer than its step takes longer: 1.5 x 300 > 1.05 x 420.
    choice = choose_batch_size(rising(1.0, 1.05, 1.5), {64: 800, 128: 420, 256: 300})
    assert choice.batch_size == 128
    assert choice.largest == 256


def test_a_size_whose_throughput_does_not_rise_is_not_considered_though_it_fits() -> None:
    # By these steps 256 would take 2.0 x 100 = 200 s, less than the 1.0 x 300 of 128. But a saturated device cannot be
    # why, and such a count of steps contradicts that steps fall at most in proportion.
    choice = choose_batch_size(rising(0.9, 1.0, 2.0), {64: 600, 128: 300, 256: 100})
    assert choice.largest == 128
    assert choice.batch_size == 128


def test_equal_times_give_the_smaller_size() -> None:
    assert choose_batch_size(rising(1.0, 1.25), {64: 500, 128: 400}).batch_size == 64


def test_consumption_counts_devices() -> None:
    choice = choose_batch_size(rising(1.0, 1.0, 1.0), {64: 400, 128: 200, 256: 150}, devices={64: 1, 128: 2, 256: 4})
    assert [(cost.devices, cost.device_seconds, cost.consumption) for cost in choice.costs] == [
        (1, 400.0, ""), (2, 400.0, "stays"), (4, 600.0, "increases")]
    assert choice.batch_size == 256  # the least time, though not the least consumption


def test_consumption_within_the_noise_stays() -> None:
    steps = {64: 400, 128: 210}
    assert choose_batch_size(rising(1.0, 2.0), steps).costs[1].consumption == "increases"  # 400 and 420
    assert choose_batch_size(rising(1.0, 2.0, noise=0.05), steps).costs[1].consumption == "stays"


def test_sizes_that_missed_the_target_or_were_not_measured_are_left_out() -> None:
    choice = choose_batch_size(rising(1.0, 1.1), {64: 100, 128: None, 4096: 3})
    assert [cost.batch_size for cost in choice.costs] == [64]


@pytest.mark.parametrize(("steps", "words"), [
    ({32: 100}, r"no batch size has both a time per step \(64, 128\) and steps to the target \(32\)"),
    ({64: 0}, "steps to the target at batch size 64: 0; give a whole number"),
    ({64: 1.5}, "1.5; give a whole number"),
])
def test_bad_steps_are_named(steps: dict[int, int | None], words: str) -> None:
    with pytest.raises(InputError, match=words):
        choose_batch_size(rising(1.0, 1.1), steps)


def test_bad_devices_are_named() -> None:
    with pytest.raises(InputError, match="devices at batch size 64: 0"):
        choose_batch_size(rising(1.0), {64: 1}, devices=0)

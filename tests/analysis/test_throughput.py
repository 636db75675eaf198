"""Throughput over batch sizes, on machines whose times are known in closed form."""

import pytest

from refplay.analysis.throughput import (
    NEARLY_DOUBLES,
    PAYS,
    Timing,
    bottleneck,
    doublings,
    failure,
    gains,
    saturation,
    shares,
)

SIZES = tuple(2**i for i in range(11))


def timing(size: int, seconds: float, waiting: float = 0.0, noise: float = 0.0) -> Timing:
    rounds = tuple(seconds * (1 + noise * shift) for shift in (0.0, -1.0, 1.0))
    return Timing(size, seconds, 0.99 * seconds, 1.01 * seconds, rounds, waiting, 20, 1000)


def machine(overhead: float, per_example: float, waiting: float = 0.0, noise: float = 0.0) -> list[Timing]:
    """Time per step = overhead + (per_example + waiting) B."""
    return [timing(b, overhead + (per_example + waiting) * b, waiting * b, noise) for b in SIZES]


def test_a_device_that_is_never_full_doubles_up_to_the_end() -> None:
    found = saturation(machine(1.0, 1e-5))
    assert (found.batch_size, found.reached) == (1024, False)
    assert {doubling.verdict for doubling in doublings(machine(1.0, 1e-5))} == {"nearly doubles"}


def test_a_serial_device_is_full_at_once() -> None:
    found = saturation(machine(0.0, 1e-3))
    assert (found.batch_size, found.reached) == (1, True)
    assert {(d.verdict, d.bottleneck) for d in doublings(machine(0.0, 1e-3))} == {("does not pay", "compute")}


def test_gains_follow_amdahl() -> None:
    # With t = a + c B, doubling B multiplies the throughput by 2 (a + c B) / (a + 2 c B).
    a, c = 0.01, 1e-4
    for doubling in doublings(machine(a, c)):
        b = doubling.smaller
        expected = 2 * (a + c * b) / (a + 2 * c * b)
        assert doubling.gain == pytest.approx(expected, rel=1e-12)
        assert (doubling.verdict == "nearly doubles") == (expected >= NEARLY_DOUBLES)


def test_the_largest_size_worth_considering_is_where_gains_end() -> None:
    # a = 100 c: T(B) = B / (100 + B) / c. 256 has 0.7191/c; 512 has 0.8366/c, 1.163 times as much; 1024 has 0.9110/c,
    # only 1.089 times that.
    assert saturation(machine(1e-2, 1e-4)).batch_size == 512


def test_a_slow_rise_counts_in_the_end() -> None:
    throughputs = [100 * 1.06**i for i in range(5)]  # below 1.1 per doubling, above over two
    timings = [timing(2**i, 2**i / throughput) for i, throughput in enumerate(throughputs)]
    assert saturation(timings).batch_size == 16
    assert all(d.verdict == "does not pay" for d in doublings(timings))


def test_a_dip_does_not_hide_what_comes_after_it() -> None:
    timings = [timing(1, 1 / 100), timing(2, 2 / 80), timing(4, 4 / 150)]
    assert saturation(timings).batch_size == 4


def test_noise_widens_the_answer_and_is_called_unclear() -> None:
    exact, noisy = saturation(machine(1e-2, 1e-4)), saturation(machine(1e-2, 1e-4, noise=0.05))
    assert exact.lowest == exact.highest == exact.batch_size == noisy.batch_size == 512
    assert noisy.highest > 512
    rising = saturation([timing(8, 1.0, noise=0.05), timing(16, 1.7, noise=0.05)])  # 1.18 times, give or take a tenth
    assert (rising.lowest, rising.batch_size, rising.highest) == (8, 16, 16)
    verdicts = {d.larger: d.verdict for d in doublings(machine(1e-2, 1e-4, noise=0.05))}
    assert verdicts[1024] == "unclear"  # 1.089 times, give or take a tenth
    assert verdicts[64] == "pays"  # 1.610 times, give or take a tenth


def test_bounds_are_quotients_of_rounds() -> None:
    a = Timing(8, 1.0, 1.0, 1.0, (0.9, 1.0, 1.3), 0.0, 9, 0)
    b = Timing(16, 1.2, 1.2, 1.2, (1.1, 1.2, 1.5), 0.0, 9, 0)
    assert gains(a, b) == pytest.approx((2 / 1.2, 2 * 0.9 / 1.5, 2 * 1.3 / 1.1))


def test_gains_are_per_doubling_whatever_the_sizes() -> None:
    a, b = timing(3, 1.0), timing(24, 2.0)  # throughput times 4 over three doublings
    assert gains(a, b)[0] == pytest.approx(4 ** (1 / 3))


@pytest.mark.parametrize(("waiting", "compute", "jump", "name"), [
    (1e-3, 1e-4, 0.0, "input pipeline"), (1e-4, 1e-3, 0.0, "compute"), (1e-5, 1e-4, 0.05, "overhead")])
def test_the_bottleneck_is_what_grew_most(waiting: float, compute: float, jump: float, name: str) -> None:
    # From 16 examples on the step also pays `jump`, as where threads begin to wait for each other. The cost per example
    # is seen at 8, before the jump.
    timings = [timing(b, (compute + waiting) * b + (jump if b >= 16 else 0.0), waiting * b) for b in (4, 8, 16)]
    assert bottleneck(timings[1], timings[2], timings) == name


def test_the_bottleneck_is_not_the_fixed_cost_that_larger_batches_share() -> None:
    # Nine tenths of a step of 16 are fixed, and that is why doubling pays; nothing holds it back.
    timings = machine(9 * 16e-4, 1e-4)
    assert bottleneck(timings[4], timings[5], timings) == ""
    assert shares(timings[4], timings)["overhead"] > 0.85


def test_shares_are_parts_of_one() -> None:
    timings = machine(1e-2, 1e-4, waiting=2e-5)
    for each in timings:
        parts = shares(each, timings)
        assert sum(parts.values()) == pytest.approx(1.0)
        assert min(parts.values()) >= -1e-12
        assert parts["input pipeline"] == pytest.approx(each.waiting / each.seconds)
    assert shares(timings[-1], timings)["overhead"] == pytest.approx(0.0)


def test_failed_sizes_are_left_out_and_order_does_not_matter() -> None:
    timings = [failure(2048, 10**10, "over the memory budget"), *reversed(machine(1e-2, 1e-4))]
    assert saturation(timings) == saturation(machine(1e-2, 1e-4))
    assert len(doublings(timings)) == len(SIZES) - 1


def test_nothing_measured_is_an_error_and_one_size_is_not_saturated() -> None:
    with pytest.raises(ValueError, match="no batch size was measured"):
        saturation([failure(8, 0, "memory")])
    assert not saturation([timing(8, 1.0)]).reached
    assert doublings([timing(8, 1.0)]) == []


def test_the_factors_are_sane() -> None:
    assert 1 < PAYS < NEARLY_DOUBLES < 2

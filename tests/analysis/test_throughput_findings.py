"""What is said of a measurement, on machines made up to show each case."""

import pytest

from refplay.analysis.finding import Finding
from refplay.analysis.throughput import Comparison, Measured, Timing, failure
from refplay.analysis.throughput_findings import throughput_findings

SIZES = tuple(2**i for i in range(9))


def timing(size: int, seconds: float, waiting: float = 0.0, noise: float = 0.0) -> Timing:
    rounds = (seconds * (1 - noise), seconds, seconds * (1 + noise))
    return Timing(size, seconds, seconds, seconds, rounds, waiting, 20, 1000)


def made(ours: list[Timing], **others: object) -> Measured:
    key = {"model": "mlp", "cores": "2"}
    plain = Measured(key, 10**9, tuple(ours), {}, None, None, "the end of the range", 0.0)
    return plain._replace(**others)


def finding(found: Measured, topic: str) -> Finding:
    (only,) = [each for each in throughput_findings(found) if each.topic == topic]
    assert only.study == "mlp"
    assert only.section
    return only


def serial(overhead: float = 6.4e-3, cost: float = 1e-4, **more: float) -> list[Timing]:
    return [timing(b, overhead + cost * b, **more) for b in SIZES]


def test_a_saturated_device() -> None:
    # overhead = 64 c: 256 has 1.2 times the throughput of 128, 512 has 1.111 times that of 256, 1024 then 1.059 times.
    ours = [timing(b, 6.4e-3 + 1e-4 * b) for b in (*SIZES, 512, 1024)]
    found = finding(made(ours), "largest batch size")
    assert found.verdict == "good"
    assert "up to 512" in found.seen
    assert found.numbers["batch_size"] == 512


def test_a_device_that_is_not_yet_full() -> None:
    found = finding(made(serial(), ended="the training set of digits has 300 examples"), "largest batch size")
    assert found.verdict == "note"
    assert "still rises at 256" in found.seen
    assert "training set of digits" in found.seen


def test_one_size_asks_for_more() -> None:
    found = finding(made([timing(64, 1e-3)]), "largest batch size")
    assert "Only 64 (64,000 examples/s)" in found.seen
    assert "--batch-sizes" in found.action


def test_stretches_of_doubling_are_named_with_their_bottleneck() -> None:
    first, second = [each for each in throughput_findings(made(serial())) if each.topic == "doubling"]
    # 2 (64 + B) / (64 + 2 B) >= 1.8 up to B = 8 (1.8 exactly at 8: 2 * 72 / 80)
    assert first.verdict == "good"
    assert "From batch size 1 to 16" in first.seen
    assert "nearly double" in first.seen
    assert "From batch size 16 to 256" in second.seen
    assert second.numbers["bottleneck"] == "compute"
    assert second.numbers["gains"][256] == pytest.approx(2 * (64 + 128) / (64 + 256))


def test_a_dip_in_noise_has_no_bottleneck() -> None:
    # At 64 the machine was disturbed: 0.9 times the throughput of 32 in the median, anything between rounds.
    ours = [timing(b, 6.4e-3 + 1e-4 * b) for b in (16, 32, 128)]
    seconds = 2 * ours[1].seconds / 0.9
    ours.append(timing(64, seconds)._replace(rounds=(0.7 * seconds, seconds, 2 * seconds)))
    found = made(ours)
    spans = [each.seen for each in throughput_findings(found) if each.topic == "doubling"]
    assert not any("to 64 " in span for span in spans)
    assert "64" in finding(found, "noise").seen


def test_a_slow_input_pipeline_is_named_and_mended() -> None:
    ours = [timing(b, 1e-3 + 2e-4 * b, waiting=1.9e-4 * b) for b in SIZES]
    found = made(ours)
    assert any(each.numbers.get("bottleneck") == "input pipeline" and "prefetch" in each.action
               for each in throughput_findings(found) if each.topic == "doubling")
    bound = finding(found, "input pipeline")
    assert bound.verdict == "attention"
    assert "prefetch" in bound.action
    # 1.9e-4 * 256 / (1e-3 + 2e-4 * 256)
    assert "93.2%" in bound.seen


def test_training_that_does_not_wait_is_said_not_to() -> None:
    found = finding(made([timing(8, 1e-2, waiting=1e-4), timing(16, 2e-2, waiting=1e-4)]), "input pipeline")
    assert found.verdict == "good"
    assert "1.0%" in found.seen


def test_noise_is_said() -> None:
    assert "256" in finding(made(serial(noise=0.1)), "noise").seen
    assert not [each for each in throughput_findings(made(serial())) if each.topic == "noise"]


def test_a_busy_machine_is_said_first() -> None:
    findings = throughput_findings(made(serial(), busy=1.3))
    assert findings[0].topic == "machine"
    assert "1.3 of 2 cores" in findings[0].seen
    assert "machine" not in {each.topic for each in throughput_findings(made(serial(), busy=0.1))}


def test_consumption_per_example() -> None:
    found = finding(made([timing(1, 2e-4), timing(2, 3e-4)]), "consumption")
    assert found.numbers["device_seconds_per_example"] == pytest.approx({1: 2e-4, 2: 1.5e-4})
    assert "150 (at batch size 2) to 200 (at 1)" in found.seen


@pytest.mark.parametrize(("seconds", "noise", "verdict", "words"), [
    (1.3e-3, 0.02, "good", "0.77 times"), (1.0e-3, 0.05, "good", "no benefit"), (0.7e-3, 0.02, "attention", "faster"),
])
def test_accumulation(seconds: float, noise: float, verdict: str, words: str) -> None:
    pair = Comparison("in 4 pieces of 16", timing(64, 1e-3, noise=noise), timing(64, seconds, noise=noise))
    found = finding(made(serial(), accumulation=pair), "gradient accumulation")
    assert found.verdict == verdict
    assert words in found.seen
    assert "One batch of 64 in 4 pieces of 16" in found.seen


@pytest.mark.parametrize(("seconds", "words"), [(1.3e-3, "costs more than it saves"), (0.7e-3, "helps"),
                                                (1.01e-3, "no difference that shows")])
def test_prefetching(seconds: float, words: str) -> None:
    pair = Comparison("ahead", timing(64, 1e-3, noise=0.02), timing(64, seconds, noise=0.02))
    assert words in finding(made(serial(), prefetch=pair), "prefetching").seen


def test_peers_losers_included() -> None:
    ours = [timing(8, 1e-3), timing(16, 2e-3), timing(32, 4e-3)]
    theirs = (timing(8, 3e-3), timing(16, 1e-3), failure(32, 0, "out of memory"))
    found = finding(made(ours, peers={"jax": theirs}), "peers")
    assert found.numbers["ratios"] == pytest.approx({8: 3.0, 16: 0.5})
    assert "0.50 to 3.00 times the throughput of jax" in found.seen
    assert "1 of 2 sizes" in found.seen
    assert "shared the cores" not in found.seen
    assert "shared the cores" in finding(made(ours, peers={"jax": theirs}, busy=1.0), "peers").seen


def test_nothing_measured_is_one_finding() -> None:
    (only,) = throughput_findings(made([failure(8, 1, "out of memory")], ended="batch size 8: out of memory"))
    assert only.verdict == "attention"
    assert "batch size 8: out of memory" in only.seen

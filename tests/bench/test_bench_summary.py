"""Medians, ratios and spreads of alternating rounds, by hand."""

import pytest
from compare import (
    BUSY,
    Case,
    OtherWorkError,
    Round,
    Settings,
    contenders_of,
    parse_cases,
    quietest,
    refuse_other_work,
)
from summary import better_peer, quartiles, slowdowns, summarize
from work import Burst, Work, time_burst


def test_the_better_peer_is_one_for_all_rounds_and_its_rounds_are_paired_with_ours() -> None:
    found = summarize({"ours": [10.0, 20.0, 40.0], "torch": [70.0, 30.0, 60.0], "jax": [50.0, 54.0, 72.0]})
    assert found["median_us"] == {"ours": 20.0, "torch": 60.0, "jax": 54.0}
    assert found["better_peer"] == "jax"
    # Of 50/10, 54/20, 72/40: not of the fastest peer of each round, which would be 5, 1.5, 1.5.
    assert found["ratio"] == pytest.approx(2.7)
    assert found["quartiles"] == pytest.approx([2.25, 3.85])


def test_several_steps_a_call_and_the_triad_are_no_peers() -> None:
    assert better_peer({"ours": 5.0, "torch": 9.0, "jax-scan": 1.0, "triad": 1.0}) == "torch"
    assert better_peer({"ours": 5.0, "triad": 1.0}) is None


@pytest.mark.parametrize("rounds", [{"ours": [1.0]}, {"torch": [1.0], "jax": [2.0]}])
def test_no_ratio_without_both_sides(rounds: dict[str, list[float]]) -> None:
    assert summarize(rounds)["ratio"] is None
    assert summarize(rounds)["median_us"] == {name: values[0] for name, values in rounds.items()}


def test_quartiles_are_interpolated() -> None:
    assert quartiles([4.0, 1.0, 3.0, 2.0]) == (1.75, 3.25)


def test_slowdown_is_loaded_over_free() -> None:
    assert slowdowns({"ours": 4.0, "jax": 2.0, "torch": 1.0}, {"ours": 6.0, "jax": 8.0}) == {"ours": 1.5, "jax": 4.0}


def test_rounds_are_left_out_for_the_use_that_others_made_not_for_their_times() -> None:
    rounds = [Round({"ours": Burst(time, time, 1)}, {}, other) for time, other in
              [(9.0, 0.0), (1.0, 3 * BUSY), (8.0, BUSY / 2), (2.0, 2 * BUSY), (7.0, BUSY)]]
    assert [r.free["ours"].median_us for r in quietest(rounds, 3)] == [9.0, 8.0, 7.0]
    # Too few undisturbed ones: the least disturbed of the others joins them.
    assert [r.free["ours"].median_us for r in quietest(rounds, 4)] == [9.0, 8.0, 2.0, 7.0]


def test_contenders_that_do_other_work_are_refused() -> None:
    refuse_other_work(Case("mlp-256", 8), {"ours": 2.3012, "torch": 2.3013, "optax": None})
    with pytest.raises(OtherWorkError, match="mlp-256:8: the contenders do not do the same work"):
        refuse_other_work(Case("mlp-256", 8), {"ours": 2.3012, "torch": 2.3112})
    with pytest.raises(OtherWorkError, match="do not do the same work"):
        refuse_other_work(Case("mlp-256", 8), {"ours": float("nan"), "torch": 2.3})


def test_cases_of_the_command_line() -> None:
    assert [str(case) for case in parse_cases(["convnet:1,64", "resnet"])] == [
        "convnet:1", "convnet:64", "resnet:8", "resnet:64", "resnet:256"]  # fmt: skip
    assert Case("rules.nadam", 2**25) in parse_cases(["rules"])
    assert len(parse_cases(["kernels"])) == 8
    with pytest.raises(ValueError, match="unknown case 'lstm:8'; there are: convnet"):
        parse_cases(["lstm:8"])
    with pytest.raises(ValueError, match="mlp-256:8,0: a batch size is a whole number of at least 1"):
        parse_cases(["mlp-256:8,0"])


def test_only_images_have_a_layout_and_the_triad_stands_beside_the_longest_vectors() -> None:
    settings = Settings(7, 0.2, 0, "native", [])
    assert "torch-channels-last" in contenders_of(Case("convnet", 8), settings)
    assert "torch-channels-last" not in contenders_of(Case("mlp-256", 8), settings)
    assert "triad" in contenders_of(Case("rules.adam", 2**25), settings)
    assert "triad" not in contenders_of(Case("rules.adam", 2**20), settings)
    assert contenders_of(Case("mlp-256", 512), settings._replace(load=1)) == ["ours", "torch-malloc", "jax"]
    assert contenders_of(Case("convnet", 1), settings._replace(contenders=["jax", "ours"])) == ["ours", "jax"]


def test_a_burst_divides_a_call_by_its_steps_and_times_at_least_one() -> None:
    calls = []
    burst = time_burst(Work(lambda: calls.append(sum(range(300_000))), steps=1000), seconds=0.0)
    assert burst.calls == 1
    assert len(calls) == 2  # one warms up
    assert 0.001 < burst.median_us < 1000  # some milliseconds a call, a thousandth of that a step

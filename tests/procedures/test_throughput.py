"""Measuring throughput: which sizes, what ends the doubling, what is recorded."""

import numpy as np
import pytest

from refplay.analysis.throughput import measured
from refplay.data import Dataset, from_arrays, load_dataset
from refplay.errors import InputError
from refplay.nn import convnet, mlp
from refplay.procedures import beside, throughput
from refplay.procedures.setup import Setup, changes, key_of
from refplay.procedures.throughput import batch_sizes, measure
from refplay.train import step_memory

FAST = 0.005


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture
def setup(digits: Dataset) -> Setup:
    return Setup(mlp((8, 8, 1), 10, width=24), digits, "nesterov", {"momentum": 0.8}, "numpy", "small")


def test_each_size_is_measured_and_its_memory_stated(setup: Setup) -> None:
    told: list[str] = []
    found = measure(setup, [4, 8, 16], seconds=FAST, progress=told.append)
    assert [timing.batch_size for timing in found.ours] == [4, 8, 16]
    for timing in found.ours:
        assert timing.steps >= 15
        assert 0 < timing.waiting < timing.seconds
        assert timing.memory == step_memory(setup.model, "nesterov", timing.batch_size, backend="numpy").total
    assert found.ended == "the end of the range"
    assert told[:3] == ["batch size 4", "batch size 8", "batch size 16"]
    assert found.key["model"] == "small"
    assert found.key["optimizer"] == "nesterov(momentum=0.8)"
    assert found.busy >= 0


def test_the_training_set_ends_the_doubling(setup: Setup) -> None:
    found = measure(setup, batch_sizes(512, 65536), seconds=FAST)
    assert [timing.batch_size for timing in found.ours] == [512, 1024]
    assert found.ended == "the training set of digits has 1197 examples"


def test_the_memory_budget_ends_the_doubling_before_anything_is_allocated(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = setup.memory(16)
    built: list[int] = []
    step = Setup.step
    monkeypatch.setattr(Setup, "step", lambda self, network, size: built.append(size) or step(self, network, size))
    found = measure(setup, batch_sizes(4, 64), memory=budget, seconds=FAST)
    assert [(timing.batch_size, timing.failed) for timing in found.ours] == [
        (4, ""), (8, ""), (16, ""), (32, "over the memory budget")]
    assert found.ours[-1].memory == setup.memory(32) > budget
    assert found.ended == "batch size 32: over the memory budget"
    assert 32 not in built


def test_memory_that_runs_out_all_the_same_is_a_record(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    step = Setup.step

    def out(self, network, size):
        if size >= 16:
            raise MemoryError
        return step(self, network, size)

    monkeypatch.setattr(Setup, "step", out)
    found = measure(setup, batch_sizes(4, 64), seconds=FAST)
    assert [(timing.batch_size, timing.failed) for timing in found.ours] == [(4, ""), (8, ""), (16, "out of memory")]
    assert found.ended == "batch size 16: out of memory"


def test_memory_that_runs_out_at_the_first_size_leaves_a_measurement(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out(self):
        raise MemoryError

    monkeypatch.setattr(Setup, "network", out)
    found = measure(setup, [4, 8], seconds=FAST)
    assert [timing.failed for timing in found.ours] == ["out of memory"]
    assert found.accumulation is None
    assert found.prefetch is None


def test_a_peer_whose_memory_runs_out_stops_alone(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(name, network, optimizer, size, hyperparameters, *, learning_rate, gpu):
        if name == "jax" and size == 8:
            raise MemoryError
        return lambda x, labels: 0.0

    monkeypatch.setattr(throughput, "make_peer_step", make)
    found = measure(setup, [4, 8, 16], peers=["torch", "jax"], seconds=FAST)
    assert [timing.batch_size for timing in found.peers["torch"]] == [4, 8, 16]
    assert [(timing.batch_size, timing.failed) for timing in found.peers["jax"]] == [(4, ""), (8, "out of memory")]
    assert len(measured(found.ours)) == 3


def test_peers_train_on_the_same_batches(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, list[np.ndarray]] = {"refplay": [], "torch": []}

    def recorder(name: str):
        def step(x, labels):
            seen[name].append(np.append(x.ravel(), labels))
            return 0.0
        return step

    monkeypatch.setattr(Setup, "step", lambda self, network, size: recorder("refplay"))
    monkeypatch.setattr(throughput, "make_peer_step", lambda *_, **__: recorder("torch"))
    measure(setup, [2], peers=["torch"], seconds=0.0)
    both = list(zip(*seen.values(), strict=False))
    assert len(both) >= 15
    assert all(np.array_equal(ours, theirs) for ours, theirs in both)


def test_pieces_and_prefetching_are_measured_beside(setup: Setup) -> None:
    found = measure(setup, [64, 128], seconds=FAST)
    assert found.accumulation is not None
    assert found.accumulation.what == f"in 4 pieces of {found.accumulation.plain.batch_size // 4}"
    assert found.prefetch is not None
    for pair in (found.accumulation, found.prefetch):
        gain, lowest, highest = pair.gains
        assert 0 < lowest <= gain <= highest
        assert pair.plain.batch_size == pair.other.batch_size


def test_a_batch_that_cannot_be_cut_has_no_accumulation(digits: Dataset) -> None:
    odd = Setup(mlp((8, 8, 1), 10, width=8), digits, backend="numpy")
    assert measure(odd, [6], seconds=0.0).accumulation is None
    norm = Setup(mlp((8, 8, 1), 10, width=8, normalization="batch", ghost_size=32), digits, backend="numpy")
    assert measure(norm, [64], seconds=0.0).accumulation is None  # pieces of 16 would be smaller ghost batches
    assert measure(norm, [128], seconds=0.0).accumulation is not None


def test_prefetching_is_measured_where_waiting_is_largest(setup: Setup) -> None:
    found = measure(setup, [64, 128], seconds=0.0)
    waiting = {timing.batch_size: timing.waiting_share for timing in found.ours}
    pair = beside.prefetch(setup, found.ours, 0.0, lambda what: None)
    assert pair is not None
    assert pair.plain.batch_size == max(waiting, key=lambda size: waiting[size])


def test_images_of_any_shape_can_be_measured() -> None:
    rng = np.random.default_rng(0)
    data = from_arrays(rng.integers(0, 256, (90, 12, 10, 3), dtype=np.uint8), np.arange(90) % 4, name="mine")
    found = measure(Setup(convnet((12, 10, 3), 4, width=4), data), batch_sizes(8, 1024), seconds=0.0)
    assert [timing.batch_size for timing in found.ours] == [8, 16, 32]
    assert found.key["data"] == "mine, 12 x 10 x 3, 4 classes"


@pytest.mark.parametrize(("sizes", "words"), [
    ([], "give whole numbers"), ([0, 2], "give whole numbers"), ([-4], "give whole numbers"),
    ([4, 4], "increasing order"), ([8, 4], "increasing order"), ([2.0], "give whole numbers"),
    ([True], "give whole numbers"), ([1198], r"1198 is above the 1197 training examples of digits"),
])
def test_sizes_that_cannot_be_measured_are_refused(setup: Setup, sizes: list[int], words: str) -> None:
    with pytest.raises(InputError, match=words):
        measure(setup, sizes)


def test_a_first_size_over_the_budget_is_refused(setup: Setup) -> None:
    with pytest.raises(InputError, match=r"batch size 64 needs [\d,]+ bytes, over the memory budget of 100,000"):
        measure(setup, [64, 128], memory=100_000)


def test_sizes_that_batch_norm_cannot_split_are_refused_before_measuring(digits: Dataset) -> None:
    setup = Setup(mlp((8, 8, 1), 10, normalization="batch", ghost_size=64), digits, backend="numpy")
    with pytest.raises(InputError, match="batch size 96 is not a multiple of ghost size 64"):
        measure(setup, [48, 96], seconds=0.0)


@pytest.mark.parametrize(("settings", "words"), [
    ({"optimizer": "adamw"}, "unknown optimizer 'adamw'; choose one of sgd"),
    ({"backend": "cuda"}, "unknown backend 'cuda'; choose one of numpy, numba"),
    ({"hyperparameters": {"beta1": 0.9}, "optimizer": "sgd"}, "sgd has no hyperparameter 'beta1'; it has none"),
])
def test_unknown_names_are_refused(digits: Dataset, settings: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Setup(mlp((8, 8, 1), 10), digits, **settings)


def test_unknown_peers_are_refused(setup: Setup) -> None:
    with pytest.raises(InputError, match="unknown peer 'tensorflow'"):
        measure(setup, [4], peers=["tensorflow"])


def test_the_key_changes_with_everything_that_the_results_belong_to(setup: Setup, digits: Dataset) -> None:
    now = key_of(setup, ["jax"])
    assert {"model", "optimizer", "data", "backend", "cpu", "cores", "threads", "python", "refplay", "numpy", "numba",
            "jax", "optax"} == set(now)
    assert changes(now, now) == []
    other = key_of(Setup(setup.model, digits, "adam", backend="numba"))
    assert changes(now, other) == [
        f"model is now {setup.model!r}, was small", "optimizer is now adam, was nesterov(momentum=0.8)",
        "backend is now numba, was numpy"]
    for name in now:
        assert changes(now | {name: "another"}, now) == [f"{name} is now {now[name]}, was another"]


def test_threads_are_those_that_the_kernels_were_given(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFPLAY_THREADS", "7")
    assert key_of(setup)["threads"] == "7"

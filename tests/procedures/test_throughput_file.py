"""A measurement kept in a file comes back as it was; anything else is one clear line."""

import json
from pathlib import Path

import pytest

from refplay.analysis.throughput import Comparison, Measured, Timing, failure
from refplay.errors import InputError
from refplay.procedures.throughput_file import check_writable, read_measured, write_measured


def timing(size: int, seconds: float) -> Timing:
    return Timing(size, seconds, 0.9 * seconds, 1.2 * seconds, (0.95 * seconds, seconds, 1.1 * seconds), 1e-5, 33, 4096)


@pytest.fixture
def found() -> Measured:
    ours = timing(8, 1e-3), timing(16, 1.2e-3), failure(32, 9999, "over the memory budget")
    return Measured({"model": "mlp", "cpu": "Z80"}, 5000, ours, {"torch": (timing(8, 3e-3), timing(16, 3.1e-3))},
                    Comparison("in 4 pieces of 4", timing(16, 1e-3), timing(16, 2e-3)), None,
                    "batch size 32: over the memory budget", 0.25)


def test_what_is_written_is_read(found: Measured, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_measured(found, path)
    stored = read_measured(path)
    assert stored.measured == found
    assert stored.created.startswith("20")


def test_the_file_says_what_matters_without_refplay(found: Measured, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_measured(found, path)
    content = json.loads(path.read_text())
    assert content["sizes"][1]["examples_per_second"] == pytest.approx(16 / 1.2e-3)
    assert content["sizes"][1]["waiting_share"] == pytest.approx(1e-5 / 1.2e-3)
    assert content["sizes"][1]["device_seconds_per_example"] == pytest.approx(1.2e-3 / 16)
    assert content["conclusions"]["largest"]["batch_size"] == 16
    assert content["conclusions"]["doublings"][0]["gain"] == pytest.approx(2 / 1.2)
    assert content["accumulation"]["gain"] == pytest.approx(0.5)


def test_a_measurement_of_nothing_is_kept_too(found: Measured, tmp_path: Path) -> None:
    nothing = found._replace(ours=(failure(8, 1, "out of memory"),), peers={}, accumulation=None)
    write_measured(nothing, tmp_path / "results.json")
    assert read_measured(tmp_path / "results.json").measured == nothing


@pytest.mark.parametrize(("text", "words"), [
    (None, "cannot read"), ("{", "is no JSON"), ("[]", "is no measurement of throughput"),
    ('{"format": "something"}', "is no measurement of throughput"),
    ('{"format": "refplay-throughput-1"}', "is damaged"), ("\xff\xfe", "is no JSON"),
])
def test_other_files_are_refused(tmp_path: Path, text: str | None, words: str) -> None:
    path = tmp_path / "results.json"
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=words) as error:
        read_measured(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), "fast", None])
def test_times_that_cannot_be_are_refused(found: Measured, tmp_path: Path, value: object) -> None:
    path = tmp_path / "results.json"
    write_measured(found, path)
    content = json.loads(path.read_text())
    content["sizes"][0]["seconds"] = value
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="is damaged"):
        read_measured(path)


def test_places_that_cannot_be_written_are_refused(found: Measured, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        check_writable(tmp_path, "--json")
    with pytest.raises(InputError, match=r"--plot .* there is no folder"):
        check_writable(tmp_path / "no" / "plot.png", "--plot")
    check_writable(tmp_path / "new.json", "--json")
    with pytest.raises(InputError, match="cannot write"):
        write_measured(found, tmp_path)

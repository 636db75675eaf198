"""The tables in README and docs are those of the results; how they are made, on results made up."""

import json
from pathlib import Path
from typing import Any

import pytest
from results import FILE, Results
from tables import PAGES, TABLES, bandwidth, markdown, replace_tables, tables_of

ROOT = Path(__file__).parents[2]
RUN = {"machine": "2 cores of X", "versions": {"torch": "9"}, "commit": "abc", "date": "2026-01-02", "command": "c",
       "settings": {"rounds": 7}}


def step_record(**more: Any) -> dict[str, Any]:
    return {"median_us": {"ours": 50.0, "torch": 210.0, "jax": 150.0, "jax-scan": 40.0}, "better_peer": "jax",
            "ratio": 3.0, "quartiles": [2.5, 3.25], "errors": {"torch-compile": "no compiler"}, "other_cores": 0.0,
            "run": 0, **more}  # fmt: skip


def test_pages_say_what_the_results_say() -> None:
    """`python bench/tables.py` was run after the last measurement."""
    tables = tables_of(json.loads(FILE.read_text(encoding="utf-8")))
    for name in PAGES:
        page = (ROOT / name).read_text(encoding="utf-8")
        assert replace_tables(page, tables) == page, f"{name} is stale: python bench/tables.py"


def test_every_table_stands_on_a_page() -> None:
    pages = "".join((ROOT / name).read_text(encoding="utf-8") for name in PAGES)
    assert [name for name in TABLES if f"<!-- bench:{name} -->" not in pages] == []


def test_steps_show_every_contender_and_the_loser_too() -> None:
    table = TABLES["steps"]({"runs": [RUN], "cases": {"mlp-256:8": step_record(ratio=0.75)}})
    assert "| 8 | 50.0 | 210 | **150** | 40.0 | **0.75** (2.50–3.25) |" in table
    assert "2026-01-02, 2 cores of X; torch 9; commit abc; `c`" in table


def test_sizes_come_in_the_order_of_numbers_and_apart_from_other_settings() -> None:
    cases = {f"convnet:{size}": step_record(ratio=float(size)) for size in (512, 64, 8)}
    cases["convnet:8 avx2"] = step_record(ratio=77.0)
    table = TABLES["summary"]({"runs": [RUN], "cases": cases})
    assert "| ConvNet | 8.00 | 64.00 | 512.00 |" in table
    assert "77.0" not in table
    assert "77.0" in TABLES["avx2"]({"runs": [RUN], "cases": cases})


def test_a_contender_that_failed_is_shown_so() -> None:
    record = step_record(errors={"torch": "no memory"})
    assert "| 8 | 50.0 | fails |" in TABLES["steps"]({"runs": [RUN], "cases": {"mlp-256:8": record}})


def test_a_busy_machine_is_admitted() -> None:
    assert "busy" in TABLES["steps"]({"runs": [RUN], "cases": {"mlp-256:8": step_record(other_cores=0.7)}})
    assert "busy" not in TABLES["steps"]({"runs": [RUN], "cases": {"mlp-256:8": step_record()}})


def test_bandwidth_counts_seven_vectors_for_adam_and_three_for_the_triad() -> None:
    assert bandwidth("adam", 10**6, 1000.0) == pytest.approx(28.0)
    assert bandwidth("triad", 10**6, 1000.0) == pytest.approx(12.0)
    record = {**step_record(), "median_us": {"ours": 1400.0, "torch": 3000.0, "triad": 500.0}}
    table = TABLES["rules"]({"runs": [RUN], "cases": {f"rules.adam:{2**25}": record}})
    assert "| adam | 2^25 |" in table
    assert "| 83% |" in table  # 7/1400 over 3/500


def test_load_shows_both_slowdowns() -> None:
    record = step_record(loaded_us={"ours": 100.0, "torch": 840.0, "jax": 300.0, "jax-scan": 50.0},
                         slowdown={"ours": 2.0, "torch": 4.0, "jax": 2.0, "jax-scan": 1.2},
                         slowdown_of_mean={"ours": 2.5, "torch": 9.0, "jax": 3.0, "jax-scan": 2.0})
    table = TABLES["load"]({"runs": [RUN], "cases": {"convnet:1 load 2": record}})
    assert "| ConvNet, 1 | 2 | 100 | x 2.0 (x 2.5) | JAX x 2.0 (x 3.0) | PyTorch x 4.0 (x 9.0) | **3.00** |" in table


def test_only_marked_places_change() -> None:
    page = "before\n<!-- bench:a -->\n1\n2\n<!-- end -->\nbetween\n<!-- test -->\nkept\n<!-- end -->\n"
    assert replace_tables(page, {"a": "X"}) == page.replace("1\n2", "X")
    with pytest.raises(KeyError):
        replace_tables(page, {"b": "X"})


def test_a_table_has_as_many_rules_as_columns() -> None:
    assert markdown(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | ---: |\n| 1 | 2 |"


def test_results_are_kept_by_case_and_measured_again_by_another_commit(tmp_path: Path) -> None:
    file = tmp_path / "new" / "r.json"
    first = Results(file, RUN)
    first.put("a:1", {"ratio": 1.0, "other_cores": 0.0})
    first.put("b:1", {"ratio": 2.0, "other_cores": 0.0})
    again = Results(file, {**RUN, "date": "2027-01-01", "command": "another"})
    assert again.has("a:1")
    assert not again.has("c:1")
    later = Results(file, {**RUN, "commit": "def"})
    assert not later.has("a:1")
    later.put("a:1", {"ratio": 3.0, "other_cores": 0.0})
    kept = json.loads(file.read_text())
    assert kept["cases"]["a:1"] == {"ratio": 3.0, "other_cores": 0.0, "run": 1}
    assert [run["commit"] for run in kept["runs"]] == ["abc", "def"]
    later.put("b:1", {"ratio": 4.0, "other_cores": 0.0})
    assert [run["commit"] for run in json.loads(file.read_text())["runs"]] == ["def"]  # nothing is left of the first


def test_a_case_of_a_busy_machine_is_measured_again(tmp_path: Path) -> None:
    results = Results(tmp_path / "r.json", RUN)
    results.put("a:1", {"other_cores": 0.9})
    assert not results.has("a:1")

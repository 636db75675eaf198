"""The tables and the plots of GPU results, made of results made up; where nothing was measured there is none."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpu_plots import LOOKS, PLOTS
from gpu_tables import file_of, kernels, read, steps, tables_of
from PIL import Image
from summary import summarize
from tables import replace_tables

ROOT = Path(__file__).parents[2]
SIZES = (1, 8, 64, 512, 4096, 16384, 65536)
RUN = {"machine": "16 cores of X", "versions": {"torch": "2.11.0", "jax": "0.11.2"}, "commit": "abc",
       "date": "2026-01-02", "command": "python bench/gpu.py --backend cupy", "settings": {},
       "gpu": {"device": "made up", "driver": "580.1"}}


def kernel(ours: float, peers: dict[str, float], group: str, **more: Any) -> dict[str, Any]:
    rounds = {name: [0.5 * time, time, 2 * time] for name, time in {"ours": ours, **peers}.items()}
    rounds["ours"] = [ours] * 3
    return summarize(rounds) | {
        "errors": {}, "group": group, "ceiling": "copy", "ceiling_rate": 4000.0, "share": 0.915, "operations": 0,
        "gb_per_s": 3660.0, "tflops": 0.0, "run": 0, **more}  # fmt: skip


def product(side: int, precision: str, **peers: float) -> dict[str, Any]:
    return kernel(100.0, {"cublas": 80.0, **peers}, {"float32": "products"}.get(precision, precision),
                  ceiling=precision, ceiling_rate=700.0, share=0.7, operations=2 * side**3, tflops=490.0)  # fmt: skip


def step(size: int, model: int) -> dict[str, Any]:
    work = (model + 1) * size / 50
    times = {"ours": 30 + work, "torch": 350 + work, "torch-channels-last": 380 + 0.9 * work,
             "torch-compile": 200 + 0.95 * work, "jax": 110 + 1.3 * work}  # fmt: skip
    return {"median_us": times, "better_peer": "jax", "ratio": times["jax"] / times["ours"], "quartiles": [2.0, 3.0],
            "errors": {}, "run": 0, "roofline_us": 2 + work / 2}  # fmt: skip


@pytest.fixture
def data() -> dict[str, Any]:
    cases = {f"{model}:{size}": step(size, i) for i, model in enumerate(("convnet", "mlp-256", "mlp-1024"))
             for size in SIZES}  # fmt: skip
    cases["mlp-256:65536"]["errors"]["jax"] = "out of memory"
    del cases["mlp-256:65536"]["median_us"]["jax"]
    cases["adam"] = kernel(500.0, {"torch": 550.0}, "rules")
    cases["relu_forward"] = kernel(130.0, {"torch": 140.0}, "activations")
    cases["product float32 1024"] = product(1024, "float32")
    cases["product float32 512"] = product(512, "float32")
    cases["product bf16 1024"] = product(1024, "bf16", **{"ours-rounded": 50.0, "cublas-float32": 130.0})
    failed = {"median_us": {}, "better_peer": None, "ratio": None, "quartiles": None, "run": 0}
    cases["nadam"] = {**failed, "errors": {"ours": "ValueError: odd"}}
    return {"runs": [RUN], "cases": cases}


def test_a_kernel_shows_time_rate_share_of_the_ceiling_and_the_best_peer(data: dict[str, Any]) -> None:
    table = kernels(data)
    assert "| adam | 500 | 3,660 GB/s | 92% | copy, 4,000 GB/s | PyTorch | 550 | **1.10** (0.83–1.65) |" in table
    assert "| product float32 512 | 100 | 490 TFLOP/s | 70% | cuBLAS float32, 700 TFLOP/s | cuBLAS | 80.0 |" in table
    assert "device made up, driver 580.1; 16 cores of X; torch 2.11.0" in table
    assert "commit abc" in table


def test_the_product_without_its_rounding_has_a_row_of_its_own(data: dict[str, Any]) -> None:
    row = "| product bf16 1024, of rounded factors | 50.0 | 980 TFLOP/s | 140% | cuBLAS bf16, 700 TFLOP/s | cuBLAS |"
    assert f"{row} 80.0 | 1.60 |" in kernels(data)


def test_kernels_come_by_group_and_sizes_as_numbers(data: dict[str, Any]) -> None:
    names = [row.split("|")[1].strip() for row in kernels(data).splitlines()[2:] if row.startswith("|")]
    assert names == ["relu_forward", "adam", "product float32 512", "product float32 1024", "product bf16 1024",
                     "product bf16 1024, of rounded factors"]  # fmt: skip


def test_what_failed_is_told(data: dict[str, Any]) -> None:
    assert "- nadam failed: ValueError: odd" in kernels(data)
    only = {"runs": [RUN], "cases": {"nadam": data["cases"]["nadam"]}}
    assert "- nadam failed: ValueError: odd" in kernels(only)
    assert "| 65,536 |" in steps(data)
    assert "| fails |" in next(line for line in steps(data).splitlines() if "fails" in line)


def test_a_backend_without_results_has_tables_that_say_so() -> None:
    assert set(tables_of(None, "cupy").values()) == {"Not measured on a GPU yet."}
    assert [make({"runs": [], "cases": {}}, "cupy") for make in PLOTS.values()] == [None, None]
    assert kernels({"runs": [], "cases": {}}) == "Not measured yet."


def test_steps_are_held_against_their_roofline(data: dict[str, Any]) -> None:
    row = next(line for line in steps(data).splitlines() if line.startswith("| 512 |"))  # of the ConvNet, the first
    assert row.endswith("| 7.12 (18%) |")  # 2 + 512 / 100 of 30 + 512 / 50
    record = data["cases"]["convnet:8"]
    del record["median_us"]["ours"], record["roofline_us"]
    rows = [line for line in steps(data).splitlines() if line.startswith("| 8 |")]
    assert rows[0].endswith("|  |")
    assert rows[1].endswith("%) |")


def test_the_plot_of_steps_has_every_contender_of_every_model(data: dict[str, Any]) -> None:
    figure = PLOTS["steps"](data, "cupy")
    assert figure is not None
    assert len(figure.axes) == 3
    for ax in figure.axes:
        assert {line.get_gid() for line in ax.lines} == {*LOOKS, "roofline"}
    lines = {line.get_gid(): line for line in figure.axes[1].lines}
    assert list(lines["jax"].get_xdata()) == list(SIZES[:-1])  # of mlp-256, where JAX failed last
    assert lines["jax"].get_ydata()[0] == pytest.approx((110 + 1.3 * 2 / 50) / 1e3)
    assert lines["roofline"].get_ydata()[0] == pytest.approx((2 + 1 / 50) / 1e3)
    assert figure.axes[1].get_ylim()[0] < (2 + 1 / 50) / 1e3


def test_the_plot_of_kernels_has_their_shares_of_the_ceiling(data: dict[str, Any]) -> None:
    figure = PLOTS["kernels"](data, "cupy")
    assert figure is not None
    (ax,) = figure.axes
    shown = {points.get_gid(): points.get_offsets().tolist() for points in ax.collections}
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names[:2] == ["relu_forward", "adam"]
    assert shown["ours"][1] == pytest.approx([0.915, 1])
    assert shown["peer"][1] == pytest.approx([0.915 * 500 / 550, 1])
    assert shown["ours"][-1] == pytest.approx([0.7, 4])  # with the rounding of its factors
    assert ax.get_ylim()[0] > ax.get_ylim()[1]


def test_the_command_writes_plots_and_page(data: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps(data))
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- bench:gpu-cupy-steps -->\n<!-- end -->\nb\n")
    printed = command("--results", tmp_path / "r.json", "--page", page, "--plots", tmp_path)
    assert printed.returncode == 0, printed.stderr
    assert "| adam | 500 |" in printed.stdout
    assert "ConvNet:" in page.read_text()
    for name in ("kernels", "steps"):
        picture = np.asarray(Image.open(tmp_path / f"gpu-cupy-{name}.png").convert("L"))
        assert picture.std() > 10.0


def test_a_page_without_a_place_is_told(data: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps(data))
    (tmp_path / "page.md").write_text("a\n")
    found = command("--results", tmp_path / "r.json", "--page", tmp_path / "page.md")
    assert found.returncode == 1
    assert "has no place for a table: <!-- bench:gpu-cupy-kernels --> and" in found.stderr


def test_the_page_of_the_backend_has_the_tables_of_its_results() -> None:
    """Those that were measured, or the sentence that there are none."""
    page = (ROOT / "docs" / "cupy.md").read_text()
    assert page.count("<!-- bench:gpu-cupy-") == 2
    assert replace_tables(page, tables_of(read(file_of("cupy")), "cupy")) == page


def test_without_a_file_nothing_is_printed_but_that(tmp_path: Path) -> None:
    found = command("--results", tmp_path / "none.json", "--plots", tmp_path)
    assert found.returncode == 1
    assert found.stdout == ""
    assert found.stderr.strip() == f"{tmp_path / 'none.json'} does not exist: cupy has not been measured on a GPU"
    assert not list(tmp_path.iterdir())


def command(*arguments: Any) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "bench/gpu_tables.py", "--backend", "cupy"]
    return subprocess.run([*program, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True)

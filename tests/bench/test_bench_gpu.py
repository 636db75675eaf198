"""bench/gpu.py and gpu_steps.py without a GPU: dry runs, and rehearsals of what a GPU run does beside measuring."""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpu import OtherResultError, check, groups_of
from gpu_cases import CLOSE, Case
from gpu_products import HOW_CLOSE
from gpu_roofline import least_us
from gpu_run import attempt, describe, in_process, run_parts
from gpu_steps import SMALL
from results import Results, describe_run

ROOT = Path(__file__).parents[2]
UNLIKE = {"rmsprop", "nadam", "dropout"}  # whose results are not PyTorch's


def bench(script: str, *arguments: Any, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, script, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True,
                          env={**os.environ, **environment})  # fmt: skip


def outcomes(printed: str) -> dict[str, str]:
    """Return of each case whether it "ran" or "agrees"."""
    rows = [line.rsplit("  ", 1) for line in printed.splitlines() if "  " in line]
    return {name.strip(): outcome.split()[0] for name, outcome in rows}


def test_a_dry_run_of_cupy_compares_every_kernel_and_writes_nothing(tmp_path: Path) -> None:
    done = bench("bench/gpu.py", "--backend", "cupy", "--size", 4096, "--side", 32, "--results", tmp_path / "r.json",
                 REFPLAY_CUDA_ON_CPU="1")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = outcomes(done.stdout)
    assert {name for name, outcome in found.items() if outcome == "ran"} == UNLIKE
    assert {outcome for name, outcome in found.items() if name not in UNLIKE} == {"agrees"}
    assert [line for line in done.stdout.splitlines() if line.endswith(": done")] == [
        f"{group}: done" for group in groups_of("cupy")]  # fmt: skip
    assert {f"product {kind} 32" for kind in ("float32", "tf32", "bf16")} < found.keys()
    assert not (tmp_path / "r.json").exists()


def test_a_dry_run_of_numba_cuda(tmp_path: Path) -> None:
    done = bench("bench/gpu.py", "--backend", "numba-cuda", "--size", 1024, "--side", 16, "--results",
                 tmp_path / "r.json", "--only", "rules", "products", NUMBA_ENABLE_CUDASIM="1")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(outcomes(done.stdout)) == 6 + 4  # rules, and versions of the product
    assert not (tmp_path / "r.json").exists()


def test_a_dry_run_of_steps_has_the_losses_of_pytorch(tmp_path: Path) -> None:
    done = bench("bench/gpu_steps.py", "--backend", "cupy", "--models", "small", "convnet", "--sizes", 2, "--examples",
                 4, "--peers", "torch", "--results", tmp_path / "r.json", REFPLAY_CUDA_ON_CPU="1")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split(maxsplit=1) for line in done.stdout.splitlines()] == [
        [f"{model}:2", "the same losses: refplay, torch"] for model in ("small", "convnet")]  # fmt: skip
    assert not (tmp_path / "r.json").exists()


def rehearse(name: str, file: Path, *arguments: Any, broken: str = "") -> tuple[int, dict[str, Any], str]:
    """Return exit code, results and output of a run on stand-ins for a GPU."""
    done = bench("tests/bench/rehearsal.py", name, "--backend", "cupy", "--results", file, *arguments, REHEARSE=broken)
    assert file.exists(), done.stdout + done.stderr
    return done.returncode, json.loads(file.read_text()), done.stdout + done.stderr


def test_a_run_records_times_shares_and_where_it_was(tmp_path: Path) -> None:
    code, data, output = rehearse("gpu", tmp_path / "r.json", "--size", 4096, "--side", 32, "--only", "vectors", "bf16")
    assert code == 0, output
    assert data["cases"].keys() == {"l2_norm", "norm on the GPU", "scale", "axpby", "dropout", "product bf16 32"}
    product = data["cases"]["product bf16 32"]
    assert product["median_us"].keys() == {"ours", "ours-rounded", "cublas", "cublas-float32"}
    assert product["better_peer"].startswith("cublas")
    assert product["graphs"]
    assert product["tflops"] == pytest.approx(2 * 32**3 / product["median_us"]["ours"] / 1e6)
    assert product["share"] == pytest.approx(product["tflops"] / 50.0)
    scale = data["cases"]["scale"]
    assert not scale["graphs"]
    assert scale["gb_per_s"] == pytest.approx(8 * 4096 / scale["median_us"]["ours"] / 1e3)
    assert scale["ceiling_rate"] == 4000.0
    (run,) = data["runs"]  # the parts are one run
    assert run["command"].startswith("python tests/bench/rehearsal.py --backend cupy")


def test_a_case_that_raises_and_a_process_that_dies_cost_no_other(tmp_path: Path) -> None:
    file = tmp_path / "r.json"
    code, data, _ = rehearse("gpu", file, "--size", 4096, "--only", "vectors", "loss", broken="process")
    assert code == 1
    assert data["cases"]["part vectors"]["errors"] == {"ours": "exit code 9"}
    assert data["cases"]["softmax_cross_entropy"]["median_us"].keys() == {"ours", "torch"}
    code, data, _ = rehearse("gpu", file, "--size", 4096, "--only", "loss", broken="backend")
    assert code == 1
    assert data["cases"]["part loss"]["errors"] == {"ours": "exit code 1"}
    code, data, output = rehearse("gpu", file, "--size", 4096, "--only", "vectors", broken="result")
    assert code == 1
    assert "OtherResultError: ours and torch differ" in data["cases"]["scale"]["errors"]["ours"]
    assert data["cases"]["axpby"]["errors"] == {}
    assert "part vectors" not in data["cases"]  # which has come to its end this time
    assert "scale                            FAILED: OtherResultError" in output


def test_steps_are_timed_and_a_peer_that_does_other_work_is_not(tmp_path: Path) -> None:
    options = "--models", "small", "--sizes", 1, 2, "--examples", 4, "--seconds", 0, "--peers", "torch", "torch-compile"
    code, data, output = rehearse("gpu_steps", tmp_path / "r.json", *options, broken="peer")
    assert code == 1, output
    assert data["cases"].keys() == {"small:1", "small:2"}
    record = data["cases"]["small:2"]
    assert record["median_us"].keys() == record["gather_us"].keys() == {"ours", "torch"}
    assert record["errors"].keys() == {"torch-compile"}
    assert record["errors"]["torch-compile"].startswith("OtherWorkError: its loss in step 0 is 2, not ")
    assert record["better_peer"] == "torch"
    assert record["ceilings"] == {"copy": 4000.0, "float32": 50.0}
    assert record["roofline_us"] == pytest.approx(least_us(SMALL["small"](2), 2, record["ceilings"]))
    assert len(record["rounds_us"]["ours"]) == 3
    assert record["memory"] > 0


def test_no_size_is_begun_when_the_time_is_over(tmp_path: Path) -> None:
    code, data, _ = rehearse("gpu_steps", tmp_path / "r.json", "--models", "small", "--limit", 0, "--sizes", 1)
    assert code == 1
    assert data["cases"]["part small"]["errors"] == {"ours": "no time was left"}


def test_without_a_gpu_it_ends_with_the_reason_and_no_file(tmp_path: Path) -> None:
    for script in ("bench/gpu.py", "bench/gpu_steps.py"):
        done = bench(script, "--backend", "cupy", "--results", tmp_path / "r.json", CUDA_VISIBLE_DEVICES="",
                     REFPLAY_CUDA_ON_CPU="")  # fmt: skip
        assert done.returncode == 1
        assert done.stderr.strip()
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "r.json").exists()


def test_results_that_rounding_does_not_explain_are_refused() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((2, 64, 64)).astype(np.float32)

    def rounded(x: np.ndarray, bits: int) -> np.ndarray:  # to so many bits of the mantissa, the first included
        mantissa, exponent = np.frexp(x)
        return np.ldexp(np.round(np.ldexp(mantissa, bits)), exponent - bits)

    for precision, bits in (("tf32", 11), ("bf16", 8)):
        half = rounded(a, bits) @ rounded(b, bits)
        case = Case("product", {"ours": lambda half=half: half, "cublas": lambda: a @ b}, 0, 1)
        assert 0 < check(case._replace(close=HOW_CLOSE[precision]), np.asarray) < HOW_CLOSE[precision]
        with pytest.raises(OtherResultError, match="ours and cublas differ by"):
            check(case._replace(close=CLOSE), np.asarray)
        fewer = rounded(a, bits - 5) @ rounded(b, bits - 5)
        worse = {"ours": lambda fewer=fewer: fewer, "cublas": lambda: a @ b}
        with pytest.raises(OtherResultError):
            check(case._replace(calls=worse, close=HOW_CLOSE[precision]), np.asarray)
    nan = Case("nan", {"ours": lambda: a * np.nan, "torch": lambda: a}, 0)
    with pytest.raises(OtherResultError):
        check(nan, np.asarray)


def test_a_failed_case_is_recorded_and_replaced_by_a_good_one(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    results = Results(tmp_path / "r.json", {"commit": "abc"})

    def fails() -> str:
        raise ValueError("first line\nsecond line")

    assert not attempt("adam", fails, results)
    assert results.data["cases"]["adam"]["errors"] == {"ours": "ValueError: first line"}
    assert "FAILED: ValueError: first line\n" in capsys.readouterr().out
    results.put("adam", {"errors": {}})
    results.forget("adam")
    assert json.loads((tmp_path / "r.json").read_text()) == {"runs": [], "cases": {}}


def test_a_process_that_does_not_end_is_ended() -> None:
    begun = time.monotonic()
    assert in_process(time.sleep, (60,), 0.5) == "stopped after 0 s"
    assert time.monotonic() - begun < 30.0
    assert in_process(time.sleep, (0,), 60.0) == ""


def test_what_is_told_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 'NVIDIA H200, 580.159.04, 143771 MiB, 9.0'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    run = describe("cupy", {"size": 4})
    assert run["settings"] == {"size": 4}
    assert run["gpu"].items() >= {"device": "NVIDIA H200", "driver": "580.159.04", "memory": "143771 MiB",
                                  "capability": "9.0"}.items()  # fmt: skip
    assert {"cuda", "cudnn", "nvrtc"} < run["gpu"].keys()
    assert {"numpy", "numba", "numba-cuda", "cupy-cuda13x", "torch"} < run["versions"].keys()
    assert {"machine", "commit", "date", "command"} < run.keys()
    smi.write_text("#!/bin/sh\nexit 9\n")
    assert describe("cupy", {})["gpu"]["device"] == "unknown"


def test_a_copy_without_git_is_told_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFPLAY_COMMIT", "abc1234567")
    assert describe_run({})["commit"] != "abc1234567"  # here git knows
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert describe_run({})["commit"] == "abc1234567"


def test_a_dry_run_with_a_failure_ends_with_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFPLAY_CUDA_ON_CPU", "1")
    given = argparse.Namespace(backend="cupy")
    assert run_parts(lambda name, *rest: name == "b", ("a", "b"), given, {}, 1.0) == 1
    assert run_parts(lambda name, *rest: 0, ("a", "b"), given, {}, 1.0) == 0


def test_everything_goes_on_after_a_part_that_fails(tmp_path: Path) -> None:
    """Without a GPU all do; each says why in its file."""
    arguments = ["cupy", tmp_path / "out", "tests", "memcheck", "kernels"]
    done = bench("bench/gpu_everything.py", *arguments, CUDA_VISIBLE_DEVICES="", PATH=str(tmp_path))
    assert done.returncode == 1
    ended = [line.partition(",")[0] for line in done.stdout.splitlines() if line.startswith("== ")]
    assert ended[::2] == ["== tests: exit code 1", "== kernels: exit code 1"]
    assert ended[1].endswith("No such file or directory: 'compute-sanitizer'")
    assert "tests need a GPU. " in (tmp_path / "out" / "tests.txt").read_text()
    assert (tmp_path / "out" / "kernels.txt").read_text().splitlines()
    wrong = bench("bench/gpu_everything.py", "cupy", tmp_path, "bechmarks")
    assert wrong.returncode == 2
    assert "no part bechmarks; there are tests, memcheck" in wrong.stderr


def test_results_become_tables_and_plots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gpu_everything

    def command(part: str, backend: str, results: Path) -> list[str]:  # a rehearsal in the place of a measurement
        return [sys.executable, "tests/bench/rehearsal.py", "gpu", "--backend", backend, "--results", str(results),
                "--size", "4096", "--only", "vectors"]  # fmt: skip

    monkeypatch.setattr(gpu_everything, "command", command)
    monkeypatch.setattr(sys, "argv", ["gpu_everything.py", "cupy", str(tmp_path), "kernels"])
    assert gpu_everything.main() == 0
    assert (tmp_path / "gpu-cupy-kernels.png").stat().st_size > 1000
    assert "norm on the GPU" in (tmp_path / "tables.txt").read_text()
    monkeypatch.setitem(gpu_everything.SECONDS, "kernels", 0.01)
    assert gpu_everything.main() == 1


def test_what_a_part_has_started_ends_with_its_time(tmp_path: Path) -> None:
    from gpu_everything import run

    log = tmp_path / "log"
    child = f"import time\nfor _ in range(600):\n    print('x', file=open({str(log)!r}, 'a'))\n    time.sleep(0.1)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    assert not run("kernels", [sys.executable, "-c", parent], 3.0, "cupy", tmp_path)
    written = log.stat().st_size
    assert written > 0
    time.sleep(1.0)
    assert log.stat().st_size == written

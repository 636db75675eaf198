"""`refplay run PLAN.toml --backend ...` in a process of its own, as a user calls it."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import refplay
from refplay.cli import main
from refplay.procedures.workloads import prepare
from refplay.study.plan_toml import load_plan
from refplay.study.record import State
from refplay.study.store import Store

PLAN = """
name = "tiny"
goal = "Does it train where it is told to?"
trials = 1
steps = 3
reruns = 0
[nuisance]
learning_rate = { log_uniform = [1e-2, 1e-1] }
[fixed]
data = "drawn.npz"
optimizer = "adam"
batch_size = 4
depth = 1
width = 2
evaluate_every = 2
"""


# What every Python begins with that finds it as sitecustomize.py: what stands for the GPU; for Numba-CUDA the tests'
# simulator, and tiles of products as small as the networks. The simulator as it comes would take minutes.
STAND_IN = {"numba-cuda": f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import strict_simulator
strict_simulator.install()
from refplay.kernels.numba_cuda import product
product.tile_for = lambda *sizes: product.Tile(1, 1, 16)
""", "cupy": f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
import cuda_on_cpu.cupy_on_cpu
cuda_on_cpu.cupy_on_cpu.install_as_gpu()
"""}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rng = np.random.default_rng(1)
    np.savez(tmp_path / "drawn.npz", x_train=rng.standard_normal((24, 3)), y_train=np.arange(24) % 2)
    (tmp_path / "plan.toml").write_text(PLAN)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_plan_trains_on_the_backend_that_is_named(folder: Path, backend: str) -> None:
    environment, trials = dict(os.environ), {}
    if "1" in (environment.get("NUMBA_ENABLE_CUDASIM"), environment.get("REFPLAY_CUDA_ON_CPU")):
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(STAND_IN[backend])
        environment["PYTHONPATH"] = str(folder / "site")
    for name in (backend, "numpy"):
        done = subprocess.run(
            [sys.executable, "-m", "refplay", "run", "plan.toml", "--backend", name, "--workers", "1", "--store",
             f"{name}.db"], capture_output=True, text=True, check=False, env=environment)  # fmt: skip
        assert done.returncode == 0, done.stderr
        with Store(folder / f"{name}.db") as store:
            loaded = store.load_round("tiny")
        assert loaded.plan.fixed["backend"] == name
        (trials[name],) = loaded.studies[0].trials
    ours, theirs = trials[backend], trials["numpy"]
    assert ours.state is theirs.state is State.COMPLETE
    bound = 3 * 10 * 24 * np.finfo("f4").eps  # three steps of Adam; sums of at most 24 terms, through four layers
    for name in ("train_loss", "gradient_norm", "valid_loss"):
        np.testing.assert_allclose(ours.curves[name].values, theirs.curves[name].values, rtol=bound)


@pytest.mark.cupy
def test_a_plan_chooses_the_precision_of_its_trials(folder: Path) -> None:
    """Trials have threads or processes of their own, to which no block of the caller's reaches."""
    losses = {}
    for precision in ("float32", "tf32", "bf16"):
        text = PLAN.replace('name = "tiny"', f'name = "{precision}"') + f'precision = "{precision}"\nbackend = "cupy"\n'
        (folder / "plan.toml").write_text(text)
        plan = load_plan(folder / "plan.toml")
        loaded = refplay.run(plan, store=folder / f"{precision}.db", executor=ThreadPoolExecutor(1))
        losses[precision] = loaded.studies[0].trials[0].curves["train_loss"].values[0]
    assert 0 < abs(losses["tf32"] - losses["float32"]) < 2**-10 * losses["float32"]
    assert 2**-14 * losses["float32"] < abs(losses["bf16"] - losses["float32"]) < 2**-7 * losses["float32"]


@pytest.mark.cupy
def test_threads_may_run_the_trials(folder: Path) -> None:
    """Each has its scratch memory and captures its graphs, while the launches of all alternate in one stream."""
    found = []
    for workers in (1, 3):
        text = PLAN.replace("trials = 1", "trials = 6").replace("width = 2", 'width = 5\nnormalization = "layer"')
        (folder / "plan.toml").write_text(text + 'backend = "cupy"\n')
        loaded = refplay.run(load_plan(folder / "plan.toml"), store=folder / f"{workers}.db",
                             executor=ThreadPoolExecutor(workers))  # fmt: skip
        found.append([trial.curves["train_loss"].values for trial in loaded.studies[0].trials])
    assert len(found[0]) == 6
    np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.cupy
def test_a_precision_that_is_not_there_is_refused_before_anything_runs(folder: Path) -> None:
    for more, words in (('precision = "tf32"\nbackend = "numba"', "'tf32' is none of the backend numba"),
                        ('precision = "fp8"\nbackend = "cupy"', "'fp8' is none of float32, tf32, bf16"),
                        ('precision = "bf16"\nbackend = "cupy"\nmodel = "convnet"', "no convolution in bf16")):
        text = PLAN if "convnet" not in more else PLAN.replace("drawn.npz", "digits").replace("evaluate_every = 2", "")
        (folder / "plan.toml").write_text(f"{text}{more}\n")
        with pytest.raises(refplay.InputError, match=f"^[a-z0-9_]*(precision)?: .*{words}") as refused:
            prepare(load_plan(folder / "plan.toml"))
        assert "precision: precision" not in str(refused.value)


@pytest.mark.cupy
def test_every_precision_of_a_study_is_tried_before_anything_runs(folder: Path) -> None:
    text = PLAN.replace("[nuisance]", '[nuisance]\nprecision = { choice = ["float32", "fp8"] }')
    text = text.replace("trials = 1", "trials = 8")
    (folder / "plan.toml").write_text(f'{text}backend = "cupy"\n')
    with pytest.raises(refplay.InputError, match=r"^precision: 'fp8' is none of"):
        prepare(load_plan(folder / "plan.toml"))

def test_another_backend_does_not_resume_a_round(
    folder: Path, backend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "plan.toml", "--backend", "numpy", "--workers", "1"]) == 0
    assert main(["run", "plan.toml", "--resume", "--workers", "1", "--backend", backend]) == 2
    assert "another fixed" in capsys.readouterr().err


def test_a_backend_is_refused_where_it_has_no_effect(
    folder: Path, backend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for text, words in ((f'objective = "mine:train"\n{PLAN}', "'mine:train' is not refplay's own"),
                        (PLAN.replace("[fixed]", '[scientific]\nbackend = ["numpy", "numba"]\n[fixed]'), "'backend'")):
        (folder / "plan.toml").write_text(text)
        assert main(["run", "plan.toml", "--backend", backend]) == 2
        assert words in capsys.readouterr().err
    (folder / "plan.toml").write_text(PLAN)
    assert main(["run", "plan.toml", "--backend", "cuda"]) == 2
    assert "no kernel backend named 'cuda'" in capsys.readouterr().err
    assert not (folder / "tiny.db").exists()

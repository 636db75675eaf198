"""`refplay backends`: a line for each backend, ready or why not."""

from refplay.cli import main
from refplay.kernels import gpu


def test_each_backend_says_what_it_runs_on_or_why_it_cannot(monkeypatch, capsys):
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)
    monkeypatch.setattr(gpu, "find", lambda package: gpu.Found("linux x86_64", True, 13, name=package))
    assert main(["backends"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["numpy", "numba", "numba-cuda", "cupy"]
    assert lines[0].endswith("ready: NumPy, 1 thread")
    assert "threads, vectors of" in lines[1]
    assert lines[2].split(maxsplit=1)[1].startswith("no NVIDIA driver here; install one, 580 or later")
    assert lines[3].split(maxsplit=1)[1] == "no NVIDIA driver here; install one, 580 or later"


def test_a_gpu_is_named(monkeypatch, capsys):
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)
    found = gpu.Found("linux x86_64", True, 13, 13010, "", "NVIDIA H200", (9, 0), frozenset(gpu.LIBRARIES))
    monkeypatch.setattr(gpu, "find", lambda package: found)
    main(["backends"])
    assert "numba-cuda   ready: NVIDIA H200, compute capability 9.0, driver for CUDA 13.1\n" in capsys.readouterr().out

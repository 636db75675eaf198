"""What only a GPU can answer, part after part, in ten minutes:

    python bench/gpu_everything.py cupy FOLDER                     # or numba-cuda
    python bench/gpu_everything.py cupy FOLDER memcheck steps      # these parts alone

`tests` are those of tests/gpu; `memcheck` and `racecheck` the smaller ones of them under compute-sanitizer, of CUDA's
toolkit; `kernels` and `steps` the benchmarks (gpu.py, gpu_steps.py). Each prints its last lines; FOLDER gets the rest,
and gpu-<backend>.json with tables and plots of it. A part that fails, or takes longer than its time, does not stop the
others; the exit code is 1 then. What a benchmark does not get to in its time is not measured. Without a network refplay
is installed by `python -m pip install --no-deps --no-build-isolation -e .`.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic

from gpu_run import DRY
from results import ROOT

# A sanitizer makes a launch some hundred times as long: of each kernel the small shapes; no trainings, no refusals.
LONG = ("large", "training", "graph", "equations", "run", "throughput", "foreign", "contract_errors")
SMALL = " and ".join(f"not {word}" for word in LONG)
PYTEST = ["-m", "pytest", "-q", "-m", "gpu", "tests/gpu"]
SECONDS = {"tests": 130, "memcheck": 50, "racecheck": 50, "kernels": 150, "steps": 160}  # at most; tables come after
TO_BEGIN = 25  # of a benchmark's: before its own limit begins, and after it


def command(part: str, backend: str, results: Path) -> list[str]:
    """Return what a part runs."""
    measure = ["--backend", backend, "--results", str(results), "--limit", str(SECONDS[part] - TO_BEGIN)]
    if part == "tests":
        return [sys.executable, *PYTEST, "--durations=10"]
    if part in ("kernels", "steps"):
        return [sys.executable, f"bench/{'gpu' if part == 'kernels' else 'gpu_steps'}.py", *measure]
    return ["compute-sanitizer", "--tool", part, "--error-exitcode", "1", sys.executable, *PYTEST, "-x", "-k", SMALL]


def run(name: str, arguments: list[str], seconds: float, backend: str, folder: Path) -> bool:
    """Run a command and keep what it prints; return whether it ended well and in time."""
    output, begun = folder / f"{name}.txt", monotonic()
    environment = {**os.environ, "REFPLAY_GPU_BACKEND": backend, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    code = 1
    with output.open("w", encoding="utf-8") as file:
        try:
            process = subprocess.Popen(arguments, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT,
                                       start_new_session=True)  # fmt: skip
            code = process.wait(seconds)
            ended = f"exit code {code}"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # and what it has started, or that would spoil the next part's times
            process.wait()
            ended = "stopped"
        except FileNotFoundError as error:
            ended = str(error)
    print(*output.read_text(encoding="utf-8", errors="replace").splitlines()[-8:], sep="\n")
    print(f"== {name}: {ended}, after {monotonic() - begun:.0f} s", flush=True)
    return code == 0


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backend", choices=tuple(DRY))
    parser.add_argument("folder", type=Path)
    parser.add_argument("parts", nargs="*", metavar="part", help=f"{', '.join(SECONDS)}; all, where none is named")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(SECONDS):
        parser.error(f"no part {sorted(unknown)[0]}; there are {', '.join(SECONDS)}")
    folder = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    results = folder / f"gpu-{given.backend}.json"
    good = [run(part, command(part, given.backend, results), SECONDS[part], given.backend, folder)
            for part in given.parts or SECONDS]  # fmt: skip
    if results.exists():
        tables = ["bench/gpu_tables.py", "--backend", given.backend, "--results", str(results), "--plots", str(folder)]
        good.append(run("tables", [sys.executable, *tables], 60, given.backend, folder))
    return int(not all(good))


if __name__ == "__main__":
    sys.exit(main())

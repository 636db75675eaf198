"""How long an MLP keeps its user waiting: cold, with every kernel still to be compiled, and warm, from Numba's cache.

    python bench/compile_time.py [--runs 5] [--out FILE]

Every figure is that of a process of its own, from its start. "All of a training" is a step, the loop with its
divergence checks and clipping, and an evaluation, on the digits that ship with refplay.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from results import FILE, ROOT, Results, describe_run
from summary import quartiles

_TRAINING = """
import time
import numpy as np
from refplay.data import load_dataset
from refplay.kernels import load
from refplay.nn import Network, mlp
from refplay.optim import constant
from refplay.train import Training, fit, make_step

data, kernels = load_dataset("digits"), load("numba")
network = Network(mlp(data.train.x.shape[1:], data.classes), kernels, seed=0)
make_step(network, "adam", 64)(data.train.x[:64].copy(), data.train.y[:64].copy(), 1e-3)
print(time.time())
fit(network, data, Training("adam", constant(1e-3), steps=2, batch_size=64, clip_threshold=1.0), seed=0)
print(time.time())
"""


def start_to(code: str, **environment: str) -> list[float]:
    """Return the seconds from the start of a Python to each time that `code` prints; or to its end."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    started = time.time()
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True,
                          env={**os.environ, "PYTHONPATH": path, **environment})  # fmt: skip
    printed = [float(word) - started for word in done.stdout.split()]
    return printed or [time.time() - started]


def measure(runs: int) -> dict[str, list[float]]:
    """Return the seconds of every run, by what was waited for."""
    with tempfile.TemporaryDirectory() as cache:
        cold = start_to(_TRAINING, NUMBA_CACHE_DIR=cache)
        warm = [start_to(_TRAINING, NUMBA_CACHE_DIR=cache) for _ in range(runs)]
    bare = [start_to("pass")[0] for _ in range(2 * runs)]
    imports = [start_to("import refplay")[0] for _ in range(2 * runs)]
    return {
        "cold start to the first step": [cold[0]],
        "cold start to all of a training": [cold[1]],
        "warm start to the first step": [seconds[0] for seconds in warm],
        "warm start to all of a training": [seconds[1] for seconds in warm],
        "import refplay, beyond the start of Python": [seconds - median(bare) for seconds in imports],
    }


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--out", type=Path, default=FILE)
    given = parser.parse_args()
    results = Results(given.out, describe_run({"runs": given.runs}))
    if results.has("compile time"):
        print(f"{given.out} has it already")
        return
    rows = {}
    for what, seconds in measure(given.runs).items():
        rows[what] = {"median_s": median(seconds), "quartiles_s": list(quartiles(seconds)), "runs": len(seconds)}
        print(f"{what:44} {median(seconds):7.2f} s")
    results.put("compile time", {"rows": rows})


if __name__ == "__main__":
    main()

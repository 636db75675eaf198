"""The Python of docs/throughput.md works as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

from refplay.cli import main

PAGE = (Path(__file__).parents[1] / "docs" / "throughput.md").read_text(encoding="utf-8")
CHOICE, MEASUREMENT = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def run(script: str, folder: Path) -> str:
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_choice_from_kept_results(tmp_path: Path) -> None:
    main(["throughput", "--model", "convnet", "--batch-sizes", "32:128", "--seconds", "0.01",
          "--json", str(tmp_path / "convnet.json")])
    recommended, costs = run(CHOICE, tmp_path).split(" ", 1)
    assert recommended in ("32", "64", "128")
    assert costs.count("Cost(") == 3


def test_the_measurement(tmp_path: Path) -> None:
    printed = run(f"{MEASUREMENT}\nprint([timing.batch_size for timing in measured.ours])", tmp_path)
    assert printed.strip() == str([2**i for i in range(9)])

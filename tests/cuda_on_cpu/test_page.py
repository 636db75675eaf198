"""The example of docs/cuda_on_cpu.md runs as it stands there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_example_of_a_test(monkeypatch):
    monkeypatch.chdir(ROOT)
    (source,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "cuda_on_cpu.md").read_text(), re.DOTALL)
    names = {}
    exec(source, names)
    names["test_scale"]()

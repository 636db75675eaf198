"""What is in the checkout is in the wheel: the package list in pyproject.toml is written by hand."""

import subprocess
import sys
import tomllib
from importlib.machinery import PathFinder
from pathlib import Path

import pytest

import refplay

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def packages_on_disk() -> set[str]:
    found = set()
    for top, name in ((ROOT / "refplay", "refplay"), (ROOT / "kernels", "refplay.kernels")):
        for init in top.rglob("__init__.py"):
            found.add(".".join([name, *init.parent.relative_to(top).parts]))
    return found


def test_every_package_is_listed() -> None:
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == packages_on_disk()


def test_sources_that_are_compiled_at_run_time_are_listed() -> None:
    listed = PYPROJECT["tool"]["setuptools"]["package-data"]["refplay.kernels.cupy_cuda"]
    folder = ROOT / "kernels" / "cupy_cuda"
    sources = {path.name for path in folder.iterdir() if "cu" in path.suffix}
    assert sources == {path.name for pattern in listed for path in folder.glob(pattern)}
    assert len(sources) > 20


def test_runtime_dependencies_are_five() -> None:
    names = {requirement.split(">=")[0] for requirement in PYPROJECT["project"]["dependencies"]}
    assert names == {"numpy", "numba", "scipy", "matplotlib", "rich"}


@pytest.mark.parametrize("heavy", ["numba", "scipy", "matplotlib", "torch", "jax", "sklearn"])
def test_import_refplay_loads_nothing_heavy(heavy: str) -> None:
    code = f"import sys, refplay; raise SystemExit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_checkout_needs_no_installation() -> None:
    """`python -m refplay` in the checkout imports the kernels beside it, also where another refplay is installed."""
    found = PathFinder.find_spec("refplay.kernels", refplay.__path__)
    assert found is not None
    assert found.origin == str(ROOT / "kernels" / "__init__.py")

"""What README and docs tell people to type works as it stands there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from refplay.study.plan_toml import parse_plan
from refplay.study.store import Store

ROOT = Path(__file__).parents[1]


def blocks(path: str, language: str) -> list[str]:
    fences = re.split(r"^```(.*)\n", (ROOT / path).read_text(encoding="utf-8"), flags=re.MULTILINE)
    # Text, language, block, "", text, language, block, ...
    return [block for given, block in zip(fences[1::4], fences[2::4], strict=True) if given == language]


def refplay(*arguments: str, folder: Path) -> str:
    done = subprocess.run([sys.executable, "-m", "refplay", *arguments], cwd=folder, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_your_own_training_function_in_pytorch(tmp_path: Path) -> None:
    """The objective and the plan of the README, saved under the names it gives them."""
    (objective, _), (plan,) = blocks("README.md", "python"), blocks("README.md", "toml")
    (tmp_path / "mine.py").write_text(objective)
    (tmp_path / "plan.toml").write_text(plan)
    assert "decision" in refplay("run", "plan.toml", folder=tmp_path)
    with Store(tmp_path / "width.db") as store:
        done = store.load_round("width")
    assert [len(study.ranked("valid_error")) > 4 for study in done.studies] == [True, True, True]
    assert (tmp_path / "width.html").stat().st_size > 50_000
    assert refplay("run", "plan.toml", "--resume", folder=tmp_path)


def test_the_python_interface(tmp_path: Path) -> None:
    _, script = blocks("README.md", "python")
    (tmp_path / "script.py").write_text(script)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^(adopt|keep|undecided) ", done.stdout, re.MULTILINE)
    assert "sampling" in done.stdout


def test_the_pytorch_example(tmp_path: Path) -> None:
    for name in ("torch_digits.py", "torch_digits.toml"):
        shutil.copy(ROOT / "docs" / "examples" / name, tmp_path)
    refplay("run", "torch_digits.toml", folder=tmp_path)
    with Store(tmp_path / "torch-width.db") as store:
        done = store.load_round("torch-width")
    for study in done.studies:
        best = study.ranked("valid_error")[0]
        assert best.best("valid_error").value < 0.1
        assert len(best.curves["gradient_norm"].steps) == 300
        assert len(study.reruns) == 3


def test_the_documented_plan(tmp_path: Path) -> None:
    plan = parse_plan(blocks("docs/plans.md", "toml")[0])
    assert [study.name for study in plan.studies()] == ["optimizers/optimizer=momentum", "optimizers/optimizer=adam"]
    (tmp_path / "plan.toml").write_text(blocks("docs/plans.md", "toml")[0])
    assert "decision" in refplay("run", "plan.toml", folder=tmp_path)


@pytest.mark.parametrize("path", ["README.md", *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))])
def test_links_lead_somewhere(path: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert ((ROOT / path).parent / target).exists(), target


def test_every_command_of_the_readme_exists() -> None:
    (listed,) = [block for block in blocks("README.md", "") if block.startswith("refplay quickstart")]
    for line in listed.splitlines():
        help_text = " ".join(refplay(line.split()[1], "--help", folder=ROOT).split())
        assert all(option in help_text for option in re.findall(r"--[a-z]+", line))

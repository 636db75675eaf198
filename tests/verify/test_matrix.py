"""docs/conformance.md says what the installed packages do: the matrix is made again and compared."""

import re
import textwrap
from pathlib import Path

import pytest

from refplay.cli import main
from refplay.errors import InputError
from refplay.verify.matrix import BEGIN, END, IMPLEMENTATIONS, written_into

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"


def table(page: str) -> list[list[str]]:
    inside = page.partition(BEGIN)[2].partition(END)[0]
    return [[cell.strip() for cell in line.strip().strip("|").split(" | ")]
            for line in inside.splitlines() if line.startswith("| ")]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> str:
    page = tmp_path_factory.mktemp("docs") / "conformance.md"
    assert main(["verify", "--matrix", str(page)]) == 0
    return page.read_text(encoding="utf-8")


def test_the_page_is_what_the_installed_packages_do(made):
    assert table(PAGE.read_text(encoding="utf-8")) == table(made)


def test_versions_are_named(made):
    for page in (made, PAGE.read_text(encoding="utf-8")):
        assert re.search(r"^Found by running torch \d\S*, optax \d\S*, keras \d\S* on \w+\.$", page, re.MULTILINE)


def test_all_are_recognized_and_there_are_enough(made):
    rows = table(made)[1:]
    assert len(rows) == len(IMPLEMENTATIONS) >= 18
    assert f" {len(rows)} public optimizers " in (PAGE.parents[1] / "README.md").read_text(encoding="utf-8")
    assert {row[2] for row in rows} == {"sgd", "momentum", "nesterov", "rmsprop", "adam", "nadam"}


@pytest.mark.parametrize(("optimizer", "with_", "cells"), [  # what their sources say
    ("`optax.rmsprop`", "", ["rmsprop", "initial v: 0", "`initial_scale=1.0`"]),
    ("`optax.rmsprop`", "`eps_in_sqrt=False`", ["rmsprop", "initial v: 0; epsilon: outside of the root",
                                                "`initial_scale=1.0, eps_in_sqrt=True`"]),
    ("`torch.optim.RMSprop`", "", ["rmsprop", "initial v: 0; epsilon: outside of the root; "
                                   "learning rate: outside of the buffer", "no argument"]),
    ("`keras.optimizers.Adam`", "", ["adam", "nothing", ""]),
    ("`optax.adam`", "`nesterov=True`", ["nadam", "epsilon: after the bias correction; "
                                         "look-ahead correction: of its own", "no argument"]),
])  # fmt: skip
def test_known_rows(made, optimizer, with_, cells):
    (row,) = [row for row in table(made) if row[:2] == [optimizer, with_]]
    assert row[2:] == cells


def test_the_rest_of_a_page_stays(tmp_path):
    page = f"# Mine\n\n{BEGIN}\nold\n{END}\n\nafter\n"
    assert written_into(page, "new", tmp_path) == f"# Mine\n\n{BEGIN}\nnew\n{END}\n\nafter\n"
    with pytest.raises(InputError, match=BEGIN):
        written_into("# Mine\n", "new", tmp_path)


def test_the_example_of_the_page(tmp_path, monkeypatch, capsys):
    text = PAGE.read_text(encoding="utf-8")
    source = next(block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "def factory" in block)
    (tmp_path / "mine.py").write_text(textwrap.dedent(source))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    command = re.search(r"^refplay (verify mine:factory.*)$", text, re.MULTILINE)[1].split()
    assert main(command) == 1
    promised = re.search(r"^term .*$", text, re.MULTILINE)[0]
    assert promised in capsys.readouterr().out

"""docs/backends.md shows lines of the kernels: each block is found in the file that it names, line by line."""

import re
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"<!-- from (\S+) -->\n```\w+\n(.*?)```", (ROOT / "docs" / "backends.md").read_text(), re.DOTALL)


def test_there_are_both_kernels_on_all_backends():
    folders = [file.split("/")[1] for file, _ in BLOCKS]
    assert list(dict.fromkeys(folders)) == ["numpy_ref", "numba_cpu", "numba_cuda", "cupy_cuda"]
    assert [sum(folder == each for each in folders) for folder in dict.fromkeys(folders)] == [2, 2, 2, 3]


@pytest.mark.parametrize(("file", "block"), BLOCKS, ids=[file for file, _ in BLOCKS])
def test_a_block_is_what_the_file_says(file, block):
    shown = block.splitlines()
    lines = (ROOT / file).read_text().splitlines()
    parts = (dedent("\n".join(lines[i : i + len(shown)])).splitlines() for i in range(len(lines) - len(shown) + 1))
    assert shown in parts

"""docs/prescriptions.md names code and tests: all of it exists."""

import ast
import importlib
import re
from functools import reduce
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROWS = [line.strip("| \n").split(" | ") for line in (ROOT / "docs" / "prescriptions.md").read_text().splitlines()
        if re.match(r"\| [A-Z]{3}\d", line)]
NAMED = re.compile(r"`([^`]+)`")


def test_there_are_rows_and_none_twice() -> None:
    ids = [row[0] for row in ROWS]
    assert len(ids) == len(set(ids)) > 50


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_code_and_tests_exist(row: list[str]) -> None:
    _, _, code, tests = row
    assert NAMED.findall(code)
    assert NAMED.findall(tests)
    for name in NAMED.findall(code):
        module, _, attribute = name.partition(":")
        reduce(getattr, attribute.split("."), importlib.import_module(module))
    for name in NAMED.findall(tests):
        path, _, function = name.partition("::")
        functions = {node.name for node in ast.walk(ast.parse((ROOT / path).read_text()))
                     if isinstance(node, ast.FunctionDef)}
        assert function in functions if function else any(each.startswith("test_") for each in functions)

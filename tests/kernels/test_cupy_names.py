"""What the one module that imports CuPy takes from it is there: without a GPU nothing else would tell."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "kernels" / "cupy_cuda" / "device.py"


def chains(tree):
    """Return the names that begin with `cupy`, as they stand: cupy.cuda.Stream."""
    whole = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return sorted(name for name in whole if name.startswith("cupy.") and name.replace(".", "").isidentifier())


@pytest.mark.parametrize("name", chains(ast.parse(SOURCE.read_text())))
def test_the_name_is_there(name):
    import cupy

    found = cupy
    for part in name.split(".")[1:]:
        found = getattr(found, part)


@pytest.mark.parametrize(
    ("owner", "names"),
    [
        ("cuda.function.Function", ["ptr", "__call__"]),
        ("cuda.function.Module", ["load", "get_function"]),
        ("cuda.Stream", ["begin_capture", "end_capture", "record", "synchronize", "wait_event"]),
        ("cuda.Event", ["done"]),
        ("cuda.graph.Graph", ["launch", "upload"]),
        ("cuda.Device", ["attributes", "compute_capability", "id", "mem_info"]),
        ("cuda.MemoryPointer", ["mem", "memset_async", "ptr"]),
        ("cuda.UnownedMemory", ["_owner"]),
        ("ndarray", ["data", "device", "get", "set"]),
    ],
)
def test_what_is_asked_of_its_objects_is_there(owner, names):
    import cupy

    found = cupy
    for part in owner.split("."):
        found = getattr(found, part)
    assert [name for name in names if not hasattr(found, name)] == []

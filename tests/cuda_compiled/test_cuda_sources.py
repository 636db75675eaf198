"""What the sources of the kernels may use, read off them: simulator and a life after numba-cuda rest on it."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
KERNELS = sorted((ROOT / "kernels" / "numba_cuda").glob("*.py"))
SOURCES = sorted([*(ROOT / "refplay").rglob("*.py"), *(ROOT / "kernels").rglob("*.py")])
THE_ONE = ROOT / "kernels" / "numba_cuda" / "device.py"
# In kernels. No atomics: what they add in is in no order, so that no two runs are the same bits. No instructions of a
# warp (shuffles, votes, syncwarp): the simulator has none, and no check of them.
IN_KERNELS = {
    "threadIdx", "blockIdx", "blockDim", "gridDim", "grid", "gridsize", "syncthreads", "shared.array", "local.array",
}  # fmt: skip
FROM_THE_HOST = {"device_array", "to_device", "synchronize"}


def used(tree):
    """Return what is asked of the name `cuda`: "grid", "shared.array", ..."""
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and id(node) not in inner:
            parts = []
            while isinstance(node, ast.Attribute):
                parts.insert(0, node.attr)
                node = node.value
            if isinstance(node, ast.Name) and node.id == "cuda":
                yield ".".join(parts[:2] if parts[0] in ("shared", "local", "atomic") else parts[:1])


def imports(tree):
    """Return the modules that are imported, as "numba.cuda"."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def of_numba_cuda(module):
    return f"{module}.".startswith(("numba.cuda.", "numba_cuda.")) or module == "numba.*"


@pytest.mark.parametrize("path", [path for path in KERNELS if path != THE_ONE], ids=lambda path: path.stem)
def test_kernels_use_nothing_that_the_simulator_cannot_run(path):
    assert set(used(ast.parse(path.read_text()))) <= IN_KERNELS | FROM_THE_HOST


def test_one_module_imports_numba_cuda():
    importing = {path for path in SOURCES if any(map(of_numba_cuda, imports(ast.parse(path.read_text()))))}
    assert importing == {THE_ONE}


def test_both_would_be_found():
    source = """
from numba import cuda
import numba.cuda as c, numba_cuda
from numba.cuda.core import config
from numba import njit
def f(x):
    cuda.atomic.add(x, 0, 1); cuda.syncwarp(); i = cuda.grid(1); y = cuda.shared.array(3, x.dtype); cuda.threadIdx.x
"""
    tree = ast.parse(source)
    assert set(used(tree)) == {"atomic.add", "syncwarp", "grid", "shared.array", "threadIdx"}
    assert [module for module in imports(tree) if of_numba_cuda(module)] == [
        "numba.cuda", "numba.cuda", "numba_cuda", "numba.cuda.core.config",
    ]  # fmt: skip

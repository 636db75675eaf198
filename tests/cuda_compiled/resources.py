"""What the compiler makes of every kernel, without a GPU: registers, memory and instructions, as a table.

    python tests/cuda_compiled/resources.py            print it
    python tests/cuda_compiled/resources.py --write    write it to kernels/numba_cuda/resources.tsv

A kernel is compiled for the types of its launches (see dry_run.py) by NVVM to PTX, the assembly language of no GPU in
particular, and by ptxas to the machine code of four generations of GPUs. NVIDIA's driver does the same at a launch.
"""

from __future__ import annotations

import argparse
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

TABLE = Path(__file__).parents[2] / "kernels" / "numba_cuda" / "resources.tsv"
ARCHITECTURES = ((7, 5), (8, 0), (9, 0), (10, 0))  # Turing, Ampere, Hopper, Blackwell
COMPILERS = ("numba", "numba-cuda", "nvidia-nvvm", "nvidia-cuda-nvcc")
# What the kernels do not use, and the simulator could not run: atomics, and instructions of a warp.
FORBIDDEN = re.compile(r"\b(atom|red|shfl|vote|match|activemask|redux|elect|barrier\.warp|bar\.warp)\b[.\w]*")
HEAD = """\
# What the compiler makes of each kernel of this folder for the types of its arguments (f32[:,:]: a matrix of float32,
# f64*2: two numbers, float64). threads: the most of a block. shared: bytes of a block. stack, spills: bytes of a thread
# that did not fit into registers, stores and loads together. f64: instructions in double precision. sm_..: registers of
# a thread on that generation of GPUs. Written by `python tests/cuda_compiled/resources.py --write`.
# Compilers: {compilers}.
"""


class Row(NamedTuple):
    """What the compilers make of a kernel for certain types."""

    kernel: str
    types: str
    threads: int
    shared: int
    stack: int
    spills: int
    f64: int
    registers: tuple[int, ...]  # one for each of ARCHITECTURES
    forbidden: tuple[str, ...] = ()  # instructions; not in the table


def compilers() -> str:
    """Return the versions that the table depends on."""
    python = ".".join(platform.python_version_tuple()[:2])
    return ", ".join([f"python {python}", *(f"{name} {version(name)}" for name in COMPILERS)])


@cache
def ptxas() -> Path:
    """Return the assembler that the wheel nvidia-cuda-nvcc brings."""
    import nvidia

    for place in nvidia.__path__:
        for found in Path(place).glob("*/bin/ptxas*"):
            return found
    raise FileNotFoundError("no ptxas; pip install nvidia-cuda-nvcc")


@cache
def _kernels() -> list[Any]:
    """Return all that is to be compiled, in the order of its names: the same in each process."""
    from dry_run import launched

    return sorted(launched()[0], key=_key)


def unlaunched() -> set[str]:
    """Return the names of kernels that nothing launches."""
    from dry_run import launched, name_of

    found, made = launched()
    return {name_of(kernel) for kernel in made} - {name_of(kernel.dispatcher) for kernel in found}


def _key(kernel: Any) -> tuple[str, str]:
    from dry_run import name_of

    return name_of(kernel.dispatcher), " ".join(map(_short, kernel.types))


def _short(kind: Any) -> str:
    """Return "f32[:,:]" for a matrix of float32, "f64" for a number, "f64*5" for five of them."""
    if hasattr(kind, "count"):
        return f"{_short(kind.dtype)}*{kind.count}"
    if hasattr(kind, "layout"):
        return f"{_short(kind.dtype)}[{','.join(':' * kind.ndim)}]{'' if kind.layout == 'C' else kind.layout}"
    return re.sub(r"(float|int)(\d+)$", lambda name: name[1][0] + name[2], str(kind))


def compiled(index: int) -> Row:
    """Compile kernel `index` for all architectures."""
    return row(_kernels()[index])


def row(kernel: Any) -> Row:
    """Compile a kernel for all architectures."""
    results = [_for_architecture(kernel, ptx, cc) for cc, ptx in zip(ARCHITECTURES, _ptx(kernel), strict=True)]
    return Row(
        *_key(kernel), kernel.threads, max(r.shared for r in results) + kernel.dynamic, max(r.stack for r in results),
        max(r.spills for r in results), max(r.f64 for r in results), tuple(r.registers for r in results),
        tuple(sorted({name for r in results for name in r.forbidden})),
    )  # fmt: skip


def _ptx(kernel: Any) -> list[str]:
    """Return what NVVM makes of the kernel for each architecture.

    The same as numba.cuda.compile for each, but for Numba's own part of the work: three quarters of it, and no
    architecture makes a difference there.
    """
    import numba.cuda.dispatcher as dispatcher
    from numba.cuda.compiler import _compile_pyfunc_with_fixup

    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=ARCHITECTURES[0])  # device functions ask
    options = {key: kernel.dispatcher.targetoptions.get(key) for key in ("fastmath", "launch_bounds", "opt")}
    library, _ = _compile_pyfunc_with_fixup(
        kernel.dispatcher.py_func, kernel.types, cc=ARCHITECTURES[0], device=False, abi="numba", **options
    )
    return ["".join(library.get_asm_strs(cc=cc)) for cc in ARCHITECTURES]


def _for_architecture(kernel: Any, ptx: str, cc: tuple[int, int]) -> Any:
    found = _assembled(ptx, cc, kernel.dispatcher.targetoptions.get("max_registers"))
    found.f64 = len(re.findall(r"^\s+(?:@!?%\w+\s+)?(?!ld\.param|mov)\w[\w.]*\.f64\b", ptx, re.MULTILINE))
    found.forbidden = FORBIDDEN.findall(ptx)
    return found


def _assembled(ptx: str, cc: tuple[int, int], most_registers: int | None) -> Any:
    """Return what ptxas says of the kernel in `ptx`."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "kernel.ptx")
        source.write_text(ptx)
        limit = [f"-maxrregcount={most_registers}"] if most_registers else []
        command = [ptxas(), f"-arch=sm_{cc[0]}{cc[1]}", "-v", *limit, source, "-o", source.with_suffix(".cubin")]
        log = subprocess.run(command, capture_output=True, text=True, check=True).stderr

    def number(pattern: str) -> int:
        return sum(map(int, re.findall(pattern, log)))

    if log.count("Used ") != 1:
        raise ValueError(f"one kernel expected, ptxas says: {log}")
    return SimpleNamespace(
        registers=number(r"Used (\d+) registers"), shared=number(r"(\d+) bytes smem"),
        stack=number(r"(\d+) bytes stack frame") + number(r"(\d+) bytes lmem"),
        spills=number(r"(\d+) bytes spill (?:stores|loads)"),
    )  # fmt: skip


def rows(processes: int = 2) -> list[Row]:
    """Compile everything; about half a second a kernel."""
    count = len(_kernels())
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        return list(pool.map(compiled, range(count)))


def table(found: Sequence[Row]) -> str:
    """Return the table as text."""
    names = [f"sm_{major}{minor}" for major, minor in ARCHITECTURES]
    lines = ["\t".join(["kernel", "types", "threads", "shared", "stack", "spills", "f64", *names])]
    for row in found:
        lines.append("\t".join(map(str, [*row[:7], *row.registers])))
    return HEAD.format(compilers=compilers()) + "\n".join(lines) + "\n"


def problems(found: Sequence[Row]) -> list[str]:
    """Return what must not be, in any version of the table."""
    keys = [row[:2] for row in found]
    return [
        *[f"{name}: nothing launches it; call it in dry_run.py, or remove it" for name in sorted(unlaunched())],
        *[f"{row.kernel}: uses {', '.join(row.forbidden)}" for row in found if row.forbidden],
        *[f"{key[0]}: two kernels have this name and types {key[1]}" for key in {*keys} if keys.count(key) > 1],
    ]


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the table to its file")
    write = parser.parse_args(arguments).write
    found = rows()
    if write:
        TABLE.write_text(table(found))
    else:
        print(table(found), end="")
    print("\n".join(problems(found)), file=sys.stderr)
    return bool(problems(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

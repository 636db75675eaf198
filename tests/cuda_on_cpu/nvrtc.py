"""Registers, shared memory and spills of every kernel on every architecture, as NVRTC reports them, without a GPU.

    python tests/cuda_on_cpu/nvrtc.py             what differs from kernels/cupy_cuda/resources.tsv
    python tests/cuda_on_cpu/nvrtc.py --write     write that file
    python tests/cuda_on_cpu/nvrtc.py --print     print what would be written

The kernels are compiled by `refplay.kernels.cupy_cuda.compile`, with the options that they have on a GPU. The figures
belong to one version of the compiler, which the first line of the table names. It takes two minutes of a core.
"""

import argparse
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

TABLE = Path(__file__).parents[2] / "kernels" / "cupy_cuda" / "resources.tsv"

_KERNEL = re.compile(
    r"Compiling entry function '(?P<kernel>\w+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, (?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads.*?"
    r"Used (?P<registers>\d+) registers(?P<rest>[^\n]*)",
    re.DOTALL,
)


class Resources(NamedTuple):
    """What a kernel takes on an architecture; memory in bytes, `local` what of a thread is not in registers."""

    file: str
    kernel: str
    architecture: int
    registers: int
    shared: int
    local: int
    spilled: int


def measure() -> list[Resources]:
    """Compile all and return what each kernel takes, in the order of the names."""
    from refplay.kernels.cupy_cuda.compile import ARCHITECTURES, sources

    jobs = [(file, architecture) for file in sources() for architecture in ARCHITECTURES]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # NVRTC compiles on several threads at once
        return sorted(row for rows in pool.map(lambda job: _of_file(*job), jobs) for row in rows)


def _of_file(file: str, architecture: int) -> list[Resources]:
    from refplay.kernels.cupy_cuda.compile import compile_source

    _, log = compile_source(file, architecture, "--ptxas-options=-v")
    return parse(log, file, architecture)


def parse(log: str, file: str, architecture: int) -> list[Resources]:
    """Return what ptxas says about each kernel in its log."""
    rows = []
    for entry in _KERNEL.finditer(log):
        shared = re.search(r"(\d+) bytes smem", entry["rest"])
        rows.append(
            Resources(
                file, entry["kernel"], architecture, int(entry["registers"]), int(shared[1]) if shared else 0,
                int(entry["stack"]), int(entry["stores"]) + int(entry["loads"]),
            )
        )  # fmt: skip
    if len(rows) != log.count("Compiling entry function"):
        raise ValueError(f"{file}, sm_{architecture}: the compiler's log has another form:\n{log}")
    return rows


def compiler() -> str:
    """Return the name and version of the compiler."""
    from cupy.cuda import nvrtc

    return "NVRTC {}.{}".format(*nvrtc.getVersion())


def as_table(rows: list[Resources]) -> str:
    lines = [("# " + compiler(),), Resources._fields, *rows]
    return "".join("\t".join(map(str, line)) + "\n" for line in lines)


def from_table(table: str) -> list[Resources]:
    rows = [line.split("\t") for line in table.splitlines()[2:]]
    return [Resources(file, kernel, *map(int, numbers)) for file, kernel, *numbers in rows]


def differences(expected: str, found: str) -> list[str]:
    """Return the lines of two tables that are in one of them alone: "-" expected, "+" found."""
    before, after = expected.splitlines(), found.splitlines()
    gone, come = set(before) - set(after), set(after) - set(before)
    return [f"- {line}" for line in before if line in gone] + [f"+ {line}" for line in after if line in come]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--write", action="store_true", help=f"write {TABLE.name}")
    what.add_argument("--print", action="store_true", help="print what would be written")
    given = parser.parse_args()
    table = as_table(measure())
    if given.write:
        TABLE.write_text(table)
    elif given.print:
        print(table, end="")
    else:
        changed = differences(TABLE.read_text() if TABLE.exists() else "", table)
        print("\n".join(changed) or f"nothing differs from {TABLE.name}")
        return int(bool(changed))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""How much of the inner loop of each float32 product is multiply-adds, in the machine code for an H200.

    python tests/cuda_on_cpu/inner_loops.py         # a quarter of a minute; nvidia-cuda-nvdisasm is in the test extra

Each of the four schedulers of a multiprocessor issues an instruction in a cycle; what is no multiply-add is a cycle in
which none begins. `kernels/cupy_cuda/plan.py` takes its speeds of tiles from here.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from refplay.kernels.cupy_cuda.compile import compile_source

FILES = ("product", "conv")


def disassembled(file: str, architecture: int = 90) -> str:
    """Return the machine code of a `.cu` file as nvdisasm writes it."""
    spec = find_spec("nvidia")
    found = [tool for folder in (spec.submodule_search_locations if spec else ()) or ()
             for tool in Path(folder).glob("*/bin/nvdisasm")]
    if not found:
        sys.exit("nvdisasm is not here; pip install nvidia-cuda-nvdisasm")
    with tempfile.NamedTemporaryFile(suffix=".cubin") as cubin:
        cubin.write(compile_source(file, architecture)[0])
        cubin.flush()
        return subprocess.run([found[0], "-c", cubin.name], capture_output=True, text=True, check=True).stdout


def inner_loops(text: str) -> dict[str, tuple[int, int]]:
    """Return by kernel the multiply-adds and the instructions of the loop that has most multiply-adds."""
    loops: dict[str, tuple[int, int]] = {}
    kernel, places, code = "", {}, []
    for line in text.splitlines():
        if section := re.match(r"\.text\.(\S+):", line.strip()):
            kernel, places, code = section[1], {}, []
        elif label := re.match(r"\.(L_x_\d+):", line.strip()):
            places[label[1]] = len(code)
        elif instruction := re.search(r"/\*[0-9a-f]{4,}\*/\s+(.*?);", line):
            code.append(instruction[1])
            back = re.search(r"BRA.*`\(\.(L_x_\d+)\)", instruction[1])
            if back and back[1] in places:
                body = code[places[back[1]] :]
                loops[kernel] = max(loops.get(kernel, (0, 0)), (sum("FFMA" in each for each in body), len(body)))
    return loops


if __name__ == "__main__":
    for name in FILES:
        for kernel, (multiplications, instructions) in sorted(inner_loops(disassembled(name)).items()):
            if multiplications:
                print(f"{kernel:40} {multiplications:5} of {instructions:5}  {multiplications / instructions:.0%}")

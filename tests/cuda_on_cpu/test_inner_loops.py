"""The shares of multiply-adds that docs/cupy.md tells are those of the machine code."""

import re
from pathlib import Path

from cuda_on_cpu.inner_loops import FILES, disassembled, inner_loops

PAGE = Path(__file__).parents[2] / "docs" / "cupy.md"


def test_the_page_tells_what_the_compiler_makes():
    told = re.findall(r"(\d+) to (\d+) %", PAGE.read_text())
    found = []
    for file in FILES:
        loops = inner_loops(disassembled(file))
        for tile in ("128x128", "32x32"):
            kernels = [kernel for kernel in loops if kernel.endswith(f"_{tile}_float32")]
            shares = [100 * adds / instructions for adds, instructions in map(loops.get, kernels)]
            assert len(shares) == 3
            found.append((f"{min(shares):.0f}", f"{max(shares):.0f}"))
    assert told == found

"""Run every kernel of bugs.cu in this process and print, as JSON, which tool saw each of them ("" for none)."""

import json
from pathlib import Path

import numpy as np

from cuda_on_cpu.launch import KernelFault, load

N = 198  # 4 k + 2: vectors of four do not fit; the last of the blocks is not full
BLOCKS, THREADS = 4, 64


def verdict(name: str) -> tuple[str, str]:
    """Return the tool that saw something ("result": nothing but a wrong result; "": nothing), and what it said."""
    x = np.arange(N, dtype=np.float32)
    y = np.full(N + 1, np.nan, dtype=np.float32)
    y[N] = 0  # a counter or sum of some kernels
    view = y if "fence" in name or "atomics" in name else y[:N]
    try:
        load(SOURCE).get_function(name)((BLOCKS,), (THREADS,), (x, view, np.int32(N)), shared_mem=4 * THREADS)
    except KernelFault as fault:
        return fault.tool, str(fault)
    expected = x.reshape(-1, 2)[:, ::-1].ravel() + 1
    return ("", "") if np.array_equal(y[:N], expected) else ("result", f"{y[:N]}")


SOURCE = Path(__file__).with_name("bugs.cu")

if __name__ == "__main__":
    print(json.dumps({name: verdict(name) for name in load(SOURCE).kernels}))

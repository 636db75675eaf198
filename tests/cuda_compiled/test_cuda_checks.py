"""The checks of arguments on numba-cuda's own arrays, without memory behind them; the simulator has others."""

import os
import subprocess
import sys
from pathlib import Path

CALLS = """
import numpy as np
from dry_run import Launches, dry

launches = Launches()
launches.install()
from refplay.kernels import numba_cuda as gpu
from refplay.kernels.numba_cuda import check

check.device_of = check.current_device = lambda *_: 0
x, y, memory = dry((4, 6), "float32"), dry((4, 3), "float32"), dry((13,), "float32")
one, other = memory[:-1].reshape((4, 3)), memory[1:].reshape((4, 3))

def told(*arguments):
    try:
        gpu.relu_forward(*arguments)
        print(len(launches.launched))
    except (TypeError, ValueError) as error:
        print(error)

told(x[:, ::2], y)
told(one, other)
told(dry((4, 3), "float16"), y)
told(np.ones((4, 3), "f4"), y)
told(x, y)
told(one, one)
check.device_of = lambda pointer: 1
told(dry((4, 3), "float32"), y)
"""
SAID = """\
relu_forward: argument 'x': expected a C-contiguous, aligned array, got strides (24, 8)
relu_forward: argument 'y': expected memory apart from 'x', or the very same array, got overlapping memory
relu_forward: argument 'x': expected dtype float32 or float64, got dtype float16
relu_forward: argument 'x': expected a device array of this backend (its asarray makes one), got numpy.ndarray
relu_forward: argument 'y': expected shape (4, 6), got shape (4, 3)
1
relu_forward: argument 'x': expected memory of GPU 0, the one in use, got memory of GPU 1
"""


def test_bad_arrays_are_refused_and_good_ones_launched():
    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_ENABLE_CUDASIM"}
    result = subprocess.run([sys.executable, "-c", CALLS], cwd=Path(__file__).parent, env=environment,
                            capture_output=True, text=True)  # fmt: skip
    assert result.stdout == SAID, result.stderr

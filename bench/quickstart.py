"""How long the quickstart takes: from an empty Numba cache, then with the cache that it left.

    python bench/quickstart.py [RUNS]

Prints the seconds of one cold run and of RUNS (3) warm ones, and the import time of refplay; the load average tells how
busy the machine was with other things.
"""

import os
import subprocess
import sys
import tempfile
import time
from statistics import median


def seconds(*command: str, **environment: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL, env={**os.environ, **environment})
    return time.perf_counter() - started


def main(runs: int) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.2f} before the runs")
        times = [seconds("-m", "refplay", "quickstart", "--out", f"{scratch}/{run}", NUMBA_CACHE_DIR=f"{scratch}/cache")
                 for run in range(runs + 1)]
    bare = [seconds("-c", "pass") for _ in range(9)]
    imports = [seconds("-c", "import refplay") for _ in range(9)]
    print(f"quickstart, cold cache   {times[0]:6.1f} s")
    print(f"quickstart, warm cache   {median(times[1:]):6.1f} s   (median of {runs})")
    print(f"import refplay           {median(imports) - median(bare):6.2f} s   (beyond the start of Python)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)

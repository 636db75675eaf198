"""What a measurement of speed belongs to besides model and optimizer: the machine and the versions."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from refplay import __version__


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads() -> int:
    """Return on how many threads kernels run: the variable REFPLAY_THREADS, else one for each core."""
    given = os.environ.get("REFPLAY_THREADS", "")
    return int(given) if given.isdigit() and int(given) else cores()


def machine() -> dict[str, str]:
    """Return the processor's name, the cores that this process may use, and the threads that kernels run on."""
    return {"cpu": _cpu(), "cores": str(cores()), "threads": str(threads())}


def versions(packages: Iterable[str] = ()) -> dict[str, str]:
    """Return the versions of Python, refplay, NumPy, Numba and of other `packages`, all of them installed."""
    others = {name: metadata.version(name) for name in ("numpy", "numba", *packages)}
    return {"python": platform.python_version(), "refplay": __version__, **others}


def others() -> float:
    """Return the seconds of processor time that everything but this process has taken, up to a constant.

    Two readings tell how busy the machine was with other work in between; 0 where the system does not say (not Linux).
    """
    try:
        ticks = [int(word) for word in Path("/proc/stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:]]
    except (OSError, ValueError):
        return 0.0
    user, nice, system, _, _, irq, soft, steal = ticks[:8]  # the rest is idle, or counted in these already
    return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK") - time.process_time()


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not Linux
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.lower().startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()

"""g++, as this folder calls it."""

import os
import shutil
import subprocess
from functools import cache


class BuildError(RuntimeError):
    """g++ is missing or refuses the file; the message holds what it printed."""


def run(*arguments: str) -> str:
    """Run g++ and return what it prints to standard output."""
    # Without the sanitizer that this process may run under: g++ would run under it too, and take twice as long.
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    done = subprocess.run([path(), *arguments], capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise BuildError(done.stderr)
    return done.stdout


@cache
def path() -> str:
    found = shutil.which("g++")
    if found is None:
        raise BuildError("g++ is needed to run CUDA kernels on the CPU (Debian and Ubuntu: apt-get install g++)")
    return found

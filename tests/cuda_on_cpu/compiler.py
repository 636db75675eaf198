"""g++, as this folder calls it."""

import shutil
import subprocess
from functools import cache


class BuildError(RuntimeError):
    """g++ is missing or refuses the file; the message holds what it printed."""


def run(*arguments: str) -> str:
    """Run g++ and return what it prints to standard output."""
    done = subprocess.run([path(), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(done.stderr)
    return done.stdout


@cache
def path() -> str:
    found = shutil.which("g++")
    if found is None:
        raise BuildError("g++ is needed to run CUDA kernels on the CPU (Debian and Ubuntu: apt-get install g++)")
    return found

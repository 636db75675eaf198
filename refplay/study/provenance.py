"""Where results come from: the command, the version of refplay, the commit and the uncommitted changes.

Source: playbook, "Setting up experiment tracking".
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

_LONGEST_DIFF = 1_000_000  # characters; a diff beyond that is a data file, not a change that somebody reads


class Provenance(NamedTuple):
    """What it takes to run the same thing again."""

    created: str  # ISO 8601, UTC
    command: str
    version: str
    revision: str  # "" outside a git checkout
    changes: str  # a patch against `revision`, then the names of untracked files


def provenance() -> Provenance:
    """Return the provenance of what this process starts now in its working directory."""
    command = f"cd {shlex.quote(str(Path.cwd()))} && {shlex.join(sys.orig_argv)}"
    revision = _git("rev-parse", "HEAD").strip()
    patch = _git("diff", "HEAD") if revision else ""
    untracked = _git("ls-files", "--others", "--exclude-standard") if revision else ""
    patch += "".join(f"# untracked: {name}\n" for name in untracked.splitlines())
    if len(patch) > _LONGEST_DIFF:
        patch = patch[:_LONGEST_DIFF] + "\n# cut here: the changes are longer than this\n"
    try:
        installed = version("refplay")
    except PackageNotFoundError:  # imported from a folder
        installed = "not installed"
    return Provenance(now(), command, installed, revision, patch)


def now() -> str:
    """Return the time as it is stored."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _git(*arguments: str) -> str:
    # Without optional locks git leaves even the index of the checkout alone.
    try:
        done = subprocess.run(["git", "--no-optional-locks", *arguments], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""  # no git here: the command has to do
    return done.stdout.decode(errors="replace") if done.returncode == 0 else ""

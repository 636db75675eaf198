"""The file of results: what was measured, and by which run: machine, versions, commit, date, command."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FILE = ROOT / "bench" / "results" / "cpu.json"  # the tables of README and docs are made from this one
BUSY = 0.15  # cores in use by others; above it, the machine is called busy
_PACKAGES = ("numpy", "numba", "llvmlite", "scipy", "torch", "jax", "jaxlib", "optax", "optuna")


class Results:
    """A file of results; every `put` writes it, so that an interrupted run has lost one case at most."""

    def __init__(self, path: Path, run: Mapping[str, Any]) -> None:
        self.path, self._run = path, dict(run)
        self.data: dict[str, Any] = {"runs": [], "cases": {}}
        if path.exists():
            self.data = json.loads(path.read_text(encoding="utf-8"))

    def has(self, key: str) -> bool:
        """Return whether a run like this one (commit, machine, versions, settings) measured it, undisturbed."""
        record = self.data["cases"].get(key)
        if record is None or record.get("other_cores", 0.0) > BUSY:
            return False
        return _alike(self.data["runs"][record["run"]], self._run)

    def put(self, key: str, record: Mapping[str, Any]) -> None:
        """Keep the record of a case, in place of an earlier one."""
        runs, cases = self.data["runs"], self.data["cases"]
        if self._run not in runs:
            runs.append(self._run)
        cases[key] = {**record, "run": runs.index(self._run)}
        self._write()

    def forget(self, key: str) -> None:
        """Keep no record of a case."""
        if self.data["cases"].pop(key, None) is not None:
            self._write()

    def _write(self) -> None:
        self._forget_unused_runs()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self.path.with_suffix(".tmp")
        scratch.write_text(_dump(self.data), encoding="utf-8")
        os.replace(scratch, self.path)

    def _forget_unused_runs(self) -> None:
        used = sorted({record["run"] for record in self.data["cases"].values()})
        self.data["runs"] = [self.data["runs"][i] for i in used]
        for record in self.data["cases"].values():
            record["run"] = used.index(record["run"])


def _dump(data: Mapping[str, Any]) -> str:
    """Return JSON with one case a line: a new measurement is a readable diff."""
    runs = ",\n".join("  " + json.dumps(run) for run in data["runs"])
    cases = ",\n".join(f"  {json.dumps(key)}: {json.dumps(data['cases'][key])}" for key in sorted(data["cases"]))
    return f'{{"runs": [\n{runs}\n],\n"cases": {{\n{cases}\n}}}}\n'


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    differ = ("date", "command")
    return {k: v for k, v in one.items() if k not in differ} == {k: v for k, v in other.items() if k not in differ}


def describe_run(settings: Mapping[str, Any], packages: Sequence[str] = ()) -> dict[str, Any]:
    """Return what a reader needs to judge and repeat the figures of this run.

    `settings` are the command's own; of `packages`, beside those of every run, the versions are told where installed.
    """
    return {
        "machine": _machine(),
        "versions": _versions((*_PACKAGES, *packages)),
        "commit": _commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "command": shlex.join(["python", os.path.relpath(sys.argv[0], ROOT), *sys.argv[1:]]),
        "settings": dict(settings),
    }


def _machine() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores of {_processor()}, {_widest_vectors()}, {platform.system()}"


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _widest_vectors() -> str:
    flags = (_cpuinfo("flags") or _cpuinfo("Features")).split()
    kinds = {"avx512f": "AVX-512", "avx2": "AVX2", "asimd": "NEON"}
    return next((name for flag, name in kinds.items() if flag in flags), "unknown vectors")


def _cpuinfo(field: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "")


def _versions(packages: Sequence[str]) -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _commit() -> str:
    """Return the commit of the checkout, with a plus where files that make a difference have changed since.

    A copy of the files alone, as a machine that is lent may get, has none: there REFPLAY_COMMIT says it.
    """
    command = ["git", "-C", str(ROOT)]
    try:
        head = subprocess.run([*command, "rev-parse", "--short=10", "HEAD"], check=True, capture_output=True, text=True)
        changed = subprocess.run([*command, "status", "--porcelain", "--untracked-files=no", "refplay", "kernels"],
                                 check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("REFPLAY_COMMIT", "unknown")
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")

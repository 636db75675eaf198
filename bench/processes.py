"""Contenders in processes of their own, competing load, and whether the machine was busy with anything else."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

# A process that computes until its parent is gone, also where the parent was killed.
_BUSY = "import os, sys\nwhile os.getppid() == int(sys.argv[1]):\n    for _ in range(10**6): pass"


class ContenderError(Exception):
    """A contender that cannot do a case; the text says why."""

    def __init__(self, contender: str, why: str) -> None:
        super().__init__(why)
        self.contender = contender


class Contender:
    """A contender's process."""

    def __init__(self, name: str, environment: Mapping[str, str]) -> None:
        self.name = name
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        path = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "contender.py"), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self._log, env={**os.environ, "PYTHONPATH": path, **environment},
        )  # fmt: skip

    def ask(self, request: Mapping[str, Any], timeout: float) -> dict[str, Any]:
        """Send a request and return the answer.

        Raises
        ------
        ContenderError
            Where the process ends, or does not answer for `timeout` seconds; it is stopped then.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise ContenderError(self.name, self._last_words()) from None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(timeout):
                self.close()
                raise ContenderError(self.name, f"no answer for {timeout:.0f} s")
        line = self.process.stdout.readline()  # an answer is written at once
        if not line:
            raise ContenderError(self.name, self._last_words())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self._log):
            if stream is not None:
                with suppress(BrokenPipeError):  # a request that was never read
                    stream.close()

    def _last_words(self) -> str:
        self.process.wait()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"ended with code {self.process.returncode}"


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Let `count` Python processes compete for the cores for the time of a with-block."""
    processes = [subprocess.Popen([sys.executable, "-c", _BUSY, str(os.getpid())]) for _ in range(count)]
    try:
        time.sleep(0.1)  # until they have started
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


class OtherUse:
    """How many cores others used since the start: not this process, its children that have ended, or `processes`."""

    def __init__(self, processes: Sequence[subprocess.Popen[bytes]]) -> None:
        self._own = [os.getpid(), *(process.pid for process in processes)]
        self._before = self._look()

    def other_cores(self) -> float:
        """Return their number, a mean over time; 0 where there is no /proc to tell."""
        now = self._look()
        if now is None or self._before is None:
            return 0.0
        wall, busy, own = (after - before for after, before in zip(now, self._before, strict=True))
        return max(0.0, (busy - own) / wall)

    def _look(self) -> tuple[float, float, float] | None:
        """Return the time, and the CPU seconds of all processes and of our own so far."""
        try:
            fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        except OSError:
            return None
        user, nice, system, _, _, irq, softirq, steal = fields
        own = sum(_cpu_ticks(pid) for pid in self._own)
        second = os.sysconf("SC_CLK_TCK")
        return time.monotonic(), (user + nice + system + irq + softirq + steal) / second, own / second


def _cpu_ticks(pid: int) -> int:
    """Return the CPU time of a process and of its children that have ended; 0 where it has ended itself."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return sum(int(field) for field in fields[11:15])

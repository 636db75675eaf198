"""The long parts start with the first test of this folder and run beside all others, on the cores that are left.

Each is a process, with the tests that wait for it: the kernels under a sanitizer, and NVRTC. Only what was asked for is
started, and what nobody waited for, because pytest stopped early, is ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from cuda_on_cpu.sanitizers import Run, start_tests

HERE = Path(__file__).parent
# Kernels first: test_semantics.py has the largest blocks, and a ThreadSanitizer that has once seen that many threads
# compares notes with all of them at every barrier that follows, which doubles its time.
SANITIZED = [HERE / "kernels", HERE / "test_semantics.py"]


@pytest.fixture(scope="session")
def part() -> Iterator[Callable[[str], Run]]:
    """Return part(name), "address", "thread" or "nvrtc": its process, which the first call starts."""

    @cache
    def start(name: str) -> Run:
        if name == "nvrtc":
            run = Run("plain", ["-W", "ignore", str(HERE / "nvrtc.py"), "--print"])  # the table and no warnings
        else:
            run = start_tests(name, SANITIZED)
        started.append(run)
        return run

    started: list[Run] = []
    yield start
    for run in started:
        run.stop()


@pytest.fixture(scope="session", autouse=True)
def background(request: pytest.FixtureRequest, part: Callable[[str], Run]) -> None:
    for item in request.session.items:
        fixtures = getattr(item, "fixturenames", ())
        if "sanitized" in fixtures:
            part(item.callspec.params["sanitized"])  # type: ignore[attr-defined]
        if "resources" in fixtures:
            part("nvrtc")


@pytest.fixture(scope="session", params=["address", "thread"])
def sanitized(request: pytest.FixtureRequest, part: Callable[[str], Run]) -> Run:
    """Return the process that runs the tests of the runtime and of all kernels under a sanitizer."""
    return part(request.param)


@pytest.fixture(scope="session")
def resources(part: Callable[[str], Run]) -> str:
    """Return the table of nvrtc.py."""
    done = part("nvrtc").wait()
    assert done.returncode == 0, done.stdout
    return done.stdout

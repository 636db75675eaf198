"""What takes minutes is a process of its own, and these run one after another beside all other tests, on a second core.

A test names the one that it waits for, and gets what that printed and its exit status:

    @pytest.mark.parametrize("beside", ["nvrtc"], indirect=True)
    def test(beside): ...

Only those that some test waits for are run. The first starts with the first test, and what nobody waited for, because
pytest stopped early, is ended.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from cuda_on_cpu.sanitizers import Run, run_of_tests

HERE = Path(__file__).parent
CUDA, GPU = HERE / "cuda_on_cpu", HERE / "gpu"
# Kernels first: test_semantics.py has the largest blocks, and a ThreadSanitizer that has once seen that many threads
# compares notes with all of them at every barrier that follows, which doubles its time.
SANITIZED = [CUDA / "kernels", CUDA / "test_semantics.py"]
BESIDE: dict[str, Callable[[], Run]] = {  # in the order in which they are waited for
    "address": lambda: run_of_tests(SANITIZED, "address"),
    "thread": lambda: run_of_tests(SANITIZED, "thread"),
    "nvrtc": lambda: Run(["-W", "ignore", str(CUDA / "nvrtc.py"), "--print"]),  # the table and no warnings
    "cupy": lambda: run_of_tests([GPU], environment={"REFPLAY_CUDA_ON_CPU": "1"}),
    "numba-cuda": lambda: run_of_tests([GPU], environment={"NUMBA_ENABLE_CUDASIM": "1"}),
}


@pytest.fixture(scope="session", autouse=True)
def _lane(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[subprocess.CompletedProcess[str]]]]:
    wanted = {
        item.callspec.params["beside"] for item in request.session.items
        if "beside" in getattr(getattr(item, "callspec", None), "params", ())
    }  # fmt: skip
    started: list[Run] = []

    def run(name: str) -> subprocess.CompletedProcess[str]:
        started.append(BESIDE[name]())
        return started[-1].wait()

    pool = ThreadPoolExecutor(1)
    yield {name: pool.submit(run, name) for name in BESIDE if name in wanted}
    pool.shutdown(wait=False, cancel_futures=True)
    for one in started:
        one.stop()


@pytest.fixture(scope="session")
def beside(request: pytest.FixtureRequest, _lane: dict[str, Future[subprocess.CompletedProcess[str]]]):
    """Return the ended process whose name in BESIDE is the parameter."""
    return _lane[request.param].result()


@pytest.fixture(scope="session")
def passed() -> Callable[[subprocess.CompletedProcess[str]], int]:
    """Return passed(process): how many tests it ran, all of which passed; none was skipped or deselected."""

    def count(done: subprocess.CompletedProcess[str]) -> int:
        assert done.returncode == 0, done.stdout
        summary = re.search(r"= (\d+) passed(, \d+ warnings?)? in ", done.stdout)  # others would stand between
        assert summary, done.stdout
        return int(summary[1])

    return count

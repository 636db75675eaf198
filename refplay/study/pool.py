"""Where trials run: an executor of the user's, or processes of our own with one kernel thread each."""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from typing import Any

from refplay.errors import InputError
from refplay.study.objective import Objective, die_with_parent, readiness
from refplay.study.plan import Plan

# Read by the libraries when they are loaded. Several trials side by side use the cores better than several threads in
# one, and the sums of a matrix product do not then depend on the number of cores.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS",
                             "VECLIB_MAXIMUM_THREADS", "REFPLAY_THREADS"), "1")


class _Worker(SpawnProcess):
    """A process with one kernel thread that leaves Ctrl-C to its parent and does not outlive it."""

    def start(self) -> None:
        with _environment(_ONE_THREAD), _interrupts_blocked():
            super().start()

    def run(self) -> None:
        die_with_parent()  # before its first trial: an idle worker of a dead parent would wait for work for ever
        super().run()


class _Context(SpawnContext):
    """Starts workers and remembers them: why one died is known only from its exit code."""

    def __init__(self) -> None:
        super().__init__()
        self.workers: list[_Worker] = []

    def Process(self, *args: Any, **kwargs: Any) -> _Worker:  # type: ignore[override]  # there it is a class, here what makes one
        self.workers.append(_Worker(*args, **kwargs))
        return self.workers[-1]


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    # A child inherits the mask; the parent gets a Ctrl-C of this moment as soon as it is over.
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _check_main(objective: Objective) -> None:
    # A worker begins by loading the program of its parent from its file.
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    mend = "put it in a file, or pass executor=ThreadPoolExecutor()"
    if file is not None and getattr(main, "__spec__", None) is None and not Path(file).exists():
        raise InputError(f"worker processes cannot load a program from {file}; {mend}")
    if file is None and not isinstance(objective, str) and objective.__module__ == "__main__":
        raise InputError(f"objective {getattr(objective, '__qualname__', objective)!r} is defined in an interactive "
                         f"session or a notebook, from which worker processes cannot load it; {mend}")


class Pool:
    """An executor with what a run must know about it.

    Attributes
    ----------
    own : bool
        Whether the processes are ours, so that they can be replaced when one dies.
    capacity : int
        How many trials are given to it at once.
    """

    def __init__(self, executor: Executor | None, workers: int | None) -> None:
        self.own = executor is None
        known = getattr(executor, "_max_workers", None) or getattr(executor, "num_workers", None)
        self.capacity: int = workers or known or os.cpu_count() or 1
        self._context = _Context()
        self._executor = executor if executor is not None else self._start()

    def _start(self) -> ProcessPoolExecutor:
        self._context = _Context()
        return ProcessPoolExecutor(self.capacity, mp_context=self._context)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        self.close(at_once=kind is not None)

    def check(self, objective: Objective, search_path: tuple[str, ...], plan: Plan) -> None:
        """Raise InputError if a worker cannot load the objective or it refuses the plan; nothing is written by then."""
        if self.own:
            _check_main(objective)
        if not isinstance(objective, str) and isinstance(self._executor, ProcessPoolExecutor):
            try:
                pickle.dumps(objective)
            except Exception as error:  # pickle raises whatever the objects raise
                raise InputError(f"objective {objective!r} cannot be sent to worker processes ({error}); define it at "
                                 "the top of a module, or pass executor=ThreadPoolExecutor()") from None
        try:
            problem = self._executor.submit(readiness, objective, search_path, plan).result()
        except BrokenExecutor:
            raise InputError(f"objective {objective!r}: a worker process dies when it loads it; if it is in a script, "
                             "call run under `if __name__ == \"__main__\":`, or pass "
                             "executor=ThreadPoolExecutor()") from None
        if problem:
            raise InputError(problem)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        try:
            return self._executor.submit(function, *arguments)
        except BrokenExecutor as error:  # a worker died since the last result
            broken: Future[Any] = Future()
            broken.set_exception(error)
            return broken

    def restart(self) -> str:
        """Replace our processes after one died, and return how it did."""
        executor, context = self._executor, self._context
        executor.shutdown(wait=True)
        self._executor = self._start()
        codes = [worker.exitcode for worker in context.workers if worker.exitcode]
        if len(codes) != 1:
            return "worker process died"
        if codes[0] >= 0:
            return f"worker process died with exit code {codes[0]}"
        name = signal.Signals(-codes[0]).name
        return f"worker process died of {name}" + " (out of memory?)" * (name == "SIGKILL")

    def close(self, *, at_once: bool) -> None:
        """End our processes: after their work, or now. An executor of the user's stays as it is."""
        if not self.own:
            return
        self._executor.shutdown(wait=not at_once, cancel_futures=at_once)
        if at_once:
            for worker in self._context.workers:
                worker.kill()
            for worker in self._context.workers:
                worker.join()

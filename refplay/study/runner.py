"""Running a plan: claim a trial, hand it to a worker, store what comes back, until the round is done.

Whatever ends a run (Ctrl-C, a crash, kill -9), the store holds whole trials only, and the next run of the same plan
goes on with the others. Every random number of a trial comes from the plan's seed and the trial's place, so neither the
number of workers nor the order in which trials finish nor an interruption changes a result.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from refplay.errors import InputError
from refplay.study.claims import Claim, Claims
from refplay.study.objective import Objective, reference_of
from refplay.study.plan import Plan
from refplay.study.pool import Pool
from refplay.study.record import Round, State
from refplay.study.store import Store
from refplay.study.trial import Assignment, Outcome, run_trial

ProgressCallback = Callable[[str, int, int, float | None], None]

_POLL = 0.2  # seconds between two looks at the trials that other runs work on


def run(plan: Plan, objective: Objective | None = None, *, store: str | Path = "runs.db",
        executor: Executor | None = None, resume: bool = True, workers: int | None = None,
        progress: ProgressCallback | None = None, folder: str | Path | None = None,
        retry_failed: bool = False) -> Round:
    """Run all trials of `plan` that the store does not hold yet, then the repetitions of the best ones.

    Repeated is the best trial of each study; where a study has the scientific hyperparameters inside its space, that of
    each combination of their values.

    Parameters
    ----------
    plan : Plan
        What to run.
    objective : callable or str, optional
        A function that takes a `Trial`, trains, and calls ``trial.report(step, ...)``; or its name "module:function",
        looked up in the working directory and `folder` first. Default: the plan's.
    store : str or Path
        The SQLite file for the results; folders of trials lie beside it in ``<store without suffix>.trials``. Several
        runs of one plan at once, on one store, share the work.
    executor : concurrent.futures.Executor, optional
        Where trials run. Default: a pool of processes with one kernel thread each, in which a trial that kills its
        process is marked failed and the others go on.
    resume : bool
        False: refuse to go on with a round that the store already has.
    workers : int, optional
        How many trials run at once. Default: what `executor` says, else the number of cores.
    progress : callable, optional
        Called in this process as ``progress(study, done, total, best)`` when a study moves on; best is None at first.
    folder : str or Path, optional
        Where to look for the objective's module beside the working directory: the folder of the plan's file.
    retry_failed : bool
        Begin the failed trials of an earlier run again, from nothing: a bug of the objective was mended. Where one of
        them becomes the best of its study, it is repeated instead of the earlier best.

    Returns
    -------
    Round: the plan with its studies as the store has them in the end.

    Raises
    ------
    InputError
        An objective that is not there or cannot be sent to the workers, a store that cannot be used or has another plan
        of that name, a full disk, or an InputError of the objective. A round of which nothing has run leaves no trace.
    """
    objective = plan.objective if objective is None else objective
    reference = reference_of(objective)
    to_send = reference if isinstance(objective, str) else objective
    if workers is not None and workers < 1:
        raise InputError(f"workers = {workers}; give 1 or more")
    trials = [spec.params() for spec in plan.studies()]
    path = Path(store)
    if path.exists() and (finished := _look(path, plan, reference, resume, retry_failed)):
        return finished
    _check_place(path)  # before minutes go into preparing
    folders = [Path.cwd(), *([Path(folder).absolute()] if folder is not None else [])]
    search_path = tuple(dict.fromkeys(map(str, folders)))  # often they are one
    with Pool(executor, workers) as pool:
        pool.check(to_send, search_path, plan)
        with _store(path) as opened:
            round_id = opened.create_round(plan, reference, trials)
            with closing(Claims(opened, round_id, plan.metric)) as claims:
                if retry_failed:
                    claims.retry_failed()
                work = _Work(plan, opened, claims, pool, (to_send, search_path), progress)
                try:
                    work.until_done()
                except BaseException as error:
                    with suppress(InputError):  # the store itself may have failed: the next run takes over our claims
                        work.give_up()
                        if isinstance(error, InputError):
                            claims.forget_untouched()
                    raise
            return opened.load_round(plan.name)


def _look(path: Path, plan: Plan, reference: str, resume: bool, retry_failed: bool) -> Round | None:
    """Return the round if the store has all of it already; refuse what must not be resumed."""
    with Store(path, create=True) as store:
        if not store.has_round(plan.name):
            return None
        if not resume:
            raise InputError(f"store {path} already has a round {plan.name!r}; go on with it by --resume "
                             "(resume=True), or give the plan another name")
        store.check_round(plan, reference)
        found = store.load_round(plan.name)
        return found if _whole(found, plan, retry_failed) else None


def _whole(found: Round, plan: Plan, retry_failed: bool) -> bool:
    """Return whether nothing is left to run of what was found of `plan`."""
    to_run = {State.PENDING, State.RUNNING, *([State.FAILED] if retry_failed else [])}
    for part in found.contenders():
        best = part.ranked(plan.metric)[:1]
        wanted = {(trial.number, rerun) for trial in best for rerun in range(1, plan.reruns + 1)}
        if wanted != {(trial.number, trial.rerun) for trial in part.reruns}:
            return False
        if any(trial.state in to_run for trial in (*part.trials, *part.reruns)):
            return False
    return True


def _check_place(path: Path) -> None:
    """Refuse a store that cannot be written, or not be made, where it is meant to be."""
    folder = path.absolute().parent
    if not folder.is_dir():
        raise InputError(f"store {path}: there is no folder {folder}; create it first")
    if path.exists() and not os.access(path, os.W_OK):
        raise InputError(f"store {path} is read-only; give a path that can be written")
    try:
        with NamedTemporaryFile(dir=folder, prefix=f".{path.name}."):
            pass
    except OSError as error:
        raise InputError(f"store {path} cannot be opened: its folder cannot be written ({error.strerror}); give a path "
                         "in a folder that can be") from None


@contextmanager
def _store(path: Path) -> Iterator[Store]:
    """Open or create the store; one that we made and that holds nothing in the end is not left behind."""
    existed = path.exists()
    with Store(path, create=True) as store:
        try:
            yield store
        except BaseException:
            with suppress(InputError):
                existed = existed or bool(store.rounds())
            if not existed:
                store.close()
                path.unlink(missing_ok=True)
            raise


class _Work:
    """The loop of a run: what is with the workers now, and what to do when it comes back."""

    def __init__(self, plan: Plan, store: Store, claims: Claims, pool: Pool,
                 objective: tuple[Objective, tuple[str, ...]], progress: ProgressCallback | None) -> None:
        self._plan, self._store, self._claims, self._pool = plan, store, claims, pool
        self._objective, self._search_path = objective
        self._progress = progress
        self._told: dict[str, tuple[int, int, float | None]] = {}
        self._given: dict[Future[Outcome], Claim] = {}
        self._suspects: list[Claim] = []  # one of them killed its worker; each is tried alone
        self._specs = plan.studies()
        # Scientific values inside the space of a study: the best trial of each is repeated.
        self._values = math.prod(map(len, plan.scientific.values())) if plan.together else 1

    def until_done(self) -> None:
        """Run trials until the round has none left, here or in another run."""
        while True:
            unfinished = self._advance()
            self._hand_out()
            if self._given:
                self._take_in()
            elif not unfinished:
                return
            else:
                self._claims.take_over()
                time.sleep(_POLL)

    def _advance(self) -> int:
        """Add the repetitions of studies whose search is over, tell the progress; return how many trials are left."""
        unfinished = 0
        for spec, standing in zip(self._specs, self._claims.standings(), strict=True):
            left = standing.unfinished
            if standing.searching:
                repeats = self._plan.reruns * self._values  # unless no trial of a value completes
            else:
                bests = self._claims.best_numbers(spec.index, self._plan.scientific)
                repeats = self._plan.reruns * len(bests)
                if self._claims.keep_reruns(spec.index, bests) or standing.reruns < repeats:
                    for number in bests:
                        seeds = [spec.trial_seed(number, rerun) for rerun in range(1, self._plan.reruns + 1)]
                        self._claims.add_reruns(spec.index, number, seeds)
                    left = repeats
            unfinished += left
            self._tell(spec.name, standing.finished, standing.trials + repeats, standing.best)
        return unfinished

    def _tell(self, study: str, *where: Any) -> None:
        if self._progress is not None and self._told.get(study) != where:
            self._told[study] = where
            self._progress(study, *where)

    def _hand_out(self) -> None:
        if self._suspects:
            self._give(self._suspects.pop())
            return
        while len(self._given) < self._pool.capacity and (claim := self._claims.claim()):
            self._give(claim)

    def _give(self, claim: Claim) -> None:
        folder = self._store.trial_folder(claim.study, claim.number, claim.rerun)
        assignment = Assignment(claim.study, claim.number, claim.rerun, claim.seed, claim.params, self._plan.steps,
                                self._plan.metric, str(folder))
        self._given[self._pool.submit(run_trial, self._objective, assignment, self._search_path)] = claim

    def _take_in(self) -> None:
        """Wait for a result and store what is there; find out who killed a worker process."""
        alone = len(self._given) == 1
        done = wait(self._given, return_when=FIRST_COMPLETED).done
        if any(isinstance(future.exception(), BrokenExecutor) for future in done):
            done = wait(self._given).done  # with its pool, every other trial in it ends too
        broken = []
        for future in done:
            claim = self._given[future]
            try:
                outcome = future.result()
            except BrokenExecutor:
                if not self._pool.own:
                    raise
                broken.append(claim)
            else:
                self._claims.finish(claim, outcome)
            del self._given[future]
        if broken:
            how = self._pool.restart()
            if alone:
                self._claims.finish(broken[0], Outcome(State.FAILED, how, {}, float("nan"), False))
            else:
                self._suspects += broken

    def give_up(self) -> None:
        """Stop the workers, and leave what they had not finished to the next run."""
        if self._pool.own:
            self._pool.close(at_once=True)
        for future in self._given:
            future.cancel()
        # Trials in threads or processes of the user cannot be stopped: they finish, and count.
        wait(self._given)
        for future, claim in self._given.items():
            if not future.cancelled() and future.exception() is None:
                self._claims.finish(claim, future.result())
        self._claims.release()

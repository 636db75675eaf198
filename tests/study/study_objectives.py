"""Objectives for the tests: small, deterministic, and found by worker processes as ``study_objectives:NAME``."""

import json
import os
import signal
import sys
import time
from pathlib import Path

from refplay.errors import InputError


def descend(trial):
    """Gradient descent on w^2 from a random start, with noise from a second stream; diverges for large rates."""
    w, noise = trial.generator("init").standard_normal(), trial.generator("noise")
    for step in range(trial.steps):
        w -= 2 * trial["learning_rate"] * w
        trial.report(step + 1, train_loss=w * w, valid_error=abs(w) + 0.1 * noise.random())


def descend_slowly(trial):
    """The same with pauses, and a line in calls.txt for every trial begun."""
    folder = Path(trial.folder)
    with (folder.parent.parent / "calls.txt").open("a") as calls:
        calls.write(f"{trial.study} {trial.number} {trial.rerun} {os.getpid()}\n")
    w, noise = trial.generator("init").standard_normal(), trial.generator("noise")
    for step in range(trial.steps):
        time.sleep(0.004)
        w -= 2 * trial["learning_rate"] * w
        trial.report(step + 1, train_loss=w * w, valid_error=abs(w) + 0.1 * noise.random())


def descend_from_checkpoint(trial):
    """The same, going on from the last checkpoint in the folder, with one every 7 steps."""
    path, first = trial.folder / "checkpoint.json", 0
    w, noise = trial.generator("init").standard_normal(), trial.generator("noise")
    if path.exists():
        first, w = json.loads(path.read_text())
        for _ in range(first):
            noise.random()
        with (path.parent.parent / "resumed.txt").open("a") as resumed:
            resumed.write(f"{trial.number} {first}\n")
    for step in range(first, trial.steps):
        time.sleep(0.004)
        w -= 2 * trial["learning_rate"] * w
        trial.report(step + 1, train_loss=w * w, valid_error=abs(w) + 0.1 * noise.random())
        if (step + 1) % 7 == 0:
            path.with_suffix(".new").write_text(json.dumps([step + 1, w]))
            path.with_suffix(".new").replace(path)


def crash_odd(trial):
    if trial.number % 2:
        raise RuntimeError(f"the objective has a bug in trial {trial.number}")
    descend(trial)


def exit_on_two(trial):
    if trial.number == 2 and not trial.rerun:
        os._exit(3)
    descend(trial)


def killed_on_one(trial):
    if trial.number == 1 and not trial.rerun:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    descend(trial)


def give_up(trial):
    sys.exit("nothing to train")


def no_data(trial):
    (trial.folder / "partial").write_text("x")
    raise InputError("there is no folder /data/cifar; give the path of the data")


def environment(trial):
    """Report what the worker process can see of its threads, as numbers."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "REFPLAY_THREADS")
    trial.report(0, valid_error=sum(os.environ.get(name) == "1" for name in names), process=os.getpid())


not_a_function = 3

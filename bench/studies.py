"""A study of 24 trials on the digits: refplay against PyTorch with Optuna, both with 2 worker processes.

    python bench/studies.py [--rounds 5] [--out FILE]

The same MLP, data, batch size, update rule (Nesterov), search space, number of steps and evaluations, one thread a
worker, quasi-random search (Halton) in both. What is timed is the whole command, from the start of Python to the last
trial, in alternating rounds, and, inside it, the median time of a trial. refplay also logs loss and gradient norm of
every step and keeps checkpoints; the other does not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from results import FILE, ROOT, Results, describe_run
from summary import quartiles

TRIALS, STEPS, EVERY, BATCH, WIDTH, WORKERS = 24, 400, 20, 64, 128, 2


def refplay_study(folder: Path) -> float:
    """Run the study with refplay; return the median seconds of a trial."""
    from refplay import LogUniform, OneMinusLogUniform, Plan, run

    plan = Plan(
        name="digits", goal="How low does the validation error get?", trials=TRIALS, steps=STEPS, reruns=0,
        nuisance={"learning_rate": LogUniform(1e-3, 1e0), "momentum": OneMinusLogUniform(1e-3, 1e0)},
        fixed={"optimizer": "nesterov", "width": WIDTH, "depth": 2, "batch_size": BATCH, "evaluate_every": EVERY},
    )  # fmt: skip
    (study,) = run(plan, store=folder / "runs.db", workers=WORKERS).studies
    assert len(study.trials) == TRIALS
    assert all(trial.state in ("complete", "infeasible") for trial in study.trials)
    return median(trial.seconds for trial in study.trials)


def torch_study(folder: Path) -> float:
    """Run the study with PyTorch and Optuna; return the median seconds of a trial."""
    import multiprocessing

    import optuna

    journal = str(folder / "journal.log")
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=torch_worker, args=(journal, TRIALS // WORKERS)) for _ in range(WORKERS)]
    _torch_study(journal)
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    trials = _torch_study(journal).trials
    assert [trial.state for trial in trials] == [optuna.trial.TrialState.COMPLETE] * TRIALS
    return float(median(trial.duration.total_seconds() for trial in trials))


def _torch_study(journal: str) -> Any:
    import optuna
    from optuna.storages.journal import JournalFileBackend

    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.QMCSampler(qmc_type="halton", scramble=True, seed=0, warn_independent_sampling=False)
    storage = optuna.storages.JournalStorage(JournalFileBackend(journal))  # much faster than Optuna's SQLite
    return optuna.create_study(study_name="digits", storage=storage, sampler=sampler, load_if_exists=True)


def torch_worker(journal: str, trials: int) -> None:
    """Run `trials` trials in this process."""
    import torch
    from torch import nn

    from refplay.data import load_dataset

    torch.set_num_threads(1)
    data = load_dataset("digits")
    x, valid_x = (torch.from_numpy(split.x.reshape(len(split.x), -1).copy()) for split in (data.train, data.valid))
    y, valid_y = (torch.from_numpy(split.y.copy()) for split in (data.train, data.valid))
    loss_of = nn.functional.cross_entropy

    def objective(trial: Any) -> float:
        torch.manual_seed(trial.number)
        rate = trial.suggest_float("learning_rate", 1e-3, 1e0, log=True)
        momentum = 1.0 - trial.suggest_float("one_minus_momentum", 1e-3, 1e0, log=True)
        model = nn.Sequential(nn.Linear(x.shape[1], WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(),
                              nn.Linear(WIDTH, data.classes))
        rule = torch.optim.SGD(model.parameters(), rate, momentum, nesterov=momentum > 0, fused=True)
        best, order, valid_losses = 1.0, torch.randperm(len(y)), []
        for step in range(1, STEPS + 1):
            if len(order) < BATCH:
                order = torch.cat([order, torch.randperm(len(y))])
            batch, order = order[:BATCH], order[BATCH:]
            loss = loss_of(model(x[batch]), y[batch])
            rule.zero_grad()
            loss.backward()
            rule.step()
            if step % EVERY == 0:
                with torch.no_grad():
                    z = model(valid_x)
                    valid_loss, error = loss_of(z, valid_y).item(), (z.argmax(1) != valid_y).float().mean().item()
                trial.report(error, step)
                valid_losses.append(valid_loss)
                best = min(best, error)
        trial.set_user_attr("valid_loss", valid_losses)
        return best

    _torch_study(journal).optimize(objective, n_trials=trials)


STUDIES = {"refplay": refplay_study, "torch + optuna": torch_study}


def time_study(name: str) -> dict[str, float]:
    """Return the seconds of the whole command and the median seconds of a trial."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        done = subprocess.run([sys.executable, __file__, "--one", name, folder], check=True, stdout=subprocess.PIPE,
                              env={**os.environ, "PYTHONPATH": path})  # fmt: skip
        return {"command": time.perf_counter() - started, "trial": json.loads(done.stdout)}


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=FILE)
    parser.add_argument("--one", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if find_spec("optuna") is None:
        parser.error("it needs optuna; python -m pip install optuna")
    if given.one:
        print(STUDIES[given.one[0]](Path(given.one[1])))
        return
    results = Results(given.out, describe_run({"rounds": given.rounds}))
    if results.has("studies"):
        print(f"{given.out} has it already")
        return
    time_study("refplay")  # compiles what is not in Numba's cache yet
    rounds = [{name: time_study(name) for name in STUDIES} for _ in range(given.rounds)]
    rows: dict[str, Any] = {}
    for name in STUDIES:
        rates = [TRIALS / each[name]["command"] for each in rounds]
        rows[name] = {"trials_per_s": median(rates), "quartiles": list(quartiles(rates)),
                      "trial_s": median(each[name]["trial"] for each in rounds)}
        print(f"{name:16} {median(rates):6.2f} trials/s, {1e3 * rows[name]['trial_s']:6.0f} ms a trial")
    results.put("studies", {"rows": rows, "trials": TRIALS, "steps": STEPS, "workers": WORKERS})


if __name__ == "__main__":
    main()

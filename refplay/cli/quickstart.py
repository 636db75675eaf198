"""`refplay quickstart`: one whole round of the playbook on real data.

Goal: does Nesterov momentum or Adam reach the lower validation error on handwritten digits in 400 steps? One study for
each, with hyperparameters of its own to tune away, then repetitions of each best trial with other seeds, the checklist,
the decision, and, once at the end, the test set.
"""

from __future__ import annotations

from pathlib import Path

from refplay.cli.console import PipeConsole
from refplay.cli.progress import progress_bars
from refplay.cli.rounds import conclude, on_backend
from refplay.errors import InputError
from refplay.procedures.adam_budget import adam_space
from refplay.procedures.starter_space import starter_space
from refplay.study.plan import Plan
from refplay.study.record import Round
from refplay.study.runner import run

TRIALS = 24


def quickstart_plan() -> Plan:
    """Return the plan of the quickstart round.

    >>> [study.name for study in quickstart_plan().studies()]
    ['nesterov-or-adam/optimizer=nesterov', 'nesterov-or-adam/optimizer=adam']
    """
    nesterov, _ = starter_space("nesterov", "general")
    return Plan(
        name="nesterov-or-adam",
        goal="Does Nesterov momentum or Adam reach the lower validation error on handwritten digits in 400 steps?",
        scientific={"optimizer": ["nesterov", "adam"]},
        nuisance={"optimizer": {"nesterov": nesterov, "adam": adam_space(TRIALS)}},
        fixed={"data": "digits", "model": "mlp", "depth": 2, "width": 128, "batch_size": 64, "schedule": "cosine",
               "label_smoothing": 0.1, "evaluate_every": 20},
        trials=TRIALS, steps=400, reruns=5, seed=0,
        notes="Equal budgets, and for each optimizer a space of its own. Schedule and label smoothing have one common "
              "value, because 24 trials cover two hyperparameters and no more: the report warns of both.")


def quickstart(out: Path, *, workers: int | None = None, backend: str | None = None) -> int:
    """Run the round in the folder `out` (where an interrupted one goes on) and report on it."""
    plan, store, console = on_backend(quickstart_plan(), backend), out / "runs.db", PipeConsole()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {out}: {error.strerror}; give another by --out") from None
    console.print(f"[bold]{plan.goal}[/bold]\n{plan.trials} trials of {plan.steps} steps for each, then {plan.reruns} "
                  "repetitions of each best trial with other seeds.\n", highlight=False)
    with progress_bars(plan.metric, console) as progress:
        done = run(plan, store=store, workers=workers, progress=progress)
    conclude(done, store, out / "report.html", console, test=_test_error(done))
    console.print("plan     the report ends with it; change it, then: refplay run PLAN.toml", highlight=False)
    return 0


def _test_error(done: Round) -> float | None:
    """Return the test error of the configuration that stands at the end; nothing before this has read the test set."""
    from refplay.analysis.adoption import compare, standing
    from refplay.procedures.workloads import evaluate_on_test

    best = standing(done, compare(done))
    return None if best is None else evaluate_on_test(best, done.plan.steps).error

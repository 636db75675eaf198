"""A small finished round with known numbers."""

import numpy as np
import pytest

from refplay.search.space import Choice, LogUniform, OneMinusLogUniform, Space
from refplay.study.plan import Plan
from refplay.study.record import Curve, Round, State, Study, TrialRecord

SPACES = {"nesterov": Space(learning_rate=LogUniform(1e-3, 1e0), momentum=OneMinusLogUniform(1e-3, 1e0)),
          "adam": Space(learning_rate=LogUniform(1e-4, 1e-1), norm=Choice(["none", "layer"]))}


def make_trial(study, number, params, best, state=State.COMPLETE, rerun=0, reason=""):
    steps = np.arange(10, 101, 10)
    curves = {"valid_error": Curve(steps, best + 0.5 * (1 - steps / 100)), "train_loss": Curve(steps, 2 - steps / 60),
              "gradient_norm": Curve(steps, 1 + 1 / steps)}
    return TrialRecord(study, number, params, state, 7, curves, reason, rerun, 1.5)


def make_study(plan, name, base, extra=None):
    space, label = SPACES[name], f"{plan.name}/optimizer={name}"
    held = {"optimizer": name, **plan.fixed, **(extra or {})}
    trials = [make_trial(label, i, space.from_unit([(i + 0.5) / 8] * 2) | held, base + 0.013 * (i - 4) ** 2)
              for i in range(7)]
    trials.append(make_trial(label, 7, space.from_unit([0.99, 0.5]) | held, 0.9, State.INFEASIBLE,
                             reason="train_loss is nan at step 60"))
    reruns = [make_trial(label, 4, trials[4].params, base + 0.002 * r, rerun=r) for r in (1, 2, 3)]
    return Study(label, {"optimizer": name}, space, tuple(trials), tuple(reruns))


PLAN = Plan(name="nesterov-or-adam", goal="Which optimizer reaches the lower validation error?", trials=8, steps=100,
            scientific={"optimizer": ["nesterov", "adam"]}, nuisance={"optimizer": SPACES}, fixed={"width": 128},
            reruns=3, seed=11)


@pytest.fixture(scope="session")
def plan():
    return PLAN


@pytest.fixture(scope="session")
def round_(plan):
    return Round(plan, (make_study(plan, "nesterov", 0.041), make_study(plan, "adam", 0.023)))

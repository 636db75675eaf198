"""Synthetic studies whose numbers are known, so that a test can hold a drawing against them."""

import numpy as np
import pytest

from refplay.search.space import Choice, Integer, LogUniform, OneMinusLogUniform, Space, Uniform
from refplay.seeds import generator
from refplay.study.plan import Plan
from refplay.study.record import Curve, Round, State, Study, TrialRecord

NESTEROV = Space(learning_rate=LogUniform(1e-3, 1e0), momentum=OneMinusLogUniform(1e-3, 1e0))
FIXED = {"depth": 2, "batch_size": 64}
ADAM = Space(learning_rate=LogUniform(1e-4, 1e-1), beta1=OneMinusLogUniform(1e-2, 1e0),
             width=Integer(16, 512, log=True), dropout=Uniform(0.0, 0.5), activation=Choice(["relu", "tanh", "gelu"]),
             norm=Choice(["none", "batch"], when={"batch": Space(epsilon=LogUniform(1e-8, 1e-2))}))


def make_curves(rng, quality, steps, every):
    """Return the curves of a plausible run: error falls to `quality`, loss and gradient norm with it."""
    at, all_steps = np.arange(every, steps + 1, every), np.arange(1, steps + 1)
    fall = np.exp(-6 * at / steps)
    error = quality + (0.9 - quality) * fall + 0.004 * rng.random(at.size)
    loss = 2.3 * np.exp(-5 * all_steps / steps) + 3 * quality + 0.1 * rng.random(steps)
    norm = np.exp(0.5 * rng.standard_normal(steps)) * (0.3 + 2 * np.exp(-5 * all_steps / steps))
    return {"valid_error": Curve(at, error), "train_error": Curve(at, 0.6 * error),
            "train_loss": Curve(all_steps, loss), "gradient_norm": Curve(all_steps, norm)}


def make_trial(study, number, params, seed=0, steps=400, every=20, rerun=0):
    rng = generator(seed, study, number, rerun)
    rate = params.get("learning_rate", 0.01)
    if rate > 0.4:
        early, reason = make_curves(rng, 0.5, 60, every), "train_loss is nan at step 60"
        return TrialRecord(study, number, params, State.INFEASIBLE, seed, early, reason, rerun, 0.4)
    quality = 0.012 + 0.05 * (np.log10(rate) + 1.8) ** 2 + 0.004 * rng.random()
    curves = make_curves(rng, quality, steps, every)
    return TrialRecord(study, number, params, State.COMPLETE, seed, curves, "", rerun, 1.9)


def make_study(name="adam", space=ADAM, trials=24, scientific=None, reruns=0, steps=400, every=20, seed=3):
    points = generator(seed, name).random((trials, len(space.dimensions)))
    held = {**(scientific or {}), **FIXED}
    records = tuple(make_trial(name, i, {**space.from_unit(point), **held}, seed, steps, every)
                    for i, point in enumerate(points))
    study = Study(name, scientific or {}, space, records)
    ranked = study.ranked("valid_error")
    again = tuple(make_trial(name, ranked[0].number, ranked[0].params, seed, steps, every, r)
                  for r in range(1, reruns + 1)) if ranked else ()
    return Study(name, scientific or {}, space, records, again)


def make_round():
    plan = Plan(name="nesterov-or-adam", goal="Which optimizer reaches the lower validation error in 400 steps?",
                scientific={"optimizer": ["nesterov", "adam"]},
                nuisance={"optimizer": {"nesterov": NESTEROV, "adam": ADAM}}, fixed=FIXED)
    studies = tuple(make_study(f"nesterov-or-adam/optimizer={name}", space, 24, {"optimizer": name}, 5)
                    for name, space in (("nesterov", NESTEROV), ("adam", ADAM)))
    return Round(plan, studies)


@pytest.fixture(scope="session")
def study():
    return make_study(reruns=5)


@pytest.fixture(scope="session")
def study_factory():
    return make_study


@pytest.fixture(scope="session")
def round_():
    return make_round()

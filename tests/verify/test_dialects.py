"""The playbook's dialect is what the kernels compute; a package's dialect is what the package computes."""

from itertools import combinations

import jax
import keras
import numpy as np
import optax
import pytest
import torch

from refplay.kernels import load
from refplay.optim import RULES
from refplay.verify.dialects import CHOICES, NAMED, Simulation, dialects, playbook
from refplay.verify.gradients import course

COURSE = course(0.1)
VALUES = {"momentum": 0.65, "rho": 0.8, "beta1": 0.7, "beta2": 0.8, "epsilon": 0.1, "weight_decay": 0.0,
          "dampening": 0.3, "momentum_decay": 0.004, "epsilon_root": 0.02}  # fmt: skip


def ours(rule, dialect, **changed):
    simulation, thetas = Simulation(rule, dialect), [COURSE.theta]
    for gradient, rate in zip(COURSE.gradients, COURSE.rates, strict=True):
        thetas.append(simulation.step(thetas[-1], gradient, lr=rate, **{**VALUES, **changed}))
    return np.stack(thetas)


def by_torch(make, **arguments):
    parameter = torch.nn.Parameter(torch.tensor(COURSE.theta))
    optimizer, thetas = make([parameter], lr=1.0, **arguments), [COURSE.theta]
    for gradient, rate in zip(COURSE.gradients, COURSE.rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
        thetas.append(parameter.detach().numpy().copy())
    return np.stack(thetas)


def by_optax(make, **arguments):
    rates = jax.numpy.asarray(COURSE.rates)
    optimizer, theta = make(lambda count: rates[count], **arguments), jax.numpy.asarray(COURSE.theta)
    state, thetas = optimizer.init(theta), [COURSE.theta]
    for gradient in COURSE.gradients:
        updates, state = optimizer.update(jax.numpy.asarray(gradient), state, theta)
        theta = optax.apply_updates(theta, updates)
        thetas.append(np.asarray(theta))
    return np.stack(thetas)


def by_keras(make, **arguments):
    variable = keras.Variable(COURSE.theta, dtype="float64")
    optimizer, thetas = make(learning_rate=1.0, **arguments), [COURSE.theta]
    for gradient, rate in zip(COURSE.gradients, COURSE.rates, strict=True):
        optimizer.learning_rate = rate
        optimizer.apply([keras.ops.convert_to_tensor(gradient, dtype="float64")], [variable])
        thetas.append(keras.ops.convert_to_numpy(variable).copy())
    return np.stack(thetas)


@pytest.fixture(autouse=True)
def _double_precision():
    before = jax.config.jax_enable_x64, keras.config.floatx(), torch.get_default_dtype()
    jax.config.update("jax_enable_x64", True)
    keras.config.set_floatx("float64")
    torch.set_default_dtype(torch.float64)  # the product of NAdam's momenta has it
    yield
    jax.config.update("jax_enable_x64", before[0])
    keras.config.set_floatx(before[1])
    torch.set_default_dtype(before[2])


def agree(a, b):
    # 24 steps of at most 16 roundings on either side, in states that remember 5 steps, relative to the largest of the
    # values and of the steps of each coordinate.
    reach = np.maximum(abs(a).max(axis=0), abs(np.diff(a, axis=0)).max(axis=0))
    assert (abs(a - b) <= 24 * 2 * 16 * 5 * np.finfo(np.float64).eps * reach).all()


@pytest.mark.parametrize("rule", RULES)
def test_the_playbooks_dialect_is_what_the_kernels_compute(rule):
    kernels, theta = load("numpy"), COURSE.theta.copy()
    state, thetas = RULES[rule].init(theta, kernels), [COURSE.theta]
    for gradient, rate in zip(COURSE.gradients, COURSE.rates, strict=True):
        chosen = {name: VALUES[name] for name in RULES[rule].hyperparameters}
        state = RULES[rule].update(theta, gradient, state, lr=rate, **chosen, kernels=kernels)
        thetas.append(theta.copy())
    agree(np.stack(thetas), ours(rule, {}))


BETAS = {"betas": (0.7, 0.8), "eps": 0.1}
OPTAX = {"b1": 0.7, "b2": 0.8, "eps": 0.1}
KERAS = {"beta_1": 0.7, "beta_2": 0.8, "epsilon": 0.1}
RMS = {"torch": {"alpha": 0.8, "eps": 0.1, "momentum": 0.65}, "optax": {"decay": 0.8, "eps": 0.1, "momentum": 0.65},
       "keras": {"rho": 0.8, "epsilon": 0.1, "momentum": 0.65}}


@pytest.mark.parametrize(("package", "rule", "run", "make", "arguments"), [
    ("pytorch", "sgd", by_torch, torch.optim.SGD, {}),
    ("pytorch", "momentum", by_torch, torch.optim.SGD, {"momentum": 0.65, "dampening": 0.3}),
    ("pytorch", "nesterov", by_torch, torch.optim.SGD, {"momentum": 0.65, "nesterov": True}),
    ("pytorch", "rmsprop", by_torch, torch.optim.RMSprop, RMS["torch"]),
    ("pytorch", "adam", by_torch, torch.optim.Adam, BETAS),
    ("pytorch", "nadam", by_torch, torch.optim.NAdam, BETAS),
    ("optax", "sgd", by_optax, optax.sgd, {}),
    ("optax", "momentum", by_optax, optax.sgd, {"momentum": 0.65}),
    ("optax", "nesterov", by_optax, optax.sgd, {"momentum": 0.65, "nesterov": True}),
    ("optax", "rmsprop", by_optax, optax.rmsprop, RMS["optax"]),
    ("optax", "adam", by_optax, optax.adam, OPTAX),
    ("optax", "nadam", by_optax, optax.nadam, OPTAX),
    ("keras", "sgd", by_keras, keras.optimizers.SGD, {}),
    ("keras", "momentum", by_keras, keras.optimizers.SGD, {"momentum": 0.65}),
    ("keras", "nesterov", by_keras, keras.optimizers.SGD, {"momentum": 0.65, "nesterov": True}),
    ("keras", "rmsprop", by_keras, keras.optimizers.RMSprop, RMS["keras"]),
    ("keras", "adam", by_keras, keras.optimizers.Adam, KERAS),
    ("keras", "nadam", by_keras, keras.optimizers.Nadam, KERAS),
])  # fmt: skip
def test_a_packages_dialect_is_what_the_package_computes(package, rule, run, make, arguments):
    agree(run(make, **arguments), ours(rule, NAMED[package].get(rule, {})))


TORCH_RMS, TORCH_ADAM = NAMED["pytorch"]["rmsprop"], NAMED["pytorch"]["adam"]


@pytest.mark.parametrize(("rule", "dialect", "run", "make", "arguments", "changed"), [
    ("sgd", {"weight decay": "coupled"}, by_torch, torch.optim.SGD, {"weight_decay": 0.05}, {"weight_decay": 0.05}),
    ("adam", {**TORCH_ADAM, "weight decay": "coupled"}, by_torch, torch.optim.Adam, {**BETAS, "weight_decay": 0.05},
     {"weight_decay": 0.05}),
    ("adam", {**TORCH_ADAM, "weight decay": "decoupled"}, by_torch, torch.optim.AdamW, {**BETAS, "weight_decay": 0.05},
     {"weight_decay": 0.05}),
    ("adam", {"weight decay": "decoupled"}, by_keras, keras.optimizers.AdamW, {**KERAS, "weight_decay": 0.05},
     {"weight_decay": 0.05}),
    ("rmsprop", {**TORCH_RMS, "second moment": "centered"}, by_torch, torch.optim.RMSprop,
     {**RMS["torch"], "centered": True}, {}),
    ("rmsprop", {"initial v": "0", "second moment": "bias corrected"}, by_optax, optax.rmsprop,
     {**RMS["optax"], "bias_correction": True}, {}),
    ("rmsprop", {"look-ahead": "Nesterov's"}, by_optax, optax.rmsprop,
     {**RMS["optax"], "initial_scale": 1.0, "nesterov": True}, {}),
    ("rmsprop", {"epsilon": "outside of the root"}, by_optax, optax.rmsprop,
     {**RMS["optax"], "initial_scale": 1.0, "eps_in_sqrt": False}, {}),
    ("adam", {"epsilon": "in the root, after the correction"}, by_optax, optax.adam,
     {"b1": 0.7, "b2": 0.8, "eps": 0.0, "eps_root": 0.1}, {}),
    ("adam", {"epsilon": "in the root and outside of it"}, by_optax, optax.adam, {**OPTAX, "eps_root": 0.02}, {}),
])  # fmt: skip
def test_a_choice_is_what_a_package_does_when_it_is_told_so(rule, dialect, run, make, arguments, changed):
    agree(run(make, **arguments), ours(rule, dialect, **changed))


@pytest.mark.parametrize(("rule", "dialect", "after"), [  # no package has these; two steps of g = 2 by hand from 1
    ("sgd", {"weight decay": "decoupled, without the rate"}, [1 - 0.05 - 0.2, 0.75 * 0.95 - 0.2]),
    ("momentum", {"dampening": "at every step"}, [1 - 0.1 * 1.4, 0.86 - 0.1 * (0.65 * 1.4 + 1.4)]),
    ("momentum", {"dampening": "1 - momentum"}, [1 - 0.1 * 0.7, 0.93 - 0.1 * (0.65 * 0.7 + 0.7)]),
    ("adam", {"bias correction": "none"}, [1 - 0.1 * 0.6 / (0.8**0.5 + 0.1),
                                           1 - 0.1 * 0.6 / (0.8**0.5 + 0.1) - 0.1 * 1.02 / (1.44**0.5 + 0.1)]),
    ("adam", {"epsilon": "in the root, before the correction"},
     [1 - 0.1 * 0.6 / 0.9**0.5 * 0.2**0.5 / 0.3,
      1 - 0.1 * 0.6 / 0.9**0.5 * 0.2**0.5 / 0.3 - 0.1 * 1.02 / 1.54**0.5 * 0.36**0.5 / 0.51]),
])  # fmt: skip
def test_choices_that_no_package_makes(rule, dialect, after):
    decay = 0.05 if "weight decay" in dialect else 0.0
    simulation, theta = Simulation(rule, dialect), np.ones(1)
    for wanted in after:
        theta = simulation.step(theta, np.full(1, 2.0), **{**VALUES, "lr": 0.1, "weight_decay": decay})
        assert theta[0] == pytest.approx(wanted, rel=1e-14)


@pytest.mark.parametrize("rule", RULES)
def test_the_course_tells_all_dialects_apart(rule):
    paths = {tuple(dialect.items()): ours(rule, dialect, weight_decay=0.05)
             for dialect in dialects(rule, {**VALUES, "weight_decay": 0.05})}
    pairs = [(a, b) for a, b in combinations(paths, 2) if not _the_same_by_algebra(rule, dict(a), dict(b))]
    assert all(abs(paths[a] - paths[b])[:, :12].max() > 1e-6 for a, b in pairs)  # the random family
    assert next(iter(paths)) == tuple(playbook(rule).items())


def _the_same_by_algebra(rule, a, b):
    if rule == "sgd":  # lr (g + decay theta) is lr g + lr decay theta
        return {a["weight decay"], b["weight decay"]} == {"coupled", "decoupled"}
    if a.get("bias correction") != "none" or b.get("bias correction") != "none":
        return False  # where nothing is corrected, there is no before and after
    place = {"before the bias correction": "outside", "after the bias correction": "outside",
             "in the root, before the correction": "in", "in the root, after the correction": "in"}
    return ({**a, "epsilon": place.get(a["epsilon"])} == {**b, "epsilon": place.get(b["epsilon"])})


def test_named_dialects_name_existing_choices():
    for rules in NAMED.values():
        for rule, dialect in rules.items():
            assert all(value in CHOICES[rule][choice] for choice, value in dialect.items())

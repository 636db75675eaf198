"""One step of an update rule over one vector: ours, PyTorch's, optax's, and the triad as a yardstick of memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from work import Work

from refplay.kernels import load
from refplay.optim import RULES
from refplay.procedures.machine import cores

LEARNING_RATE = 1e-3


def hyperparameters(rule: str) -> dict[str, float]:
    """Return our defaults, with a momentum wherever the rule has one: at 0, a peer would leave its vector out."""
    chosen = dict(RULES[rule].hyperparameters)
    return {**chosen, "momentum": 0.9} if "momentum" in chosen else chosen


def rule(contender: str, name: str, size: int) -> Work:
    """Return one step of the rule `name` over `size` values by a contender."""
    rng = np.random.default_rng(4)
    theta, g = rng.normal(size=(2, size)).astype(np.float32) * np.float32(1e-2)
    makers = {"ours": _ours, "torch": _torch, "torch-compile": _torch_compile, "optax": _optax, "triad": _triad}
    return Work(makers[contender](name, theta, g))


def _ours(name: str, theta: np.ndarray, g: np.ndarray) -> Any:
    kernels, chosen = load("numba"), hyperparameters(name)
    update, state = RULES[name].update, RULES[name].init(theta, kernels)

    def call() -> None:
        nonlocal state
        state = update(theta, g, state, lr=LEARNING_RATE, **chosen, kernels=kernels)

    return call


def _torch(name: str, theta: np.ndarray, g: np.ndarray) -> Any:
    import torch

    from refplay.procedures.peers_torch import make_optimizer

    torch.set_num_threads(cores())
    parameter = torch.nn.Parameter(torch.from_numpy(theta))
    parameter.grad = torch.from_numpy(g)
    return make_optimizer(name, [parameter], LEARNING_RATE, hyperparameters(name)).step


def _torch_compile(name: str, theta: np.ndarray, g: np.ndarray) -> Any:
    """Return PyTorch's step as PyTorch's own compiler makes it: one fused loop also where no fused optimizer exists."""
    import torch
    from torch import optim

    torch.set_num_threads(cores())
    torch._dynamo.reset()
    parameter = torch.nn.Parameter(torch.from_numpy(theta))
    parameter.grad = torch.from_numpy(g)
    chosen = hyperparameters(name)
    betas: dict[str, Any] = {}
    if "beta1" in chosen:
        betas = {"betas": (chosen["beta1"], chosen["beta2"]), "eps": chosen["epsilon"]}
    rate = torch.tensor(LEARNING_RATE)  # a number would be compiled in, and compiled anew when it changes
    makers: dict[str, Any] = {
        "sgd": lambda: optim.SGD([parameter], rate, foreach=True),
        "momentum": lambda: optim.SGD([parameter], rate, 0.9, foreach=True),
        "nesterov": lambda: optim.SGD([parameter], rate, 0.9, nesterov=True, foreach=True),
        "rmsprop": lambda: optim.RMSprop([parameter], rate, chosen["rho"], chosen["epsilon"], momentum=0.9,
                                         foreach=True),
        "adam": lambda: optim.Adam([parameter], rate, foreach=True, capturable=True, **betas),
        "nadam": lambda: optim.NAdam([parameter], rate, foreach=True, capturable=True, **betas),
    }
    optimizer = makers[name]()
    return torch.compile(lambda: optimizer.step())


def _optax(name: str, theta: np.ndarray, g: np.ndarray) -> Any:
    import jax
    import optax

    from refplay.procedures.peers_jax import make_optimizer

    chosen = make_optimizer(name, LEARNING_RATE, hyperparameters(name))
    values, gradient = jax.numpy.array(theta), jax.numpy.array(g)
    state = chosen.init(values)

    def step(values: Any, gradient: Any, state: Any) -> Any:
        updates, state = chosen.update(gradient, state, values)
        return optax.apply_updates(values, updates), state

    compiled = jax.jit(step, donate_argnums=(0, 2))

    def call() -> None:
        nonlocal values, state
        values, state = compiled(values, gradient, state)
        values.block_until_ready()

    return call


def _triad(name: str, theta: np.ndarray, g: np.ndarray) -> Any:
    """Return a <- b + s c by Numba on all cores: what memory gives (McCalpin's STREAM)."""
    from numba import njit, prange

    @njit(parallel=True)
    def triad(a: np.ndarray, b: np.ndarray, s: np.float32, c: np.ndarray) -> None:
        for i in prange(a.size):
            a[i] = b[i] + s * c[i]

    a, s = np.zeros_like(theta), np.float32(0.5)
    return lambda: triad(a, theta, s, g)

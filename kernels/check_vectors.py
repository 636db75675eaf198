"""Argument checks, as in `check`, of the kernels that work on whole parameter vectors: update rules and reductions."""

from .arguments import Signature, arrays, integer, number, scalar, signature
from .contract import Array

# The update rules: vectors of one length, none of them in another's memory.

_SGD = signature("sgd", "g[n] -> theta[n]", "g~theta")
_MOMENTUM = signature("momentum", "g[n] -> theta[n] v[n]", "g~theta g~v theta~v")
_NESTEROV = signature("nesterov", "g[n] -> theta[n] v[n]", "g~theta g~v theta~v")
_RMSPROP = signature("rmsprop", "g[n] -> theta[n] v[n] m[n]", "g~theta g~v g~m theta~v theta~m v~m")
_ADAM = signature("adam", "g[n] -> theta[n] m[n] v[n]", "g~theta g~m g~v theta~m theta~v m~v")
_NADAM = signature("nadam", "g[n] -> theta[n] m[n] v[n]", "g~theta g~m g~v theta~m theta~v m~v")


def sgd(theta: Array, g: Array, lr: float) -> None:
    arrays(_SGD, g, theta)
    number("sgd", "lr", lr)


def momentum(theta: Array, g: Array, v: Array, lr: float, gamma: float) -> None:
    arrays(_MOMENTUM, g, theta, v)
    number("momentum", "lr", lr)
    number("momentum", "gamma", gamma, 0.0, 1.0)


def nesterov(theta: Array, g: Array, v: Array, lr: float, gamma: float) -> None:
    arrays(_NESTEROV, g, theta, v)
    number("nesterov", "lr", lr)
    number("nesterov", "gamma", gamma, 0.0, 1.0)


def rmsprop(
    theta: Array, g: Array, v: Array, m: Array, lr: float, gamma: float, rho: float, epsilon: float
) -> None:
    arrays(_RMSPROP, g, theta, v, m)
    number("rmsprop", "lr", lr)
    number("rmsprop", "gamma", gamma, 0.0, 1.0)
    number("rmsprop", "rho", rho, 0.0, 1.0)
    number("rmsprop", "epsilon", epsilon, 0.0)


def adam(
    theta: Array, g: Array, m: Array, v: Array, t: int, lr: float, beta1: float, beta2: float, epsilon: float
) -> None:
    _adam(_ADAM, theta, g, m, v, t, lr, beta1, beta2, epsilon)


def nadam(
    theta: Array, g: Array, m: Array, v: Array, t: int, lr: float, beta1: float, beta2: float, epsilon: float
) -> None:
    _adam(_NADAM, theta, g, m, v, t, lr, beta1, beta2, epsilon)


def _adam(
    kernel: Signature, theta: Array, g: Array, m: Array, v: Array,
    t: int, lr: float, beta1: float, beta2: float, epsilon: float,
) -> None:  # fmt: skip
    arrays(kernel, g, theta, m, v)
    integer(kernel.name, "t", t, 0)
    number(kernel.name, "lr", lr)
    number(kernel.name, "beta1", beta1, 0.0, 1.0, below=True)  # the bias correction divides by 1 - beta1**(t+1)
    number(kernel.name, "beta2", beta2, 0.0, 1.0, below=True)
    number(kernel.name, "epsilon", epsilon, 0.0)


# Reductions and scalings of a vector.

_L2_NORM = signature("l2_norm", "g[n]")
_SCALE = signature("scale", "-> g[n]")
_AXPBY = signature("axpby", "x[n] -> y[n]", in_place="x~y")


def l2_norm(g: Array) -> None:
    arrays(_L2_NORM, g)


def scale(g: Array, s: float) -> None:
    arrays(_SCALE, g)
    scalar("scale", "s", s)


def axpby(a: float, x: Array, b: float, y: Array) -> None:
    arrays(_AXPBY, x, y)
    scalar("axpby", "a", a)
    scalar("axpby", "b", b)

"""Driving somebody else's optimizer: find it by name, give it its arguments, and record where it takes theta.

What can be driven:

- a class of PyTorch's kind, built with a list of parameters and keyword arguments;
- a function that returns a pair (init, update) of optax's kind, or such a pair itself;
- a class of Keras 3's kind, or a function that returns such an optimizer;
- for anything else: a function of hyperparameters that returns `step(theta, g) -> theta` (or an object with such a
  method) on NumPy vectors. If `step` takes `lr` (or the object has an attribute `lr`), the rate changes at every step.

Everything runs in float64; where an optimizer refuses it (raises), in float32.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from functools import reduce
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import numpy as np

from refplay.errors import InputError
from refplay.verify.gradients import Course

EXTRA = "python -m pip install 'refplay[verify]'"
PACKAGES = ("torch", "optax", "keras")

# What others call a hyperparameter -> its name in the equations.
ALIASES = {
    "learning_rate": "learning_rate", "lr": "learning_rate", "step_size": "learning_rate",
    "momentum": "momentum", "gamma": "momentum", "dampening": "dampening",
    "rho": "rho", "alpha": "rho", "decay": "rho", "decay_rate": "rho",
    "beta1": "beta1", "beta_1": "beta1", "b1": "beta1", "beta2": "beta2", "beta_2": "beta2", "b2": "beta2",
    "epsilon": "epsilon", "eps": "epsilon", "eps_root": "epsilon_root", "epsilon_root": "epsilon_root",
    "weight_decay": "weight_decay", "momentum_decay": "momentum_decay",
}  # fmt: skip
RATE = ("lr", "learning_rate")


class MisbehaviourError(Exception):
    """What an optimizer did that no update rule may do; the text says it, after the name of the optimizer."""


class Target(NamedTuple):
    """An optimizer to be verified."""

    name: str
    make: Any  # a class or a function; or what it would return
    defaults: Mapping[str, Any]  # argument -> default, or inspect.Parameter.empty
    any_keyword: bool  # takes **keywords
    versions: str


def find(target: Any) -> Target:
    """Return the optimizer that a dotted name, a "module:factory", or an object stands for."""
    name, make = (target, _import(target)) if isinstance(target, str) else (_name_of(target), target)
    if not callable(make) and not _is_pair(make):
        raise InputError(f"{name} is not an optimizer: neither a class nor a function, but {type(make).__name__}")
    try:
        parameters = {} if _is_pair(make) else dict(inspect.signature(make).parameters)
    except (TypeError, ValueError):
        raise InputError(f"the arguments of {name} cannot be read; wrap it in a function with named ones") from None
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    defaults = {each: parameter.default for each, parameter in parameters.items() if parameter.kind not in kinds}
    any_keyword = any(parameter.kind == inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    return Target(name, make, defaults, any_keyword, versions_of(name))


def _import(name: str) -> Any:
    module_name, attributes = _split(name)
    keras_backend = _keras_backend() if module_name.split(".")[0] == "keras" and "keras" not in sys.modules else {}
    os.environ.update(keras_backend)
    sys.path[:0] = [folder for folder in (os.getcwd(),) if folder not in sys.path]
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        package = module_name.split(".")[0]
        if package in PACKAGES and importlib.util.find_spec(package) is None:
            raise InputError(f"{package} is not installed; it comes with: {EXTRA}") from None
        raise InputError(f"{name}: there is no module {error.name!r} here, nor installed") from None
    except Exception as error:
        raise InputError(f"{name}: importing {module_name} fails: {_one_line(error)}") from error
    finally:
        for variable in keras_backend:
            del os.environ[variable]
    try:
        return reduce(getattr, attributes, module)
    except AttributeError:
        near = get_close_matches(attributes[-1], [each for each in dir(module) if not each.startswith("_")], n=1)
        raise InputError(f"{module_name} has no {'.'.join(attributes)}"
                         + (f"; did you mean {near[0]}?" if near else "")) from None


def _split(name: str) -> tuple[str, list[str]]:
    module, colon, attributes = name.partition(":")
    if not colon:
        module, _, attributes = name.rpartition(".")
    if not (module and attributes and all(part.isidentifier() for part in f"{module}.{attributes}".split("."))):
        raise InputError(f"{name!r} names no optimizer; give torch.optim.NAME, optax.NAME, keras.optimizers.NAME or "
                         "module:factory")
    return module, attributes.split(".")


def _keras_backend() -> dict[str, str]:
    """Keras wants TensorFlow unless it is told otherwise; take another backend where there is no TensorFlow."""
    if "KERAS_BACKEND" in os.environ or importlib.util.find_spec("tensorflow"):
        return {}
    return {"KERAS_BACKEND": next((each for each in ("jax", "torch") if importlib.util.find_spec(each)), "numpy")}


def _name_of(thing: Any) -> str:
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{named.__module__}.{named.__qualname__}"


def versions_of(name: str) -> str:
    """Return package and version of an optimizer by its name; NumPy's for one that is nobody's package."""
    package = name.partition(":")[0].split(".")[0]
    try:
        text = f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"NumPy {np.__version__}"
    return f"{text} on {sys.modules['keras'].config.backend()}" if package == "keras" else text


def drive(target: Target, arguments: Mapping[str, Any], course: Course) -> tuple[np.ndarray, bool]:
    """Run a fresh optimizer over a course; return theta before and after each step, and whether its rate can change.

    Parameters
    ----------
    target : Target
    arguments : dict
        What it is built with, the learning rate (of the first step) among them where it takes one.
    course : Course
        Where the optimizer takes one rate for good, `course.rates` are not heeded.

    Returns
    -------
    thetas : float[T + 1, P]
        In the dtype of the course.
    changing : bool
        Whether each step was given its own rate.

    Raises
    ------
    MisbehaviourError
        It raised, or returned something else than a vector of theta's shape and dtype.
    """
    with np.errstate(all="ignore"), _double_precision():
        step, changing = _guarded("when it is built", _stepper, target, arguments, course)
        thetas = [course.theta.copy()]
        for t, (gradient, rate) in enumerate(zip(course.gradients, course.rates, strict=True)):
            theta = _guarded(f"at step {t}", step, thetas[-1].copy(), gradient.copy(), float(rate))
            thetas.append(_checked(theta, course, t))
        return np.stack(thetas), changing


def _guarded(when: str, function: Callable, *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except MisbehaviourError:
        raise
    except (Exception, SystemExit) as error:
        raise MisbehaviourError(f"raises {when}: {_one_line(error)}") from error


def _checked(theta: Any, course: Course, t: int) -> np.ndarray:
    if not isinstance(theta, np.ndarray):
        raise MisbehaviourError(f"returns no NumPy array at step {t}, but {type(theta).__name__}")
    if theta.shape != course.theta.shape:
        raise MisbehaviourError(f"changes the shape of theta at step {t}: {course.theta.shape} becomes {theta.shape}")
    if theta.dtype != course.dtype:
        raise MisbehaviourError(f"changes the dtype of theta at step {t}: {course.dtype} becomes {theta.dtype}")
    return theta.copy()


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


@contextmanager
def _double_precision() -> Iterator[None]:
    """Tell the frameworks that are loaded to compute in float64 where the parameters are; then leave them as they were.

    JAX and Keras would compute in float32 throughout; PyTorch's NAdam would keep its product of the momenta in it.
    """
    jax, keras, torch = (sys.modules.get(name) for name in ("jax", "keras", "torch"))
    with ExitStack() as restore:
        if jax:
            restore.callback(jax.config.update, "jax_enable_x64", jax.config.jax_enable_x64)
            jax.config.update("jax_enable_x64", True)
        if keras:
            restore.callback(keras.config.set_floatx, keras.config.floatx())
            keras.config.set_floatx("float64")
        if torch:
            restore.callback(torch.set_default_dtype, torch.get_default_dtype())
            torch.set_default_dtype(torch.float64)
        yield


# A stepper is step(theta, gradient, rate) -> theta, on NumPy vectors.


def _stepper(target: Target, arguments: Mapping[str, Any], course: Course) -> tuple[Callable, bool]:
    make = target.make
    if _is_pair(make):
        return _optax_stepper(lambda rate: make, course), False
    if _is_torch(make) or next(iter(target.defaults), None) == "params":
        return _torch_stepper(make, arguments, course)
    rate_name = next((name for name in RATE if name in arguments), None)
    built = make(**arguments)
    if _is_pair(built):
        # A new transformation at every step, on the state of the old: so the rate changes without a schedule.
        def remake(rate: float) -> Any:
            return make(**{**arguments, rate_name: rate}) if rate_name else built

        return _optax_stepper(remake, course), rate_name is not None
    if _is_keras(built):
        return _keras_stepper(built, course)
    return _numpy_stepper(built)


def _is_torch(make: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(make, type) and issubclass(make, torch.optim.Optimizer)


def _is_pair(thing: Any) -> bool:
    return isinstance(thing, tuple) and hasattr(thing, "init") and hasattr(thing, "update")


def _is_keras(thing: Any) -> bool:
    keras = sys.modules.get("keras")
    return keras is not None and isinstance(thing, keras.optimizers.Optimizer)


def _torch_stepper(make: Any, arguments: Mapping[str, Any], course: Course) -> tuple[Callable, bool]:
    import torch

    parameter = torch.nn.Parameter(torch.tensor(course.theta))
    optimizer = make([parameter], **arguments)
    groups = getattr(optimizer, "param_groups", [])

    def step(theta: np.ndarray, gradient: np.ndarray, rate: float) -> np.ndarray:
        for group in groups:
            if "lr" in group:
                group["lr"] = rate
        parameter.grad = torch.tensor(gradient)
        optimizer.step()
        return np.asarray(parameter.detach().numpy())

    return step, any("lr" in group for group in groups)


def _optax_stepper(make: Callable[[float], Any], course: Course) -> Callable:
    import jax.numpy as jnp

    state = make(float(course.rates[0])).init(jnp.asarray(course.theta))

    def step(theta: np.ndarray, gradient: np.ndarray, rate: float) -> np.ndarray:
        nonlocal state
        parameters = jnp.asarray(theta)
        updates, state = make(rate).update(jnp.asarray(gradient), state, parameters)
        return np.asarray((parameters + updates).astype(updates.dtype))  # so that another dtype shows

    return step


def _keras_stepper(optimizer: Any, course: Course) -> tuple[Callable, bool]:
    import keras

    variable = keras.Variable(course.theta, dtype=str(course.dtype))
    optimizer.build([variable])

    def step(theta: np.ndarray, gradient: np.ndarray, rate: float) -> np.ndarray:
        optimizer.learning_rate = rate
        optimizer.apply([keras.ops.convert_to_tensor(gradient, dtype=str(course.dtype))], [variable])
        return np.asarray(keras.ops.convert_to_numpy(variable))

    return step, True


def _numpy_stepper(built: Any) -> tuple[Callable, bool]:
    call = built.step if hasattr(built, "step") else built
    if not callable(call):
        raise MisbehaviourError(f"is not an optimizer: it returns {type(built).__name__}, which is neither step(theta, "
                                "g) nor has such a method")
    try:
        parameters = list(inspect.signature(call).parameters)
    except (TypeError, ValueError):
        parameters = []
    if keyword := next((name for name in RATE if name in parameters), None):
        return lambda theta, gradient, rate: call(theta, gradient, **{keyword: rate}), True
    if attribute := next((name for name in RATE if built is not call and hasattr(built, name)), None):
        def step(theta: np.ndarray, gradient: np.ndarray, rate: float) -> Any:
            setattr(built, attribute, rate)
            return call(theta, gradient)

        return step, True
    return lambda theta, gradient, rate: call(theta, gradient), False

"""The six rules line by line, and the ways in which implementations of them differ, as tables.

A rule is a list of lines, `name = expression`, that run from top to bottom at every step. A name of the state (`m`,
`v`, ...) means its old value until its line has run; `v_0` is what `v` starts from. `EQUATIONS` holds the playbook's
lines. `CHOICES` holds what others write instead: a choice has several values, and each value replaces some lines.
One value for each choice of a rule is a dialect; what a dialect does not name is as in the playbook.

Beside the hyperparameters, the lines know `gradient` (of the loss), `theta`, `lr` (of this step) and `t` (0 first).

>>> import numpy as np
>>> rule = Simulation("adam", {"epsilon": "after the bias correction"})
>>> theta = np.array([1.0, -2.0])
>>> for _ in range(2):
...     theta = rule.step(theta, np.array([0.5, 3.0]), lr=0.1, beta1=0.7, beta2=0.8, epsilon=0.1, weight_decay=0)
>>> theta.round(6).tolist()
[0.833333, -2.193548]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from types import CodeType
from typing import Any

import numpy as np

Lines = Mapping[str, str]
Dialect = Mapping[str, str]

_DECAY = {
    "g": "gradient",
    "kept": "theta",
}

EQUATIONS: dict[str, Lines] = {
    "sgd": {
        **_DECAY,
        "theta": "kept - lr * g",
    },
    "momentum": {
        "v_0": "0",
        **_DECAY,
        "fresh": "g",
        "v": "momentum * v + fresh",
        "theta": "kept - lr * v",
    },
    "nesterov": {
        "v_0": "0",
        **_DECAY,
        "fresh": "g",
        "v": "momentum * v + fresh",
        "theta": "kept - lr * (momentum * v + fresh)",
    },
    "rmsprop": {
        "v_0": "1",
        "w_0": "0",
        "m_0": "0",
        **_DECAY,
        "v": "rho * v + (1 - rho) * g**2",
        "w": "rho * w + (1 - rho) * g",  # for the centered form alone
        "s": "v",
        "d": "sqrt(s + epsilon)",
        "u": "lr / d * g",
        "m": "momentum * m + u",
        "move": "m",
        "theta": "kept - move",
    },
    "adam": {
        "m_0": "0",
        "v_0": "0",
        **_DECAY,
        "m": "beta1 * m + (1 - beta1) * g",
        "v": "beta2 * v + (1 - beta2) * g**2",
        "c_m": "1 - beta1**(t + 1)",
        "c_v": "1 - beta2**(t + 1)",
        "d": "sqrt(v) + epsilon",
        "theta": "kept - lr * m / d * (sqrt(c_v) / c_m)",
    },
    "nadam": {
        "m_0": "0",
        "v_0": "0",
        "p_0": "1",
        **_DECAY,
        "mu": "beta1",
        "mu_next": "beta1",
        "m": "beta1 * m + (1 - beta1) * g",
        "v": "beta2 * v + (1 - beta2) * g**2",
        "p": "p * mu",
        "c_m": "1 - p",
        "c_next": "1 - p",
        "c_v": "1 - beta2**(t + 1)",
        "n": "mu_next * m / c_next + (1 - mu) * g / c_m",
        "d": "sqrt(v) + epsilon",
        "theta": "kept - lr * n / d * sqrt(c_v)",
    },
}

LABELS = {
    "g": "gradient, with coupled weight decay", "kept": "theta, with decoupled weight decay",
    "fresh": "gradient that enters v", "theta": "update of theta", "u": "scaled gradient", "move": "look-ahead",
    "s": "second moment in the root", "d": "denominator", "c_m": "bias correction of m",
    "c_v": "bias correction of v", "mu": "momentum schedule", "mu_next": "momentum of the look-ahead",
    "p": "product of the momenta", "c_next": "correction of the look-ahead", "n": "numerator (look-ahead)",
    "w": "mean gradient", "m_0": "initial m", "v_0": "initial v", "w_0": "initial w",
    "p_0": "initial product of the momenta", "m": "first moment m", "v": "second moment v",
    "momentum.v": "momentum buffer v", "nesterov.v": "momentum buffer v", "rmsprop.m": "momentum buffer m",
}  # what a line computes, in words; "rule.line" where rules use a name for different things


# The first value of each choice is the playbook's and replaces nothing. "coupled" is L2 in the gradient.
_WEIGHT_DECAY: dict[str, Lines] = {
    "none": {},
    "coupled": {"g": "gradient + weight_decay * theta"},
    "decoupled": {"kept": "theta - lr * weight_decay * theta"},
    "decoupled, without the rate": {"kept": "theta - weight_decay * theta"},
}
_DAMPENING: dict[str, Lines] = {
    "none": {},
    "after the first step": {"fresh": "(1 - dampening) * g if t > 0 else g"},
    "at every step": {"fresh": "(1 - dampening) * g"},
    "1 - momentum": {"fresh": "(1 - momentum) * g"},  # v is an exponential average
}
_SECOND_MOMENT: dict[str, Lines] = {
    "plain": {},
    "centered": {"s": "v - w**2"},
    "bias corrected": {"s": "v / (1 - rho**(t + 1))"},
}
_EPSILON: dict[str, Lines] = {
    "before the bias correction": {},  # Kingma and Ba's epsilon-hat
    "after the bias correction": {"d": "sqrt(v) + epsilon * sqrt(c_v)"},  # their Algorithm 1
    "in the root, before the correction": {"d": "sqrt(v + epsilon)"},
    "in the root, after the correction": {"d": "sqrt(v + epsilon * c_v)"},
    "in the root and outside of it": {"d": "sqrt(v + epsilon_root * c_v) + epsilon * sqrt(c_v)"},
}

CHOICES: dict[str, dict[str, dict[str, Lines]]] = {
    "sgd": {
        "weight decay": _WEIGHT_DECAY,
    },
    "momentum": {
        "weight decay": _WEIGHT_DECAY,
        "dampening": _DAMPENING,
        "learning rate": {
            "outside of the buffer": {},
            "inside the buffer": {"v": "momentum * v + lr * fresh", "theta": "kept - v"},
        },
    },
    "nesterov": {
        "weight decay": _WEIGHT_DECAY,
        "dampening": _DAMPENING,
        "learning rate": {
            "outside of the buffer": {},
            # Sutskever et al. (2013) at the look-ahead point, after Bengio et al. (2012)
            "inside the buffer": {"v": "momentum * v + lr * fresh", "theta": "kept - (momentum * v + lr * fresh)"},
        },
    },
    "rmsprop": {
        "weight decay": _WEIGHT_DECAY,
        "initial v": {"1": {}, "0": {"v_0": "0"}},
        "second moment": _SECOND_MOMENT,
        "epsilon": {"in the root": {}, "outside of the root": {"d": "sqrt(s) + epsilon"}},
        "learning rate": {
            "inside the buffer": {},
            "outside of the buffer": {"u": "g / d", "theta": "kept - lr * move"},
        },
        "look-ahead": {"none": {}, "Nesterov's": {"move": "momentum * m + u"}},
    },
    "adam": {
        "weight decay": _WEIGHT_DECAY,
        "epsilon": _EPSILON,
        "bias correction": {"of m and v": {}, "none": {"c_m": "1", "c_v": "1"}},
    },
    "nadam": {
        "weight decay": _WEIGHT_DECAY,
        "epsilon": _EPSILON,
        "momentum schedule": {
            "none": {},
            "0.96**(momentum_decay t)": {
                "mu": "beta1 * (1 - 0.5 * 0.96**(momentum_decay * (t + 1)))",
                "mu_next": "beta1 * (1 - 0.5 * 0.96**(momentum_decay * (t + 2)))",
            },
            "0.96**t": {
                "mu": "beta1 * (1 - 0.5 * 0.96**(t + 1))",
                "mu_next": "beta1 * (1 - 0.5 * 0.96**(t + 2))",
            },
        },
        "look-ahead correction": {
            "that of g": {},
            "of its own": {"c_next": "1 - p * mu_next"},  # Dozat (2016)
        },
    },
}

# What the packages were seen to do (docs/conformance.md is made by running them). Weight decay depends on the class.
_AFTER = {"epsilon": "after the bias correction"}
_OWN = {"look-ahead correction": "of its own"}
_INSIDE = {"learning rate": "inside the buffer"}
NAMED: dict[str, dict[str, Dialect]] = {
    "playbook": {},
    "pytorch": {
        "momentum": {"dampening": "after the first step"},
        "nesterov": {},
        "rmsprop": {"initial v": "0", "epsilon": "outside of the root", "learning rate": "outside of the buffer"},
        "adam": _AFTER,
        "nadam": {**_AFTER, **_OWN, "momentum schedule": "0.96**(momentum_decay t)"},
    },
    "optax": {
        "rmsprop": {"initial v": "0"},
        "adam": _AFTER,
        "nadam": {**_AFTER, **_OWN},
    },
    "keras": {
        "momentum": _INSIDE,
        "nesterov": _INSIDE,
        "rmsprop": {"initial v": "0"},
        "nadam": {**_AFTER, **_OWN, "momentum schedule": "0.96**t"},
    },
}


def playbook(rule: str) -> dict[str, str]:
    """Return the playbook's value of each choice of a rule.

    >>> playbook("adam")["epsilon"]
    'before the bias correction'
    """
    return {choice: next(iter(values)) for choice, values in CHOICES[rule].items()}


def dialects(rule: str, hyperparameters: Mapping[str, float]) -> Iterator[dict[str, str]]:
    """Yield each dialect that these hyperparameters can tell apart, the playbook's first.

    >>> len(list(dialects("nesterov", {"weight_decay": 0, "dampening": 0})))
    4
    """
    choices = {choice: dict(values) for choice, values in CHOICES[rule].items()}
    if not hyperparameters.get("weight_decay"):
        choices["weight decay"] = {"none": {}}
    if not hyperparameters.get("dampening") and "dampening" in choices:
        del choices["dampening"]["after the first step"], choices["dampening"]["at every step"]
    if not hyperparameters.get("epsilon_root") and "epsilon" in choices:
        choices["epsilon"].pop("in the root and outside of it", None)
    for values in product(*choices.values()):
        yield dict(zip(choices, values, strict=True))


def lines_of(rule: str, dialect: Dialect) -> dict[str, str]:
    """Return the lines of a rule in a dialect."""
    lines = dict(EQUATIONS[rule])
    for choice, value in dialect.items():
        lines.update(CHOICES[rule][choice][value])
    return lines


class Simulation:
    """A rule in a dialect (or in any other `lines`), run in float64 NumPy: holds the state, steps theta."""

    def __init__(self, rule: str, dialect: Dialect | None = None, lines: Lines | None = None) -> None:
        lines = lines or lines_of(rule, dialect or {})
        self._start = {name[:-2]: expression for name, expression in lines.items() if name.endswith("_0")}
        self._code = _compiled("\n".join(f"{name} = {expression}" for name, expression in lines.items()
                                         if not name.endswith("_0")))
        self._values: dict[str, Any] = {"t": -1, "lr": 0.0, "gradient": 0.0}

    def step(self, theta: np.ndarray, gradient: np.ndarray, **hyperparameters: float) -> np.ndarray:
        """Return theta after the next step from `theta`; hyperparameters are those of the equations, and `lr`."""
        values = self._values
        values.update(old_lr=values["lr"], old_gradient=values["gradient"])  # no rule needs them; a wrong one may
        values.update(hyperparameters, theta=theta, gradient=gradient)
        values["t"] += 1
        if values["t"] == 0:
            for name, expression in self._start.items():
                values[name] = eval(expression, _FUNCTIONS, values) + np.zeros_like(theta, dtype=np.float64)
        values.update({f"old_{name}": values[name] for name in self._start})
        with np.errstate(all="ignore"):  # an optimizer may well be NaN: that is a finding
            exec(self._code, _FUNCTIONS, values)
        return np.asarray(values["theta"])


_FUNCTIONS = {"sqrt": np.sqrt, "abs": np.abs}


def _compiled(source: str) -> CodeType:
    return compile(source, "<dialect>", "exec")

r"""The six update rules of the playbook, each one kernel over one parameter vector, as a table.

Source of all equations: playbook, "What are the update rules for all the popular optimization algorithms?"; the forms
are those of Choi et al. (2019), "On Empirical Comparisons of Optimizers for Deep Learning", arXiv:1910.05446.

The equations in the docstrings are executed: `refplay.verify.equations` reads them, and every kernel is held to them.

Throughout, :math:`g_t` is the gradient of the loss at :math:`\theta_t`, and :math:`t = 0` is the first step. All
vectors have the shape [P] and the dtype (float32 or float64) of theta, and belong to the backend `kernels`. A rule
writes :math:`\theta_{t+1}` over theta and the new state over the vectors of the old one; go on with the state that it
returns.

>>> import numpy as np
>>> from refplay.kernels import load
>>> kernels, rule = load("numpy"), RULES["nesterov"]
>>> theta = np.array([1.0, -2.0])
>>> state = rule.init(theta, kernels)
>>> for step in range(100):
...     state = rule.update(theta, 2 * theta, state, lr=0.05, momentum=0.8, kernels=kernels)  # the loss is |theta|^2
>>> bool(np.abs(theta).max() < 1e-6)
True
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from refplay.kernels import Array, Backend
from refplay.optim.adaptive import adam, init_adam, init_rmsprop, nadam, rmsprop
from refplay.optim.descent import init_momentum, init_sgd, momentum, nesterov, sgd


class Rule(NamedTuple):
    """An update rule as a value: how to start, how to step, what there is to tune."""

    name: str
    init: Callable[[Array, Backend], Any]  # (theta, kernels) -> state, a NamedTuple
    update: Callable[..., Any]  # (theta, g, state, *, lr, **hyperparameters, kernels) -> state
    hyperparameters: Mapping[str, float]  # keyword of `update` -> default, without the learning rate, which has none

    @property
    def tunable(self) -> tuple[str, ...]:
        """All hyperparameters that a search can vary, under the names of search spaces.

        >>> RULES["adam"].tunable
        ('learning_rate', 'beta1', 'beta2', 'epsilon')
        """
        return ("learning_rate", *self.hyperparameters)


def _rule(init: Callable[..., Any], update: Callable[..., Any]) -> Rule:
    defaults = update.__kwdefaults__ or {}  # the signature is the one place that holds the defaults
    return Rule(update.__name__, init, update, MappingProxyType(dict(defaults)))


RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (_rule(init_sgd, sgd), _rule(init_momentum, momentum), _rule(init_momentum, nesterov),
                 _rule(init_rmsprop, rmsprop), _rule(init_adam, adam), _rule(init_adam, nadam))
}

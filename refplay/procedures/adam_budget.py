"""Which of Adam's hyperparameters to tune with a given number of trials.

Adam has four (learning rate, beta1, beta2, epsilon) and they do not matter equally. A small study that tunes all of
them covers none of them, so the budget decides how many enter the space; the others keep their defaults and become
caveats of the conclusion.

| trials in the study      | tuned                                  |
|--------------------------|----------------------------------------|
| fewer than 10            | learning_rate                          |
| 10 to 24                 | learning_rate, beta1                   |
| 25 and more              | learning_rate, beta1, epsilon          |
| substantially more: 50   | learning_rate, beta1, epsilon, beta2   |

Source: playbook, "How should Adam's hyperparameters be tuned?". It names 25 both as the end of one row and the start of
the next, and leaves "substantially more" open: here 25 belongs to the later row, and substantially more is twice 25.
"""

from __future__ import annotations

from refplay.errors import InputError
from refplay.search.space import Domain, LogUniform, OneMinusLogUniform, Space

# Hyperparameters in the order in which they enter, with the smallest budget that pays for them and a range wide enough
# that the best value is expected inside (Choi et al. 2019, arXiv:1910.05446, tune over ranges of this width).
_ENTERS: tuple[tuple[str, int, Domain], ...] = (
    ("learning_rate", 1, LogUniform(1e-4, 1e-1)),
    ("beta1", 10, OneMinusLogUniform(1e-2, 1.0)),
    ("epsilon", 25, LogUniform(1e-10, 1e0)),
    ("beta2", 50, OneMinusLogUniform(1e-4, 1e-1)),
)


def adam_space(trials: int) -> Space:
    """Return the search space for Adam (or NAdam) that a study of `trials` trials can afford.

    Parameters
    ----------
    trials : int
        Number of trials in the study, 1 or more.

    Raises
    ------
    InputError
        If `trials` is not a positive whole number.

    >>> [name for name in adam_space(9).domains], [name for name in adam_space(24).domains]
    (['learning_rate'], ['learning_rate', 'beta1'])
    >>> [name for name in adam_space(100).domains]
    ['learning_rate', 'beta1', 'epsilon', 'beta2']
    """
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        raise InputError(f"a study needs 1 trial or more, got trials={trials!r}")
    return Space(**{name: domain for name, enters_at, domain in _ENTERS if trials >= enters_at})

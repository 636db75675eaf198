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
from refplay.procedures.starter_space import LEARNING_RATES, RANGES
from refplay.search.space import Space

# Hyperparameters in the order in which they enter, with the smallest budget that pays for them.
_ENTERS = (("learning_rate", 1), ("beta1", 10), ("epsilon", 25), ("beta2", 50))


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
    ranges = {"learning_rate": LEARNING_RATES["adam"], **RANGES}
    return Space(**{name: ranges[name] for name, enters_at in _ENTERS if trials >= enters_at})

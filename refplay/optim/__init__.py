"""Update rules, learning rate schedules, gradient clipping, weight decay and Polyak averaging."""

from refplay.optim.averaging import Average, init_average, update_average
from refplay.optim.clipping import clip_by_norm
from refplay.optim.decay import add_l2_gradient, decay_weights
from refplay.optim.rules import RULES, Rule
from refplay.optim.schedules import (
    SCHEDULES,
    Schedule,
    constant,
    cosine,
    exponential,
    inverse_sqrt,
    linear,
    piecewise,
    with_warmup,
)

__all__ = [
    "RULES", "SCHEDULES", "Average", "Rule", "Schedule", "add_l2_gradient", "clip_by_norm", "constant", "cosine",
    "decay_weights", "exponential", "init_average", "inverse_sqrt", "linear", "piecewise", "update_average",
    "with_warmup",
]

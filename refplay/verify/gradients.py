"""The test gradients: every family of them side by side in one vector, so that one run of an optimizer sees all."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from refplay import seeds

STEPS = 24  # enough for 1 - 0.8**t to come within 0.5% of 1, few enough to run a hundred dialects in no time
RATES = (1.0, 0.5, 1.5, 0.75, 2.0, 0.3, 1.2)  # the learning rate changes at every step, never monotonically


class Course(NamedTuple):
    """What an optimizer is driven over."""

    theta: np.ndarray  # [P], where it starts
    gradients: np.ndarray  # [T, P]
    rates: np.ndarray  # float64[T], the learning rate of each step
    families: tuple[str, ...]  # of each of the P coordinates

    @property
    def dtype(self) -> np.dtype:
        """The dtype of parameters and gradients."""
        return self.theta.dtype


def course(learning_rate: float, *, changing: bool = True, dtype: str = "float64") -> Course:
    """Return the test course: 40 coordinates over 24 steps, the same in every call.

    >>> sorted(set(course(0.1).families))
    ['alternating', 'constant', 'huge', 'random', 'sparse', 'tiny', 'zero']
    """
    generator = seeds.generator(0, "verify")
    noise = generator.standard_normal((STEPS, 40))
    signs = np.where(np.arange(STEPS) % 2, -1.0, 1.0)[:, None]
    blocks = {
        "random": noise[:, :12],
        "constant": np.broadcast_to([0.5, -2.0, 0.03], (STEPS, 3)),
        "zero": np.zeros((STEPS, 1)),
        "sparse": noise[:, 16:22] * (generator.random((STEPS, 6)) < 0.2),
        "alternating": signs * [1.0, -0.2, 3.0] + 0.1 * noise[:, 22:25],
        "tiny": 1e-7 * noise[:, 25:32],
        "huge": 1e7 * noise[:, 32:40],
    }
    families = tuple(name for name, block in blocks.items() for _ in range(block.shape[1]))
    rates = learning_rate * np.resize(RATES if changing else (1.0,), STEPS)
    start = generator.standard_normal(len(families))
    return Course(start.astype(dtype), np.hstack(list(blocks.values())).astype(dtype), rates, families)

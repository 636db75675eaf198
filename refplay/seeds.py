"""Random numbers without global state: every stream is a pure function of (seed, trial, purpose).

A trial draws its initial weights, its shuffling and its dropout masks from streams of their own, so that neither the
number of workers nor the order in which trials run can change a result. The streams are counter-based (Philox,
Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
"""

import zlib

import numpy as np


def derive(seed: int, *path: int | str) -> int:
    """Return a seed (a non-negative int below 2**63) for the place `path` under `seed`.

    Parameters
    ----------
    seed : int, 0 or more
        The seed that a person chose.
    *path : int or str
        Where the result is used: a trial's number, a purpose. Different paths give unrelated seeds.

    >>> derive(0, 3, "shuffle")
    1374598130509853870
    """
    words = [zlib.crc32(p.encode()) if isinstance(p, str) else p for p in path]
    return int(np.random.SeedSequence(seed, spawn_key=words).generate_state(1, np.uint64)[0] >> np.uint64(1))


def generator(seed: int, *path: int | str) -> np.random.Generator:
    """Return the NumPy generator (Philox) of the place `path` under `seed`; see `derive` for the arguments.

    >>> bool(generator(7, "init").random() == generator(7, "init").random())
    True
    >>> bool(generator(7, "init").random() == generator(7, "shuffle").random())
    False
    """
    return np.random.Generator(np.random.Philox(derive(seed, *path)))

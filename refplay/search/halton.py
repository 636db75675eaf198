r"""The Halton sequence, with Faure's digit permutations and a random shift of every digit.

In base b with i = sum_k a_k b^k, coordinate i of the sequence mirrors the digits of i at the point:

.. math:: u_i = \sum_{k \ge 0} \frac{(\pi_b(a_k) + c_k) \bmod b}{b^{k+1}}

pi_b is Faure's permutation of the digits, which breaks up the stripes that two large bases draw in the plane. The c_k
are random digits: they shift the point, digit by digit. Of four shifts drawn for a column, the one that spreads the
first points best along its axis is kept. Column j takes the (j+1)-th prime for b. Each run of b^m points that starts at
a multiple of b^m has exactly one point in each cell of width b^-m, whatever the shift.

Why shift each digit, and not the point as a whole (Cranley and Patterson: u + c mod 1)? Because the whole shift cuts
the cells in two. Why the best of four? Because the points of a run share their place within the cell, and where a plain
random shift puts it near an end, a few points cover the axis badly. The price: a single point is a little more likely
near the middle than near the limits. Measured with ``python bench/halton_quality.py``, 500 seeds: mean centred
discrepancy divided by that of scipy.stats.qmc.Halton(scramble=True), which permutes the digits of each place at random.

=================================  =====  =====  ======  ======  ======
points, dimensions                 10, 2  30, 4  100, 4  100, 8  300, 6
=================================  =====  =====  ======  ======  ======
this module
the same, first shift drawn
the same, then a whole shift
plain random points
=================================  =====  =====  ======  ======  ======

Nothing here depends on a stream that a library may change: the c_k are taken from raw words of the Philox counter-based
generator, which NumPy guarantees, by exact integer arithmetic; the digits of a point add up to a whole number below
2**53 and are divided by b^K once, which IEEE 754 rounds in one way only. Golden values in the tests hold it.

Sources: Halton 1960; Faure 1992, "Good permutations for extreme discrepancy"; Bousquet et al. 2017, arXiv:1706.03200
(scrambled and shifted Halton for hyperparameter search); playbook, "Where can I find an implementation of quasi-random
search?".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from refplay.errors import InputError
from refplay.seeds import generator

MAX_DIMENSIONS = 100
MAX_INDEX = 2**40  # every base has digits for more points than this: 541**5 > 2**40

_CANDIDATES = 4  # shifts drawn for a column; 8 or 16 were no better over the sizes of the table
_JUDGED = 32  # first points of a column that they are judged by

# Below this many coordinates NumPy needs less than a second, and a study does not wait for the compiler.
_COMPILE_FROM = 2_000_000


def halton(n: int, d: int, seed: int, start: int = 0) -> np.ndarray:
    """Return points `start` to `start + n - 1` of the scrambled, shifted Halton sequence.

    Any part of the sequence can be computed by itself: a coordinate depends on `seed`, its row and its column only, so
    more points, or more dimensions, extend what was there.

    Parameters
    ----------
    n : int
        Number of points.
    d : int
        Dimensions, 1 to 100 (0 gives points without coordinates).
    seed : int, 0 or more
        Chooses the shift.
    start : int
        Index of the first point.

    Returns
    -------
    float64[n, d] in [0, 1), columns contiguous.

    Raises
    ------
    InputError
        More than 100 dimensions, a negative argument, or an index beyond 2**40.

    >>> halton(3, 2, seed=0).round(4).tolist()
    [[0.6828, 0.1481], [0.1828, 0.4814], [0.9328, 0.8148]]
    >>> bool((halton(1, 2, seed=0, start=2) == halton(3, 2, seed=0)[2]).all())
    True
    """
    if min(n, d, seed, start) < 0:
        raise InputError(f"halton needs n, d, seed and start of at least 0, got {n}, {d}, {seed}, {start}")
    if d > MAX_DIMENSIONS:
        raise InputError(f"a search space of {d} dimensions; Halton points cover at most {MAX_DIMENSIONS}: "
                         "fix some hyperparameters, or search at random")
    if start + n > MAX_INDEX:
        raise InputError(f"points up to index {start + n} asked for; there are {MAX_INDEX}")
    return halton_in_bases(n, primes()[:d], seed, start)


def halton_in_bases(n: int, bases: Sequence[int], seed: int, start: int = 0) -> np.ndarray:
    """Return what `halton` does for bases of your own choice (whole numbers above 1), one per column."""
    fill = fill_compiled() if n * len(bases) >= _COMPILE_FROM else fill_plain
    columns = np.empty((len(bases), n))
    for column, base in zip(columns, bases, strict=True):
        fill(column, start, *digit_weights(base, digit_shifts(base, seed)))
    return columns.T


def digit_count(base: int) -> int:
    """Return K, the largest number of digits with base**K <= 2**53: whole numbers that a float64 holds exactly."""
    count = 0
    while base ** (count + 1) <= 2**53:
        count += 1
    return count


def digit_shifts(base: int, seed: int) -> list[int]:
    """Return the shift c_k of each digit place: the candidate under which the first points of the column lie best."""
    return min(candidate_shifts(base, seed), key=lambda shifts: _unevenness(base, shifts))


def candidate_shifts(base: int, seed: int) -> list[list[int]]:
    """Return the random shifts to choose from, each digit independent and uniform in 0 ... base - 1."""
    count = digit_count(base)
    words = generator(seed, "halton", base).bit_generator.random_raw(_CANDIDATES * count)  # type: ignore[attr-defined]
    digits = [int(word) * base >> 64 for word in words]
    return [digits[i : i + count] for i in range(0, len(digits), count)]


def _unevenness(base: int, shifts: Sequence[int]) -> float:
    # Squared distances of the first n points, sorted, from the midpoints (i + 1/2) / n, times n and summed over n: the
    # one-dimensional discrepancy (Cramer-von Mises), each n with the weight that makes it comparable. fsum rounds once,
    # so that the choice does not depend on an order of summation.
    points = np.empty(_JUDGED)
    fill_plain(points, 0, *digit_weights(base, shifts))
    return math.fsum(n * distance * distance for n in range(1, _JUDGED + 1)
                     for distance in (np.sort(points[:n]) - (np.arange(n) + 0.5) / n).tolist())


@cache
def faure_permutation(base: int) -> tuple[int, ...]:
    """Return Faure's permutation of the digits 0 ... base - 1 (Faure 1992, section 3).

    For an even base 2c it is pi_c doubled, then pi_c doubled plus one. For an odd base 2c + 1 it is that of 2c, with
    the values from c on raised by one and c put into the middle.

    >>> faure_permutation(7)
    (0, 2, 5, 3, 1, 4, 6)
    """
    half = base // 2
    if base == 1:
        return (0,)
    if base % 2 == 0:
        inner = faure_permutation(half)
        return tuple(2 * v for v in inner) + tuple(2 * v + 1 for v in inner)
    outer = tuple(v + (v >= half) for v in faure_permutation(base - 1))
    return (*outer[:half], half, *outer[half:])


def digit_weights(base: int, shifts: Sequence[int]) -> tuple[np.ndarray, float]:
    """Return what each digit contributes to a point, int64[K, base], and the whole base**K to divide their sum by."""
    permutation = np.array(faure_permutation(base), np.int64)
    digits = (permutation[None, :] + np.array(shifts, np.int64)[:, None]) % base
    places = np.array([base**k for k in reversed(range(len(shifts)))], np.int64)  # the ones digit comes first in u
    return digits * places[:, None], float(base ** len(shifts))


def fill_plain(column: np.ndarray, start: int, weights: np.ndarray, whole: float) -> None:
    """Write one coordinate of the points from index `start` on: the equation of this module, digit after digit."""
    base = weights.shape[1]
    index = np.arange(start, start + len(column), dtype=np.int64)
    total = np.zeros(len(column), np.int64)
    for weight in weights:
        total += weight[index % base]
        index //= base
    np.divide(total, whole, out=column)


@cache
def fill_compiled() -> Callable[[np.ndarray, int, np.ndarray, float], None]:
    """Return `fill_plain` compiled, with equal results to the last bit.

    It counts instead of dividing: from one index to the next mostly the last digit changes, the one before it every
    b-th time, so that a point costs b / (b - 1) additions on average, whatever its number of digits.
    """
    import numba  # heavy, and needed by large samples only

    @numba.njit(cache=True, nogil=True)
    def fill(column, start, weights, whole):  # type: ignore[no-untyped-def]
        positions, base = weights.shape
        digits = np.empty(positions, np.int64)
        total = 0
        for k in range(positions):
            digits[k] = start % base
            start //= base
            total += weights[k, digits[k]]
        for i in range(len(column)):
            column[i] = total / whole
            for k in range(positions):
                digit = digits[k]
                if digit + 1 < base:
                    digits[k] = digit + 1
                    total += weights[k, digit + 1] - weights[k, digit]
                    break
                digits[k] = 0
                total += weights[k, 0] - weights[k, digit]

    return fill


@cache
def primes() -> tuple[int, ...]:
    """Return the first hundred primes, the bases of the columns."""
    candidates = range(2, 542)  # 541 is the 100th prime
    return tuple(p for p in candidates if all(p % q for q in range(2, p)))

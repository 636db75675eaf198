"""Index arithmetic of kernels: numbers that are never negative, in 32 bits, since a GPU has no 64-bit multiplication.

An index that might be negative counts from the end, as in NumPy: three instructions at every access, unless the
compiler can prove that it is not. It cannot for `cuda.threadIdx.x`; it can for what was unsigned. In the loops of a
matrix product that is a quarter of all instructions.
"""

from __future__ import annotations

import numpy as np

from .device import SIMULATED, device_function


@device_function
def natural(i):
    """Return i, 0 <= i < 2^32, as a number that the compiler knows to be not negative."""
    return np.int64(np.uint32(i))


@device_function
def nearest(i, n):
    """Return the index nearest to i among 0, ..., n - 1, for a natural i: what is there can always be read."""
    return natural(min(np.uint32(i), np.uint32(n - 1)))


@device_function
def inside(i, n):
    """Return whether 0 <= i < n, by one comparison: read as unsigned, a negative i is a huge one."""
    return np.uint32(i) < np.uint32(n)


@device_function
def split(i, n):
    """Return i // n and i % n, for natural i and n."""
    quotient = natural(np.uint32(i) // np.uint32(n))
    return quotient, natural(i - quotient * n)


if SIMULATED:  # the same in Python, where numbers have no width, and strict
    split = divmod

    def natural(i):
        if not 0 <= i < 2**32:
            raise OverflowError(f"not a natural number of 32 bits: {i}")
        return int(i)

    def nearest(i, n):
        return natural(min(natural(i), n - 1))

    def inside(i, n):
        return 0 <= i < n

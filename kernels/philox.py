"""Philox4x32-10, the random numbers of dropout: a function of a counter and a key, with no state to carry.

Salmon, Moraes, Dror, Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3". One round takes the four words
(c0, c1, c2, c3) and the key (k0, k1), multiplies to 64 bits, and swaps the halves across::

    hi0, lo0 = split(M0 * c0)           hi1, lo1 = split(M1 * c2)
    c0, c1, c2, c3  <-  hi1 ^ c1 ^ k0,  lo1,  hi0 ^ c3 ^ k1,  lo0

Between two rounds the key moves on by the Weyl constants: k0 += W0, k1 += W1. Ten rounds are Philox4x32-10.

Dropout asks for one word per array element, so element i takes

    word i % 4 of philox4x32(counter = (i // 4 low, i // 4 high, step, layer), key = (seed low, seed high))

and every backend, thread and block can compute its own part of the mask: they all agree bit for bit.
"""

from typing import Any, TypeVar

from numpy.typing import NDArray

Word = TypeVar("Word", int, NDArray[Any])

M0, M1 = 0xD2511F53, 0xCD9E8D57
W0, W1 = 0x9E3779B9, 0xBB67AE85  # the golden ratio and sqrt(3) - 1, times 2**32
ROUNDS = 10
MASK = 0xFFFFFFFF


def philox4x32(counter: tuple[Word, Word, Word, Word], key: tuple[int, int]) -> tuple[Word, Word, Word, Word]:
    """Return four random 32-bit words for `counter` and `key`.

    Parameters
    ----------
    counter : 4 int, or 4 uint64 arrays
        Words below 2**32. Arrays give many blocks at once; they are 64 bits wide to hold the products.
    key : 2 int
        Words below 2**32.

    >>> [f"{word:08x}" for word in philox4x32((0, 0, 0, 0), (0, 0))]
    ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        product0, product1 = M0 * c0, M1 * c2
        c0, c1, c2, c3 = (product1 >> 32) ^ c1 ^ k0, product1 & MASK, (product0 >> 32) ^ c3 ^ k1, product0 & MASK
        k0, k1 = (k0 + W0) & MASK, (k1 + W1) & MASK
    return c0, c1, c2, c3


def threshold(rate: float) -> int:
    """Return the number that a 32-bit word must reach for its element to be kept: `rate` of all words lie below it.

    At most 2**32, which does not fit into 32 bits: a rate within 2**-33 of one drops everything.

    >>> threshold(0.25) == 2**30
    True
    """
    return round(rate * 2**32)

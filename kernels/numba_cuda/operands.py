"""How the threads of a block bring a part of a matrix into a tile of shared memory; what `product4` calls.

The tile is `tile[k, side]`: `side` counts rows of the left matrix or columns of the right one, k the terms of the sum.
Memory is fast when neighbouring threads read neighbouring numbers. So it is the layout of the matrix that says which
thread brings what:

- along: the sum runs along the rows in memory (the left matrix of x w, both of x w^T). Thread t brings k = t % step of
  several sides.
- across: the sum runs across them (the right matrix of x w, both of x^T w). Thread t brings side t % sides of
  some k in line.

A product of transposed matrices is therefore no other kernel: its tiles are filled in another way.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .device import device_function
from .indices import nearest

THREADS = 256


class Operand(NamedTuple):
    """A way to fill the tiles; the functions run on the GPU, `thread` is the number of the thread in its block.

    locate(places, matrix, first, end, thread, form): works out, once, what the thread needs to know about its sides,
        which begin at `first`. Those from `end` on are taken to be the last: what comes of them is not stored.
    ask(held, places, matrix, k0, last, thread, form) -> given: starts to read the numbers of the thread at k0, ... into
        registers. The bits of `given` say which of them exist. The others, for k >= last, are whatever was at hand.
    put(tile, held, given, thread): stores them, and 0 for those that do not exist.
    """

    numbers: int  # that a thread brings for each tile
    places: tuple[int, int]  # the shape of `places`, of int32
    locate: Any
    ask: Any
    put: Any


def matrix_along(sides: int, step: int) -> Operand:
    """matrix[side, k]"""
    numbers, put = along(sides, step)
    apart, all_given = THREADS // step, 2**numbers - 1

    @device_function
    def locate(places, matrix, first, end, thread, form):
        for n in range(numbers):
            places[n, 0] = nearest(first + thread // step + apart * n, end)

    @device_function
    def ask(held, places, matrix, k0, last, thread, form):
        k = k0 + thread % step
        for n in range(numbers):
            held[n] = matrix[np.uint32(places[n, 0]), nearest(k, last)]
        return all_given if k < last else 0

    return Operand(numbers, (numbers, 1), locate, ask, put)


def matrix_across(sides: int, step: int) -> Operand:
    """matrix[k, side]"""
    numbers, put = across(sides, step)

    @device_function
    def locate(places, matrix, first, end, thread, form):
        places[0, 0] = nearest(first + thread % sides, end)

    @device_function
    def ask(held, places, matrix, k0, last, thread, form):
        given = 0
        for n in range(numbers):
            k = k0 + numbers * (thread // sides) + n
            held[n] = matrix[nearest(k, last), np.uint32(places[0, 0])]
            if k < last:
                given |= 1 << n
        return given

    return Operand(numbers, (1, 1), locate, ask, put)


def along(sides: int, step: int) -> tuple[int, Any]:
    numbers, apart = sides * step // THREADS, THREADS // step

    @device_function
    def put(tile, held, given, thread):
        for n in range(numbers):
            tile[thread % step, thread // step + apart * n] = held[n] if given & (1 << n) else held.dtype.type(0)

    return numbers, put


def across(sides: int, step: int) -> tuple[int, Any]:
    numbers = sides * step // THREADS

    @device_function
    def put(tile, held, given, thread):
        for n in range(numbers):
            tile[numbers * (thread // sides) + n, thread % sides] = held[n] if given & (1 << n) else held.dtype.type(0)

    return numbers, put

"""The weight gradient of a dense layer handed to an update rule where it is made: dw = x^T dy is never in memory.

A task makes the gradient of some rows of w, tile by tile, in its scratch, which stays in the cache, and lets the rule
loose on it. Rows of w lie one after the other, so that the rule walks through theta and its state in one long run and
each of their values is read and written once. Theta and state come out as from `dense_backward` and the rule: the sums
run in the same order, cut into pieces of K_BLOCK examples.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ..contract import Array
from . import optim
from .atomic import call_function
from .optim import STATES
from .product import _ZEROS, K_BLOCK, pack_rows, shape_of_tile
from .program import Call, Kernel, as_float, blocks, call, ints_at, kernel
from .rules import RULES
from .simd import BYTES, LANES, Emitter, Real, Value, emit
from .tile import call_tile, tile
from .wide import each_vector

NUMBERS = {update.__name__: number for number, update in enumerate(RULES)}
KERNELS = {name: getattr(optim, name.upper()) for name in ("sgd", "momentum", "nesterov", "rmsprop", "adam", "nadam")}
FEWEST = 8  # examples: up to here a sum takes no longer than to write it down and read it again
FEW = 16  # examples: with so few the time goes into reading and writing theta, and nothing is packed
MANY = 512  # examples: with so many it pays to copy dy together for fewer tasks
_WORDS = 16  # of arguments for the rule, in front of the scratch


def dense_update_calls(
    rule: str, scalars: tuple[float, ...], x: Array, dy: Array, theta: Array, *state: Array
) -> list[Call]:
    """Return the instruction theta, state <- rule(theta, x^T dy, state).

    Parameters
    ----------
    rule : str
        A rule of the contract.
    scalars : 4 float
        As `optim.<rule>_scalars` makes them; they are the first arguments of the instruction.
    x, dy : array of shape [B, I], [B, O]
        With B = 0 the gradient is 0.
    theta, *state : arrays of I O values, contiguous
        The weights and the state of the rule in its order, updated.
    """
    (B, I), O = x.shape, dy.shape[1]
    if 1 <= B <= FEWEST and O >= 4 * LANES:  # narrow rows would be all rest
        tasks, rows = blocks(I, max(1, 8192 // O))
        state = (*state, theta, theta)[:2]  # a rule without state does not look at it
        return [call(_few(NUMBERS[rule], B), tasks, *scalars, theta, *state, x, dy, I, O, rows)]
    rows, vectors = shape_of_tile(I, O)
    columns = vectors * LANES
    packed = B > FEW and columns < O
    wanted = max(1, 8192 // O) if B <= FEW else min(48 if B < MANY else 128, -(-I // 8))
    rows_a_task = rows * -(-min(wanted, I) // rows)
    tasks = -(-I // rows_a_task)
    k_block = min(B, K_BLOCK) if packed else B
    last_rows, last_columns = I - rows * (-(-I // rows) - 1), O - columns * (-(-O // columns) - 1)
    tiles = [tile(r, v, masked).address if used else 0
             for v, masked, used in ((vectors, False, columns <= O),
                                     (-(-last_columns // LANES), True, last_columns < columns))
             for r in (rows, last_rows)]  # fmt: skip
    gradient = 4 * (rows_a_task * O + LANES)
    packs = 4 * (k_block + LANES) * (columns + rows_a_task + LANES) if packed else 0
    state = (*state, theta, theta)[:2]  # a rule without state does not look at it
    return [call(
        _dense_update, tasks, *scalars, KERNELS[rule].address, theta, *state, x, dy, B, I, O, rows_a_task,
        rows, vectors, k_block, int(packed), _ZEROS, gradient, *tiles,
        scratch=8 * _WORDS + gradient + packs,
    )]  # fmt: skip


@kernel
def _dense_update(a: Any, task: int, scratch: int) -> None:
    x, dy, B, I, O = a[8], a[9], a[10], a[11], a[12]
    rows_a_task, rows, vectors, k_block, packed, zeros = a[13], a[14], a[15], a[16], a[17], a[18]
    first = task * rows_a_task
    count, columns = min(rows_a_task, I - first), vectors * LANES
    dw = scratch + 8 * _WORDS
    panel = dw + a[19]
    left = panel + k_block * columns * 4
    left_row = 4 * count + BYTES
    for k in range(0, max(B, 1), max(k_block, 1)):  # once too for no examples: the sum of nothing is 0
        terms = min(k_block, B - k)
        left_at, left_step = x + 4 * (k * I + first), 4 * I
        if packed:
            pack_rows(left_at, left_step, terms, count, left, left_row)
            left_at, left_step = left, left_row
        for column in range(0, O, columns):
            wide = min(columns, O - column)
            panel_at, panel_row = dy + 4 * (k * O + column), 4 * O
            if packed:
                pack_rows(panel_at, panel_row, terms, wide, panel, vectors * BYTES)
                panel_at, panel_row = panel, vectors * BYTES
            tiles = 20 if wide == columns else 22
            for i in range(0, count, rows):
                at = dw + 4 * (i * O + column)
                begin, begin_row = (at, 4 * O) if k else (zeros, 0)
                call_tile(a[tiles + (1 if first + i + rows > I else 0)], left_at + 4 * i, 4, left_step, 0, panel_at,
                          panel_row, at, 4 * O, begin, begin_row, 1, terms, wide, -np.inf)
    rule = ints_at(scratch)
    for i in range(4):
        rule[i] = a[i]
    at, values = 4 * first * O, count * O
    rule[4], rule[5], rule[6], rule[7], rule[8], rule[9] = values, values, a[5] + at, dw, a[6] + at, a[7] + at
    call_function(a[4], scratch, 0, 0)


@cache
def _few(rule: int, examples: int) -> Kernel:
    """Return the kernel for so few examples that the gradient of a value is summed where the rule takes it."""
    R, B = rule, examples

    def update_of_few(a: Any, task: int, scratch: int) -> None:
        theta, first, second, x, dy, I, O, rows = a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11]
        row = task * rows
        at = 4 * row * O
        _update_rows(R, B, theta + at, first + at, second + at, x + 4 * row, 4 * I, dy, min(rows, I - row), O,
                     as_float(a[0]), as_float(a[1]), as_float(a[2]), as_float(a[3]))

    return kernel(update_of_few)


@emit
def _update_rows(
    e: Emitter, rule: int, examples: int, theta: Value, first: Value, second: Value, x: Value, x_row: Value, dy: Value,
    rows: Value, columns: Value, s0: Real, s1: Real, s2: Real, s3: Real,
) -> None:  # fmt: skip
    update = RULES[rule](e, s0, s1, s2, s3)
    vectors = [theta, first, second][: 1 + STATES[rule]]

    def update_row(i: Value) -> None:
        ones = [e.broadcast(x + x_row * b + i * 4) for b in range(examples)]
        start = i * (columns * 4)

        def body(at: Value, inside: Value | None) -> None:
            g = e.vector(0.0)
            for b, one in enumerate(ones):
                g = e.fma(one, e.load(dy + columns * (4 * b) + at, inside), g)
            old = [e.load(vector + start + at, inside) for vector in vectors]
            for vector, value in zip(vectors, update(old[0], g, *old[1:]), strict=True):
                e.store(value, vector + start + at, inside)

        each_vector(e, columns, body)

    e.loop(rows, [], update_row)

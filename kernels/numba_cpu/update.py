"""The weight gradient of a dense layer handed to an update rule where it is made: dw = x^T dy is never in memory.

A task makes the gradient of some rows of w, tile by tile, in its scratch, which stays in the cache, and lets the rule
loose on it. Rows of w lie one after the other, so that the rule walks through theta and its state in one long run and
each of their values is read and written once. Theta and state come out as from `dense_backward` and the rule: the sums
run in the same order, cut into pieces of K_BLOCK examples.
"""

from __future__ import annotations

import numpy as np

from ..contract import Array
from . import optim
from .atomic import call_function
from .product import _ZEROS, K_BLOCK, pack_rows, shape_of_tile
from .program import Call, call, ints_at, kernel
from .simd import BYTES, LANES
from .tile import call_tile, tile

KERNELS = {name: getattr(optim, name.upper()) for name in ("sgd", "momentum", "nesterov", "rmsprop", "adam", "nadam")}
FEW = 16  # examples: with so few the time goes into reading and writing theta, and nothing is packed
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
    rows, vectors = shape_of_tile(I, O)
    columns = vectors * LANES
    packed = B > FEW and columns < O
    wanted = max(1, 8192 // O) if B <= FEW else min(48, -(-I // 8))
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
def _dense_update(a, task, scratch):
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

"""Batch and layer normalization; the `.cu` files say how many passes over memory each takes."""

from __future__ import annotations

from typing import Any

from ..contract import Array
from . import check
from .device import BLOCK, blocks_for, launch, multiprocessors, scratch
from .launches import Columns, columns, held, packs, row_lanes

SUM_BLOCK = 512  # threads of the kernels that add up what blocks have left: 32 columns and 16 threads for each
HELD, PAIRS_HELD = 8, 4  # rows in registers, kHeld and kPairsHeld
AT_ONCE, PAIRS_AT_ONCE = 4, 2  # rows of a round, kAtOnce and kPairsAtOnce
LONGEST = 512  # threads for a row in layer normalization backward


def batch_norm_forward(
    x: Array, gamma: Array, beta: Array, y: Array, mean: Array, var: Array, epsilon: float
) -> None:
    """y = gamma (x - mean) / sqrt(var + epsilon) + beta, with mean and biased variance over M per ghost batch g.

    Parameters
    ----------
    x, gamma, beta : [G, M, C], [C], [C]
    y, mean, var : [G, M, C], [G, C], [G, C], written
    """
    check.batch_norm_forward(x, gamma, beta, y, mean, var, epsilon)
    G, M, C = x.shape
    pack, dtype = packs(x.dtype), x.dtype
    cut = held(M, C, pack, HELD)
    if cut:
        launch(f"batch_norm.batch_norm_held_{dtype}", G * cut.tiles, BLOCK, x, gamma, beta, y, mean, var, M, C,
               float(epsilon), cut.tiles, cut.lanes)  # fmt: skip
        return
    cut = columns(G, M, C, pack, AT_ONCE, waves=1, resident=2)
    partial = scratch(G * cut.shares * 2 * C, "float64", "norm")
    launch(f"batch_norm.batch_norm_moments_{dtype}", _blocks(G, cut), BLOCK, x, partial, M, C, *_shares(cut))
    launch(f"batch_norm.batch_norm_statistics_{dtype}", G * blocks_for(C, 32), SUM_BLOCK, partial, mean, var, M, C,
           cut.rows, cut.shares)  # fmt: skip
    _normalize(x, gamma, beta, mean, var, y, cut, epsilon)


def batch_norm_inference(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, y: Array, epsilon: float
) -> None:
    """y = gamma (x - mean) / sqrt(var + epsilon) + beta with given statistics; y may be x.

    Parameters
    ----------
    x, gamma, beta, mean, var : [B, C], [C] each
    y : [B, C], written
    """
    check.batch_norm_inference(x, gamma, beta, mean, var, y, epsilon)
    B, C = x.shape
    if B:
        cut = columns(1, B, C, packs(x.dtype), AT_ONCE, waves=4)
        _normalize(x[None], gamma, beta, mean[None], var[None], y[None], cut, epsilon)


def _normalize(
    x: Any, gamma: Any, beta: Any, mean: Any, var: Any, y: Any, cut: Columns, epsilon: float
) -> None:
    G, M, C = x.shape
    launch(f"batch_norm.batch_norm_normalize_{x.dtype}", _blocks(G, cut), BLOCK, x, gamma, beta, mean, var, y, M, C,
           float(epsilon), *_shares(cut))  # fmt: skip


def batch_norm_backward(
    x: Array, gamma: Array, mean: Array, var: Array, dy: Array, dx: Array, dgamma: Array, dbeta: Array, epsilon: float
) -> None:
    """dx = gamma (dy - mean(dy) - x_hat mean(dy x_hat)) / sigma, with x_hat = (x - mean) / sigma and
    sigma = sqrt(var + epsilon); dgamma and dbeta are the sums of dy x_hat and of dy over all examples of all g.

    Parameters
    ----------
    x, gamma, mean, var, epsilon : as `batch_norm_forward` took or wrote them
    dy, dx : [G, M, C]; dx is written
    dgamma, dbeta : [C], written
    """
    check.batch_norm_backward(x, gamma, mean, var, dy, dx, dgamma, dbeta, epsilon)
    G, M, C = x.shape
    pack, dtype, epsilon = packs(x.dtype), x.dtype, float(epsilon)
    totals = scratch(G * 2 * C, "float64", "norm totals")
    cut = held(M, C, pack, PAIRS_HELD)
    if cut:
        launch(f"batch_norm_backward.batch_norm_gradient_held_{dtype}", G * cut.tiles, BLOCK, x, gamma, mean, var, dy,
               dx, totals, M, C, epsilon, cut.tiles, cut.lanes)  # fmt: skip
    else:
        cut = columns(G, M, C, pack, PAIRS_AT_ONCE, waves=1)
        partial = scratch(G * cut.shares * 2 * C, "float64", "norm") if cut.shares > 1 else totals
        launch(f"batch_norm_backward.batch_norm_sums_{dtype}", _blocks(G, cut), BLOCK, x, dy, mean, var, partial, M, C,
               epsilon, *_shares(cut))  # fmt: skip
        if cut.shares > 1:
            launch("column_sums.column_sums", G * blocks_for(2 * C, 32), SUM_BLOCK, partial, totals, cut.shares, 2 * C)
        launch(f"batch_norm_backward.batch_norm_input_{dtype}", _blocks(G, cut), BLOCK, x, gamma, mean, var, dy, dx,
               totals, M, C, epsilon, *_shares(cut))  # fmt: skip
    _parameters(totals, G, C, dgamma, dbeta)


def layer_norm_forward(
    x: Array, gamma: Array, beta: Array, y: Array, mean: Array, var: Array, epsilon: float
) -> None:
    """y = gamma (x - mean) / sqrt(var + epsilon) + beta, with mean and biased variance over C per example b.

    Parameters
    ----------
    x, gamma, beta : [B, C], [C], [C]
    y, mean, var : [B, C], [B], [B], written
    """
    check.layer_norm_forward(x, gamma, beta, y, mean, var, epsilon)
    B, C = x.shape
    lanes = row_lanes(C, 4 * packs(x.dtype))
    if lanes <= BLOCK:
        launch(f"layer_norm.layer_norm_forward_{x.dtype}", blocks_for(B, BLOCK // lanes), BLOCK, x, gamma, beta, y,
               mean, var, B, C, float(epsilon), lanes)  # fmt: skip
    else:
        launch(f"layer_norm_long.layer_norm_long_forward_{x.dtype}", B, BLOCK, x, gamma, beta, y, mean, var, C,
               float(epsilon))  # fmt: skip


def layer_norm_backward(
    x: Array, gamma: Array, mean: Array, var: Array, dy: Array, dx: Array, dgamma: Array, dbeta: Array, epsilon: float
) -> None:
    """dx = (gamma dy - mean_c(gamma dy) - x_hat mean_c(gamma dy x_hat)) / sigma, with x_hat = (x - mean) / sigma and
    sigma = sqrt(var + epsilon); dgamma and dbeta are the sums of dy x_hat and of dy over the examples.

    Parameters
    ----------
    x, gamma, mean, var, epsilon : as `layer_norm_forward` took or wrote them
    dy, dx : [B, C]; dx is written
    dgamma, dbeta : [C], written
    """
    check.layer_norm_backward(x, gamma, mean, var, dy, dx, dgamma, dbeta, epsilon)
    B, C = x.shape
    dtype, epsilon = x.dtype, float(epsilon)
    lanes = row_lanes(C, 2 * packs(dtype))
    if lanes <= LONGEST:
        block = max(lanes, BLOCK)
        blocks = min(blocks_for(B, block // lanes), 4 * multiprocessors() * BLOCK // block)
        partial = scratch(blocks * 2 * C, "float64", "norm")
        launch(f"layer_norm.layer_norm_backward_{dtype}", blocks, block, x, gamma, mean, var, dy, dx, partial, B, C,
               epsilon, lanes)  # fmt: skip
    else:
        tiles = blocks_for(C, BLOCK)
        blocks = min(B, -(-8 * multiprocessors() // tiles))
        partial = scratch(blocks * 2 * C, "float64", "norm")
        launch(f"layer_norm_long.layer_norm_long_input_{dtype}", B, BLOCK, x, gamma, mean, var, dy, dx, C, epsilon)
        launch(f"layer_norm_long.layer_norm_long_columns_{dtype}", blocks * tiles, BLOCK, x, mean, var, dy, partial, B,
               C, epsilon, blocks)  # fmt: skip
    _parameters(partial, blocks, C, dgamma, dbeta)


def _blocks(G: int, cut: Columns) -> int:
    return G * cut.shares * cut.tiles


def _shares(cut: Columns) -> tuple[int, int, int, int]:
    return cut.rows, cut.shares, cut.tiles, cut.lanes


def _parameters(partial: Any, count: int, C: int, dgamma: Any, dbeta: Any) -> None:
    """partial[count, 2, C] -> dbeta[C], dgamma[C]: the sums over the first axis."""
    launch(f"column_sums.two_column_sums_{dgamma.dtype}", blocks_for(2 * C, 32), SUM_BLOCK, partial, dbeta, dgamma,
           count, C)  # fmt: skip

"""Softmax cross entropy: loss and gradient while the logits are in registers."""

from __future__ import annotations

from ..contract import Array
from . import check
from .device import BLOCK, blocks_for, launch
from .launches import packs, row_lanes


def softmax_cross_entropy(
    z: Array, labels: Array, weights: Array, smoothing: float, loss: Array, dz: Array | None
) -> None:
    """loss_b = -w_b sum_c q_bc log softmax(z_b)_c, dz_bc = w_b (softmax(z_b)_c - q_bc), q = (1 - s) one_hot + s / C.

    A row of weight 0 gives exactly 0 whatever its logits hold. A label that is no class gives NaN: the GPU cannot
    raise, and to look at the labels here would mean to wait for it.

    Parameters
    ----------
    z, labels, weights : [B, C], [B] of int64 or int32, [B]
    smoothing : float, s, 0 <= s <= 1
    loss, dz : [B] written, [B, C] written or None
    """
    check.softmax_cross_entropy(z, labels, weights, smoothing, loss, dz)
    B, C = z.shape
    of_labels = (labels, None) if labels.dtype.itemsize == 8 else (None, labels)
    arguments = (z, *of_labels, weights, 1 - float(smoothing), float(smoothing) / C, loss, dz)
    lanes = row_lanes(C, 4 * packs(z.dtype))
    if lanes <= BLOCK:
        launch(f"loss.softmax_cross_entropy_{z.dtype}", blocks_for(B, BLOCK // lanes), BLOCK, *arguments, B, C, lanes)
    else:
        launch(f"loss.softmax_cross_entropy_long_{z.dtype}", B, BLOCK, *arguments, C)

"""Softmax cross entropy: loss and gradient of a row while it is in the cache, computed in float64."""

from math import exp, log

import numpy as np
from numba import njit

from .. import check
from ..contract import Array


def softmax_cross_entropy(
    z: Array, labels: Array, weights: Array, smoothing: float, loss: Array, dz: Array | None
) -> None:
    """loss_b = -w_b sum_c q_bc log softmax(z_b)_c, dz_bc = w_b (softmax(z_b)_c - q_bc), q = (1 - s) one_hot + s / C.

    A row of weight 0 gives exactly 0 whatever its logits hold.

    Parameters
    ----------
    z, labels, weights : [B, C], [B] of int64 or int32, [B]
    smoothing : float, s, 0 <= s <= 1
    loss, dz : [B] written, [B, C] written or None
    """
    check.softmax_cross_entropy(z, labels, weights, smoothing, loss, dz)
    # Without a dz any array of its type does: the same compiled kernel then serves both cases.
    _loss(z, labels, weights, float(smoothing), loss, z if dz is None else dz, dz is not None)


@njit(cache=True, nogil=True, error_model="numpy")
def _loss(z: Array, labels: Array, weights: Array, smoothing: float, loss: Array, dz: Array, want_dz: bool) -> None:
    B, C = z.shape
    hit, miss = 1 - smoothing, smoothing / C
    for b in range(B):
        label, weight = labels[b], np.float64(weights[b])
        if weight == 0:
            loss[b] = 0
            if want_dz:
                dz[b] = 0
            continue
        top = np.float64(z[b, 0])
        for c in range(C):
            top = max(top, np.float64(z[b, c]))
        total = smoothed = 0.0
        for c in range(C):
            shifted = np.float64(z[b, c]) - top
            smoothed += miss * shifted
            total += exp(shifted)
        # -sum_c q_c log softmax(z)_c, with log softmax(z)_c = z_c - top - log(total) and q summing to 1
        loss[b] = weight * (log(total) - hit * (np.float64(z[b, label]) - top) - smoothed)
        if want_dz:
            for c in range(C):
                q = hit + miss if c == label else miss
                dz[b, c] = weight * (exp(np.float64(z[b, c]) - top) / total - q)

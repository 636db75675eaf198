"""Softmax cross entropy, loss and gradient in one launch.

A row of logits is gone over three times: for its maximum, for the sum of exponentials, for the gradient. Only the first
comes from memory, the others from the cache. So z is read once and dz written once.
"""

from __future__ import annotations

from math import exp, inf, log, nan
from typing import Any

from ..contract import Array
from . import check
from .columns import in_each_width, launch_rows, row_max, row_sum
from .device import BLOCK, cuda, index


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
    real: Any = z.dtype.type
    numbers = real(1 - smoothing), real(smoothing / z.shape[1])
    # Without a dz any array of its type does: the same compiled kernel then serves both cases.
    launch_rows(_softmax_rows, z, labels, weights, numbers, loss, z if dz is None else dz, dz is not None)


@in_each_width
def _softmax_rows(columns):
    def softmax_rows(z, labels, weights, numbers, loss, dz, with_dz):
        """z[B,C] labels[B] weights[B] -> loss[B] dz[B,C]

        Each row of threads has an example b; of its logits thread x of the row has those at x, x + columns, ....
        With s_c = z_c - max z, and because q sums to 1:  loss = w (log sum_c exp s_c - sum_c q_c s_c).
        """
        values = cuda.shared.array(BLOCK, z.dtype)
        real = z.dtype.type
        hit, miss = numbers  # 1 - smoothing and smoothing / C
        B, C = z.shape
        x = cuda.threadIdx.x
        b = cuda.blockIdx.x * cuda.blockDim.y + cuda.threadIdx.y
        here, b = b < B, index(b)
        last = C if here else 0  # threads beyond the last example have no logits, but wait with the others

        top = real(-inf)
        c = x
        while c < last:
            if top < z[b, index(c)]:
                top = z[b, index(c)]
            c += columns
        top = row_max(top, values, columns)
        total, shifted = real(0), real(0)
        c = x
        while c < last:
            s = z[b, index(c)] - top  # at most 0, so that exp cannot overflow
            total += exp(s)
            shifted += s
            c += columns
        total = row_sum(total, values, columns)
        shifted = row_sum(shifted, values, columns)
        missed = miss * shifted if miss != 0 else real(0)  # a logit of -inf excludes its class: 0 log 0 counts as 0

        if here:
            weight, label = weights[b], labels[b]
            known = 0 <= label < C
            if x == 0:
                if not known:
                    loss[b] = real(nan)
                elif weight == 0:
                    loss[b] = real(0)
                else:
                    loss[b] = weight * (log(total) - hit * (z[b, label] - top) - missed)
            c = x
            while c < last and with_dz:
                if not known:
                    dz[b, index(c)] = real(nan)
                elif weight == 0:
                    dz[b, index(c)] = real(0)
                else:
                    q = miss + hit if c == label else miss
                    dz[b, index(c)] = weight * (exp(z[b, index(c)] - top) / total - q)
                c += columns

    return softmax_rows

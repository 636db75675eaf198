"""The loss of classification: softmax cross entropy with label smoothing."""

import numpy as np

from .. import check
from ..contract import Array


def softmax_cross_entropy(
    z: Array, labels: Array, weights: Array, smoothing: float, loss: Array, dz: Array | None
) -> None:
    r"""Write the weighted loss of every example, and the gradient of their sum with respect to the logits `z`.

    .. math:: q_{bc} = (1 - smoothing) [c = label_b] + smoothing / C \qquad
              loss_b = -w_b \sum_c q_{bc} \log \mathrm{softmax}(z_b)_c \qquad
              dz_{bc} = w_b \left(\mathrm{softmax}(z_b)_c - q_{bc}\right)

    Nothing is averaged: the weights carry the 1/B. An example of weight 0 (padding) gives exactly 0 whatever its
    logits hold, but its label must be a class. A logit of -inf excludes its class: 0 log 0 counts as 0. Label
    smoothing: Szegedy et al. 2016, arXiv:1512.00567.

    Parameters
    ----------
    z : [B, C]
    labels : [B], int64 or int32
        Classes, 0 <= label < C.
    weights : [B]
    smoothing : float, 0 <= smoothing <= 1
    loss : [B], written
    dz : [B, C] or None, written
        None in evaluation.

    Examples
    --------
    >>> z, labels, weights = np.log([[1.0, 2.0, 1.0]]), np.array([1]), np.array([1.0])
    >>> loss, dz = np.empty(1), np.empty((1, 3))
    >>> softmax_cross_entropy(z, labels, weights, 0.0, loss, dz)
    >>> loss, dz.round(6)
    (array([0.69314718]), array([[ 0.25, -0.5 ,  0.25]]))
    """
    check.softmax_cross_entropy(z, labels, weights, smoothing, loss, dz)
    classes = z.shape[1]
    z = np.where(weights[:, None] != 0, z, 0)
    s = z - z.max(axis=1, keepdims=True)  # softmax does not change by a shift, and exp(s) <= 1 cannot overflow
    log_p = s - np.log(np.exp(s).sum(axis=1, keepdims=True))
    one_hot = (labels[:, None] == np.arange(classes)).astype(z.dtype)
    q = (1 - smoothing) * one_hot + smoothing / classes
    loss[...] = weights * -np.multiply(q, log_p, out=np.zeros_like(q), where=q != 0).sum(axis=1)  # 0 log 0 = 0
    if dz is not None:
        dz[...] = weights[:, None] * (np.exp(log_p) - q)

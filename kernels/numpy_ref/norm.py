"""Batch normalization, with ghost batches, and layer normalization.

The variance is the biased one (divided by the count), in two passes: the mean first, then the squares of what is left.
E[x^2] - E[x]^2 would cancel. Sums run in float64.
"""

import numpy as np

from .. import check
from ..contract import Array


def batch_norm_forward(
    x: Array, gamma: Array, beta: Array, y: Array, mean: Array, var: Array, epsilon: float
) -> None:
    r"""Normalize every channel over the M examples of each ghost batch g (G = 1: ordinary batch normalization).

    .. math:: \mu_{gc} = \frac1M \sum_m x_{gmc} \qquad \sigma^2_{gc} = \frac1M \sum_m (x_{gmc} - \mu_{gc})^2 \qquad
              y_{gmc} = \gamma_c \frac{x_{gmc} - \mu_{gc}}{\sqrt{\sigma^2_{gc} + \epsilon}} + \beta_c

    Ioffe and Szegedy 2015, arXiv:1502.03167; ghost batches: Hoffer, Hubara and Soudry 2017, arXiv:1705.08741. For
    images, M counts all pixels of a ghost batch.

    Parameters
    ----------
    x : [G, M, C]
    gamma, beta : [C]
    y : [G, M, C], written
    mean, var : [G, C], written
        What the backward pass needs, and what running averages are made of.
    epsilon : float, more than 0
    """
    check.batch_norm_forward(x, gamma, beta, y, mean, var, epsilon)
    mean[...] = x.mean(axis=1, dtype=np.float64)
    var[...] = ((x - mean[:, None]) ** 2).mean(axis=1, dtype=np.float64)
    y[...] = gamma * (x - mean[:, None]) / np.sqrt(var[:, None] + epsilon) + beta


def batch_norm_backward(
    x: Array, gamma: Array, mean: Array, var: Array, dy: Array, dx: Array, dgamma: Array, dbeta: Array, epsilon: float
) -> None:
    r"""Write the gradients of `batch_norm_forward`, through the mean and the variance.

    .. math:: \hat x = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} \qquad
              d\gamma = \sum_{g,m} dy \, \hat x \qquad d\beta = \sum_{g,m} dy \qquad
              dx = \frac{\gamma}{\sqrt{\sigma^2 + \epsilon}}
              \left(dy - \frac1M \sum_m dy - \hat x \, \frac1M \sum_m dy \, \hat x\right)

    Parameters
    ----------
    x, gamma, mean, var, epsilon
        As `batch_norm_forward` took or wrote them.
    dy : [G, M, C]
    dx : [G, M, C], written
    dgamma, dbeta : [C], written
    """
    check.batch_norm_backward(x, gamma, mean, var, dy, dx, dgamma, dbeta, epsilon)
    sigma = np.sqrt(var[:, None] + epsilon)
    x_hat = (x - mean[:, None]) / sigma
    dgamma[...] = (dy * x_hat).sum(axis=(0, 1), dtype=np.float64)
    dbeta[...] = dy.sum(axis=(0, 1), dtype=np.float64)
    dx[...] = gamma / sigma * (dy - _mean(dy, axis=1) - x_hat * _mean(dy * x_hat, axis=1))


def batch_norm_inference(
    x: Array, gamma: Array, beta: Array, mean: Array, var: Array, y: Array, epsilon: float
) -> None:
    r"""Normalize with given statistics, as in evaluation; `y` may be `x`.

    .. math:: y_{bc} = \gamma_c \frac{x_{bc} - \mu_c}{\sqrt{\sigma^2_c + \epsilon}} + \beta_c

    Parameters
    ----------
    x : [B, C]
    gamma, beta, mean, var : [C]
    y : [B, C], written
    epsilon : float, more than 0
    """
    check.batch_norm_inference(x, gamma, beta, mean, var, y, epsilon)
    y[...] = gamma * (x - mean) / np.sqrt(var + epsilon) + beta


def layer_norm_forward(
    x: Array, gamma: Array, beta: Array, y: Array, mean: Array, var: Array, epsilon: float
) -> None:
    r"""Normalize every example over its C channels (Ba, Kiros and Hinton 2016, arXiv:1607.06450).

    .. math:: \mu_b = \frac1C \sum_c x_{bc} \qquad \sigma^2_b = \frac1C \sum_c (x_{bc} - \mu_b)^2 \qquad
              y_{bc} = \gamma_c \frac{x_{bc} - \mu_b}{\sqrt{\sigma^2_b + \epsilon}} + \beta_c

    Parameters
    ----------
    x : [B, C]
    gamma, beta : [C]
    y : [B, C], written
    mean, var : [B], written
    epsilon : float, more than 0
    """
    check.layer_norm_forward(x, gamma, beta, y, mean, var, epsilon)
    mean[...] = x.mean(axis=1, dtype=np.float64)
    var[...] = ((x - mean[:, None]) ** 2).mean(axis=1, dtype=np.float64)
    y[...] = gamma * (x - mean[:, None]) / np.sqrt(var[:, None] + epsilon) + beta


def layer_norm_backward(
    x: Array, gamma: Array, mean: Array, var: Array, dy: Array, dx: Array, dgamma: Array, dbeta: Array, epsilon: float
) -> None:
    r"""Write the gradients of `layer_norm_forward`, through the mean and the variance.

    .. math:: \hat x = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}} \qquad
              d\gamma = \sum_b dy \, \hat x \qquad d\beta = \sum_b dy \qquad
              dx = \frac{1}{\sqrt{\sigma^2 + \epsilon}}
              \left(\gamma \, dy - \frac1C \sum_c \gamma \, dy - \hat x \, \frac1C \sum_c \gamma \, dy \, \hat x\right)

    Parameters
    ----------
    x, gamma, mean, var, epsilon
        As `layer_norm_forward` took or wrote them.
    dy : [B, C]
    dx : [B, C], written
    dgamma, dbeta : [C], written
    """
    check.layer_norm_backward(x, gamma, mean, var, dy, dx, dgamma, dbeta, epsilon)
    sigma = np.sqrt(var[:, None] + epsilon)
    x_hat = (x - mean[:, None]) / sigma
    dgamma[...] = (dy * x_hat).sum(axis=0, dtype=np.float64)
    dbeta[...] = dy.sum(axis=0, dtype=np.float64)
    dx[...] = (gamma * dy - _mean(gamma * dy, axis=1) - x_hat * _mean(gamma * dy * x_hat, axis=1)) / sigma


def _mean(x: Array, axis: int) -> Array:
    """Return the mean along `axis`, kept as an axis of one, summed in float64 and rounded to the dtype of `x`."""
    mean: Array = x.mean(axis=axis, dtype=np.float64, keepdims=True)
    return mean.astype(x.dtype)

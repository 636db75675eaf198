"""Normalization layers: batch norm with ghost batches, and layer norm."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from refplay.errors import InputError
from refplay.kernels import Array, Backend
from refplay.nn.layer import Mode, Parameter, Place, Plain, Shape


def ghost_groups(batch: int, ghost_size: int) -> int:
    """Return into how many ghost batches a batch is split.

    A batch up to the ghost size is one group. A larger one must be a multiple of it: a smaller last group would have
    statistics noisier than the others', and leaving examples out would change what is trained on.

    Raises
    ------
    InputError
        Where the batch size is above the ghost size and no multiple of it.

    >>> ghost_groups(32, 64), ghost_groups(64, 64), ghost_groups(256, 64)
    (1, 1, 4)
    """
    if batch <= ghost_size:
        return 1
    if batch % ghost_size:
        raise InputError(
            f"batch size {batch} is not a multiple of ghost size {ghost_size}; choose a multiple, or a ghost_size "
            f"that divides it"
        )
    return batch // ghost_size


@dataclass(frozen=True)
class BatchNorm(Plain):
    r"""Ghost batch norm: y = gamma (x - mean) / sqrt(var + epsilon) + beta, per channel and ghost batch.

    In training, the batch is split in its order into groups of `ghost_size` examples, and mean and (biased) variance
    are taken over each group and its pixels; a batch up to `ghost_size` gives ordinary batch norm. In evaluation they
    are exponential moving averages over the steps, of what training normalizes with:

    .. math::
        \bar\mu \leftarrow \delta\bar\mu + (1-\delta)\frac1G\sum_g \mu_g \qquad
        \bar\sigma^2 \leftarrow \delta\bar\sigma^2 + (1-\delta)\frac1G\sum_g \sigma_g^2

    The second is the mean of the ghost variances; the variance of the whole batch would be larger, because it also
    counts how the groups' means differ. (PyTorch averages the unbiased variance, larger by M/(M-1).)

    Parameters
    ----------
    ghost_size : int
        Examples per group; see `ghost_groups` for other batch sizes.
    epsilon : float
        Added to the variance.
    decay : float
        delta. The averages begin at 0 and 1 and forget this in about 1/(1-decay) steps.
    init : str
        Where gamma begins: "one", or "zero" (the last norm of a residual branch: Goyal et al. 2017, arXiv:1706.02677).

    Source: Ioffe and Szegedy 2015, arXiv:1502.03167; Hoffer et al. 2017, arXiv:1705.08741, algorithm 1; playbook,
    "Batch normalization implementation details".
    """

    ghost_size: int = 64
    epsilon: float = 1e-5
    decay: float = 0.9
    init: str = "one"

    def parameters(self, shape: Shape) -> tuple[Parameter, ...]:
        return _gamma_beta(shape[-1], self.init)

    def statistics(self, shape: Shape) -> tuple[Parameter, ...]:
        return (
            Parameter("ema_mean", shape[-1:], False, 0.0, 0.0),
            Parameter("ema_var", shape[-1:], False, 1.0, 0.0),
        )

    def buffers(self, shape: Shape, batch: int, training: bool) -> dict[str, Shape]:
        arrays = super().buffers(shape, batch, training)
        if not training:  # no groups in evaluation, so any batch size will do
            return arrays
        per_group = (ghost_groups(batch, self.ghost_size), shape[-1])
        return {**arrays, "mean": per_group, "var": per_group}

    def forward(self, k: Backend, at: Place, x: Array, mode: Mode) -> Array:
        channels = at.gamma.size
        if not mode.training:
            rows = (x.size // channels, channels)
            k.batch_norm_inference(
                x.reshape(rows), at.gamma, at.beta, at.ema_mean, at.ema_var, at.y.reshape(rows), self.epsilon
            )
            return at.y
        groups = at.mean.shape[0]
        at.shape = (groups, x.size // (groups * channels), channels)
        at.x = x.reshape(at.shape)
        k.batch_norm_forward(at.x, at.gamma, at.beta, at.y.reshape(at.shape), at.mean, at.var, self.epsilon)
        self._average(k, at.mean, at.ema_mean)
        self._average(k, at.var, at.ema_var)
        return at.y

    def _average(self, k: Backend, values: Array, ema: Array) -> None:
        """ema <- decay ema + (1 - decay) mean over groups of values[G,C]."""
        groups = values.shape[0]
        for g in range(groups):
            k.axpby((1.0 - self.decay) / groups, values[g], self.decay if g == 0 else 1.0, ema)

    def backward(self, k: Backend, at: Place, dy: Array, mode: Mode) -> Array:
        dy, dx = dy.reshape(at.shape), at.dx.reshape(at.shape)
        k.batch_norm_backward(at.x, at.gamma, at.mean, at.var, dy, dx, at.dgamma, at.dbeta, self.epsilon)
        return at.dx


@dataclass(frozen=True)
class LayerNorm(Plain):
    """y = gamma (x - mean) / sqrt(var + epsilon) + beta, mean and variance over the channels of each example.

    In images every pixel is normalized for itself, over its channels. No statistics are averaged: training and
    evaluation do the same. Source: Ba et al. 2016, arXiv:1607.06450. `init` as in `BatchNorm`.
    """

    epsilon: float = 1e-5
    init: str = "one"

    def parameters(self, shape: Shape) -> tuple[Parameter, ...]:
        return _gamma_beta(shape[-1], self.init)

    def buffers(self, shape: Shape, batch: int, training: bool) -> dict[str, Shape]:
        rows = (batch * prod(shape[:-1]),)
        return {**super().buffers(shape, batch, training), "mean": rows, "var": rows}

    def forward(self, k: Backend, at: Place, x: Array, mode: Mode) -> Array:
        at.shape = (x.size // at.gamma.size, at.gamma.size)
        at.x = x.reshape(at.shape)
        k.layer_norm_forward(at.x, at.gamma, at.beta, at.y.reshape(at.shape), at.mean, at.var, self.epsilon)
        return at.y

    def backward(self, k: Backend, at: Place, dy: Array, mode: Mode) -> Array:
        dy, dx = dy.reshape(at.shape), at.dx.reshape(at.shape)
        k.layer_norm_backward(at.x, at.gamma, at.mean, at.var, dy, dx, at.dgamma, at.dbeta, self.epsilon)
        return at.dx


def _gamma_beta(channels: int, init: str) -> tuple[Parameter, Parameter]:
    starts = {"one": 1.0, "zero": 0.0}
    if init not in starts:
        raise InputError(f"unknown initialization {init!r} of a norm; choose one of {', '.join(starts)}")
    return Parameter("gamma", (channels,), False, starts[init], 0.0), Parameter("beta", (channels,), False, 0.0, 0.0)

"""The six update rules on vectors: the equation of each, written once for whatever walks over the parameters.

A rule takes its scalars (float64: their roundings are stated here) and returns `update(theta, g, *state)`, which gives
the new theta and the new state. u = 2^-24 is what one rounding to float32 costs.

Roundings, relative to the sum of absolute terms, at most. The sums of decayed state and gradient, `average` and
`decayed`: 2 u. They are computed with each constant in two parts, c = high + low, so that none of its digits are lost,
and with fused multiply-adds from the small terms to the large: the products with low parts are 2^-24 of the result and
their roundings nothing; then the gradient's term is rounded, and the sum. Adam: v is off by 2 u, of which the root
leaves 1 and adds 1; + epsilon 1; m 2, the quotient 1, the learning rate's own rounding 1: 7 u, that is 3.5 epsilons of
float32, in the update; the difference from theta is rounded once more. NAdam: the numerator 3, together 8 u. RMSProp:
v + epsilon 3, root 2.5, quotient 3.5, with the learning rate 4.5, m 6.5 u. Where the CPU has no fused multiply-add both
sums run in float64 and are rounded once: 1 u. Root and quotient are the correctly rounded ones of the CPU.
"""

from __future__ import annotations

from collections.abc import Callable

from .simd import FUSED, Emitter, Value
from .wide import double, finite_or_zero, halves, single

Update = Callable[..., tuple[Value, ...]]


def sgd(e: Emitter, lr: Value, *_: Value) -> Update:
    """theta <- theta - lr g."""
    minus_lr = e.splat(0.0 - lr)
    return lambda theta, g: (e.fma(minus_lr, g, theta),)


def momentum(e: Emitter, lr: Value, gamma: Value, *_: Value) -> Update:
    """v <- gamma v + g;  theta <- theta - lr v."""
    minus_lr, gamma = e.splat(0.0 - lr), e.splat(gamma)

    def update(theta: Value, g: Value, v: Value) -> tuple[Value, ...]:
        v = e.fma(gamma, v, g)
        return e.fma(minus_lr, v, theta), v

    return update


def nesterov(e: Emitter, lr: Value, gamma: Value, *_: Value) -> Update:
    """v <- gamma v + g;  theta <- theta - lr (gamma v + g)."""
    minus_lr, gamma = e.splat(0.0 - lr), e.splat(gamma)

    def update(theta: Value, g: Value, v: Value) -> tuple[Value, ...]:
        v = e.fma(gamma, v, g)
        return e.fma(minus_lr, e.fma(gamma, v, g), theta), v

    return update


def rmsprop(e: Emitter, lr: Value, gamma: Value, rho: Value, epsilon: Value) -> Update:
    """v <- rho v + (1 - rho) g^2;  m <- gamma m + lr / sqrt(v + epsilon) g;  theta <- theta - m."""
    mean_square, decayed = average_of_squares(e, rho), decay(e, gamma)
    lr, epsilon = e.splat(lr), e.splat(epsilon)

    def update(theta: Value, g: Value, v: Value, m: Value) -> tuple[Value, ...]:
        v = mean_square(v, g)
        m = decayed(m, lr / e.sqrt(v + epsilon), g)
        return theta - m, v, m

    return update


def adam(e: Emitter, step: Value, beta1: Value, beta2: Value, epsilon: Value) -> Update:
    """m <- beta1 m + (1 - beta1) g;  v <- beta2 v + (1 - beta2) g^2;  theta <- theta - step m / (sqrt(v) + epsilon).

    `step` is the learning rate times the bias correction.
    """
    mean, mean_square = average(e, beta1), average_of_squares(e, beta2)
    minus_step, epsilon = e.splat(0.0 - step), e.splat(epsilon)

    def update(theta: Value, g: Value, m: Value, v: Value) -> tuple[Value, ...]:
        m, v = mean(m, g), mean_square(v, g)
        rate = minus_step / (e.sqrt(v) + epsilon)  # not m / ...: to divide a subnormal number takes twice as long,
        return e.fma(rate, m, theta), m, v  # and where a gradient stays 0, m is one after 800 steps

    return update


def nadam(e: Emitter, step: Value, beta1: Value, beta2: Value, epsilon: Value) -> Update:
    """As adam, with beta1 m + (1 - beta1) g, of the new m, in place of m in the step."""
    mean, mean_square = average(e, beta1), average_of_squares(e, beta2)
    minus_step, epsilon = e.splat(0.0 - step), e.splat(epsilon)

    def update(theta: Value, g: Value, m: Value, v: Value) -> tuple[Value, ...]:
        m, v = mean(m, g), mean_square(v, g)
        return e.fma(minus_step / (e.sqrt(v) + epsilon), mean(m, g), theta), m, v

    return update


RULES = (sgd, momentum, nesterov, rmsprop, adam, nadam)

# The low parts alone may not make a NaN of an infinity (0 times infinity), hence `finite_or_zero`.


def average(e: Emitter, beta: Value) -> Callable[[Value, Value], Value]:
    """Return (m, g) -> beta m + (1 - beta) g."""
    if not FUSED:
        b, c = e.fill(beta), e.fill(1.0 - beta)
        return lambda m, g: single(e, b * double(e, m) + c * double(e, g))
    (b, b_low), (c, c_low) = halves(e, beta), halves(e, 1.0 - beta)
    return lambda m, g: e.fma(b, m, e.fma(c, g, finite_or_zero(e, e.fma(b_low, m, c_low * g))))


def average_of_squares(e: Emitter, beta: Value) -> Callable[[Value, Value], Value]:
    """Return (v, g) -> beta v + (1 - beta) g^2; g^2 alone, which may be too large for a float32, is not computed."""
    if not FUSED:
        b, c = e.fill(beta), e.fill(1.0 - beta)
        return lambda v, g: single(e, b * double(e, v) + c * (double(e, g) * double(e, g)))
    (b, b_low), (c, c_low) = halves(e, beta), halves(e, 1.0 - beta)
    return lambda v, g: e.fma(c * g, g, e.fma(b, v, finite_or_zero(e, e.fma(c_low * g, g, b_low * v))))


def decay(e: Emitter, gamma: Value) -> Callable[[Value, Value, Value], Value]:
    """Return (m, a, g) -> gamma m + a g."""
    if not FUSED:
        wide = e.fill(gamma)
        return lambda m, a, g: single(e, wide * double(e, m) + double(e, a) * double(e, g))
    high, low = halves(e, gamma)
    return lambda m, a, g: e.fma(high, m, e.fma(a, g, finite_or_zero(e, low * m)))

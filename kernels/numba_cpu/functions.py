"""Transcendental functions on vectors of float64: what activations and losses of float32 are computed with.

A function of a float32 computed here and rounded once is off by half an ulp and a thousandth. The argument of an
exponential is taken as n log 2 + r, |r| <= log(2) / 2; then e^z = 2^n e^r, where e^r is its Taylor polynomial and 2^n
is written into the exponent bits.
"""

from __future__ import annotations

from math import factorial, log

from llvmlite import ir

from .simd import Emitter, Value
from .wide import F64, I64, bits, doubles

# log(2) in two parts, the first of them with so many zeros at its end that its product with a small integer is exact.
_LOG2_HIGH = float.fromhex("0x1.62e42fee00000p-1")
_LOG2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
_PER_LOG2 = 1 / log(2)
_TO_INTEGER = 1.5 * 2.0**52  # adding it leaves no bits for a fraction: it rounds to an integer, found in the low bits
_EXACT = 13  # degree: 1/14! r^14 is below the rounding error of a float64
_SHORT = 9  # and r^9 / 10! is 2^-35: enough for a function that is rounded to float32
_LEAST = -708.0  # of exponents: below, e^z is no longer a normal number

# Phi(-a) = e^(-a^2/2) P(t) / (a + 5) with t = (a - 5) / (a + 5), P of degree 11 through the Chebyshev points of a in
# [0, 15]; relative error 1e-10. Made by Chebyshev.interpolate of 0.5 erfcx(a / sqrt(2)) (a + 5).
_SHIFT = 5.0
_NORMAL = (
    0.7691930497100415, -0.6653825019029724, 0.49530562048589005, -0.3135332072305657, 0.16502026670175513,
    -0.06911793682268534, 0.02079609180103851, -0.0029972884195873777, -0.000803541202360935, 0.0005539788214494754,
    -4.3862345458041074e-05, -5.541945998338896e-05,
)  # fmt: skip


def exp(e: Emitter, z: Value) -> Value:
    """Return e^z for z <= 0 within 2 ulp, NaN of NaN; below -708, e^-708, which is 0 for all sums and for float32."""
    return _exp(e, z, _EXACT)


def _exp(e: Emitter, z: Value, degree: int) -> Value:
    two_to_n, r, p = _exp_parts(e, clamp_below(e, z, _LEAST), degree)
    return e.fma(two_to_n, e.fma(r * r, p, r), two_to_n)


def tanh(e: Emitter, x: Value) -> Value:
    """Return tanh(x): with k = e^(-2 |x|) - 1 it is -k / (k + 2), and k = 2^n (e^r - 1) + (2^n - 1) does not cancel."""
    z = clamp_below(e, magnitude(e, x) * -2.0, -80.0)  # there tanh is 1
    two_to_n, r, p = _exp_parts(e, z, _SHORT)
    k = e.fma(two_to_n, e.fma(r * r, p, r), two_to_n - 1.0)
    return with_sign(e, (0.0 - k) / (k + 2.0), x)


def normal(e: Emitter, x: Value) -> tuple[Value, Value]:
    """Return Phi(x), the normal distribution, for the precision of a float32, and e^(-x^2/2)."""
    a = magnitude(e, x)
    far = a > 37.0  # there both are 0
    a = e.where(far, doubles(e, 37.0), a)
    bell = e.where(far, doubles(e, 0.0), _exp(e, a * a * -0.5, _SHORT))
    per = 1.0 / (a + _SHIFT)
    below = bell * per * polynomial(e, (a - _SHIFT) * per, _NORMAL)  # Phi(-a); no difference of near numbers
    return e.where(x > 0.0, 1.0 - below, below), bell


def _exp_parts(e: Emitter, z: Value, degree: int) -> tuple[Value, Value, Value]:
    """Return 2^n, r and p with z = n log 2 + r and e^r = 1 + r + r^2 p."""
    shifted = e.fma(z, doubles(e, _PER_LOG2), doubles(e, _TO_INTEGER))
    n = shifted - _TO_INTEGER
    r = e.fma(n, doubles(e, -_LOG2_LOW), e.fma(n, doubles(e, -_LOG2_HIGH), z))
    exponent = bits(e, shifted, I64) + 1023
    two_to_n = Value(e, e.b.bitcast(e.b.shl(exponent.v, ir.Constant(I64, [52] * I64.count)), F64))
    return two_to_n, r, polynomial(e, r, tuple(1 / factorial(k) for k in range(2, degree + 1)))


def polynomial(e: Emitter, x: Value, coefficients: tuple[float, ...]) -> Value:
    """Return c_0 + c_1 x + c_2 x^2 + ... by Horner's rule."""
    value = doubles(e, coefficients[-1])
    for c in coefficients[-2::-1]:
        value = e.fma(value, x, doubles(e, c))
    return value


def clamp_below(e: Emitter, z: Value, least: float) -> Value:
    return e.where(z < least, doubles(e, least), z)  # NaN goes by


def magnitude(e: Emitter, x: Value) -> Value:
    """Return |x|."""
    return bits(e, bits(e, x, I64) & (2**63 - 1), F64)


def with_sign(e: Emitter, size: Value, x: Value) -> Value:
    """Return a number that is not negative with the sign of x."""
    sign = bits(e, x, I64) & -(2**63)
    return bits(e, bits(e, size, I64) | sign, F64)

"""What rules compute from scalars alone: in double precision, once per step, the same for every backend."""

from math import expm1, log, sqrt


def bias_correction(t: int, beta1: float, beta2: float) -> float:
    r"""Return Adam's :math:`b_{t+1} = \frac{\sqrt{1 - \beta_2^{t+1}}}{1 - \beta_1^{t+1}}` to a few ulp.

    >>> bias_correction(1, beta1=0.5, beta2=0.0)
    1.3333333333333333
    """
    return sqrt(_one_minus_power(beta2, t + 1)) / _one_minus_power(beta1, t + 1)


def _one_minus_power(beta: float, n: int) -> float:
    """1 - beta^n; the power rounded to a double first would lose five digits of it at beta = 1 - 1e-6 and n = 2."""
    return -expm1(n * log(beta)) if beta > 0 else 1.0

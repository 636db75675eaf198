r"""What roundings are relative to: the sum of the absolute terms of an equation.

Where a sum cancels, no arithmetic gives a result that is exact relative to the result itself; a good kernel is exact
relative to the sum of the absolute values of what is added (Higham, "Accuracy and Stability of Numerical Algorithms",
chapter 4). `magnitudes` evaluates the equations of a docstring that way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refplay.verify.equations import Equations

Pair = tuple[Any, Any]  # a value, and the sum of its absolute terms


def magnitudes(
    equations: Equations, theta: NDArray, g: NDArray, state: Mapping[str, NDArray], t: NDArray | int,
    dtype: str = "float64", **hyperparameters: Any,
) -> dict[str, NDArray]:  # fmt: skip
    r"""Return, for theta and each part of the state at t+1, the sum of the absolute terms of its equation, in float64.

    Sums of scalars alone (:math:`1 - \beta_1`), and what is under a root or a fraction bar, count as they are: kernels
    compute the first in double precision, and the second are sums of what is not negative. A computed number below the
    smallest normal number of `dtype` counts as that number, for its roundings are as large.

    Parameters
    ----------
    equations : Equations
        Of an update rule; without cases.
    theta, g, state, t, **hyperparameters
        As `Equations.step` takes them. Arrays of all steps of a run at once are fine, ``t`` and ``lr`` with them as
        long as they broadcast.
    dtype : str
        What the kernel computed with.

    >>> from refplay.verify.equations import equations
    >>> one = np.ones(1)
    >>> magnitudes(equations("momentum"), one, -one, {"v": one}, 0, lr=0.5, momentum=0.75)  # v = 0.75 * 1 - 1
    {'v': array([1.75]), 'theta': array([1.875])}
    """
    tiny = float(np.finfo(dtype).tiny)
    known: dict[str, Pair] = {"t": (t, t)}
    for argument, value in hyperparameters.items():
        known[equations.symbols[argument]] = value, np.abs(value)
    inputs = {equations.symbols["theta"]: theta, equations.symbols["g"]: g}
    inputs |= {f"{name}_{{t}}": value for name, value in state.items()}
    known |= {name: (np.asarray(x, np.float64), np.abs(np.asarray(x, np.float64))) for name, x in inputs.items()}
    vectors = set(inputs)
    for equation in equations.equations:
        if equation.target.endswith("_{0}"):
            continue
        expression = equation.branches[0].value
        value, size = _walk(expression, known, vectors)
        if vectors & {symbol.name for symbol in expression.free_symbols}:
            vectors.add(equation.target)
            size = np.maximum(size, tiny)
        known[equation.target] = value, size
    return {name: known[f"{name}_{{t + 1}}"][1] for name in (*equations.state, "theta")}


def _walk(e: Any, known: Mapping[str, Pair], vectors: set[str]) -> Pair:
    if e.is_Symbol:
        return known[e.name]
    if e.is_Number:
        return float(e), abs(float(e))
    parts = [_walk(part, known, vectors) for part in e.args]
    values = [value for value, _ in parts]
    if e.is_Add or e.is_Mul:
        combine = np.add if e.is_Add else np.multiply
        value, size = values[0], parts[0][1]
        for next_value, next_size in parts[1:]:
            value, size = combine(value, next_value), combine(size, next_size)
    elif e.is_Pow:
        value = np.power(np.asarray(values[0], np.float64), values[1])
        size = parts[0][1] ** values[1] if e.exp.is_Integer and e.exp > 0 else np.abs(value)
    else:
        raise TypeError(f"no rounding bound for {e.func}")
    scalar = not vectors & {symbol.name for symbol in e.free_symbols}
    return value, np.abs(value) if scalar else size

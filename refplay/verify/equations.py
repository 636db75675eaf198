r"""The equation in the docstring is the specification: here it is read, and executed with 50 digits.

`equations` takes an update rule, a schedule, clipping: anything with its mathematics in its docstring. Nothing about a
rule is written here a second time: not the equations, not the order, not the initial values, and not which symbol
belongs to which argument, for that too is in the docstring (under Parameters).

>>> adam = equations("adam")
>>> print(adam.latex[-1])
\theta_{t+1} = \theta_t - \alpha_t \frac{m_{t+1}}{\sqrt{v_{t+1}} + \epsilon} b_{t+1}
>>> theta, state = adam.step(1, -0.5, adam.initial(), 0, lr=0.1, beta1=0.9, beta2=0.999, epsilon=0)
>>> float(theta)
1.1
>>> sorted(state)
['m', 'v']
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

from refplay.errors import InputError
from refplay.optim import RULES, SCHEDULES, Rule
from refplay.verify.latex import Equation, EquationError, read_equations, read_symbols

DIGITS = 50


class Equations(NamedTuple):
    """The equations of one docstring as a program, in their order."""

    name: str
    equations: tuple[Equation, ...]
    symbols: Mapping[str, str]  # argument -> symbol, as SymPy writes it

    @property
    def latex(self) -> tuple[str, ...]:
        """What was read."""
        return tuple(equation.latex for equation in self.equations)

    @property
    def state(self) -> tuple[str, ...]:
        """The names of what the equations carry from step to step beside theta: what is read at t and defined at t+1.

        >>> equations("rmsprop").state, equations("sgd").state
        (('v', 'm'), ())
        """
        defined = (equation.target.removesuffix("_{t + 1}") for equation in self.equations
                   if equation.target.endswith("_{t + 1}"))
        read = {name for equation in self.equations for name in _names(equation)}
        return tuple(name for name in defined if name != "theta" and f"{name}_{{t}}" in read)

    def initial(self) -> dict[str, Any]:
        """Return the state before the first step: every equation for a symbol of index 0, as mpf.

        >>> equations("rmsprop").initial()
        {'v': mpf('1.0'), 'm': mpf('0.0')}
        """
        return {name.removesuffix("_{0}"): value for name, value in self._run({}, initial=True).items()}

    def step(self, theta: Any, g: Any, state: Mapping[str, Any], t: int, **hyperparameters: float) -> tuple[Any, dict]:
        r"""Take one step of an update rule.

        Parameters
        ----------
        theta, g : number, or sequence of P numbers
            :math:`\theta_t` and :math:`g_t`. Floats of any width are taken for exactly what they are.
        state : mapping of name to number or sequence of P numbers
            The state at t; see `initial`.
        t : int
            The index of the step, 0 first.
        **hyperparameters : number
            ``lr`` and the others under the rule's own names. There are no defaults.

        Returns
        -------
        theta, state
            At t+1, as mpf, or lists of P mpf.

        Raises
        ------
        EquationError
            A hyperparameter, or a part of the state, that the equations need is missing; or the root of a negative.
        ZeroDivisionError
            As for Adam at epsilon 0, where no gradient but zero has been.
        """
        values = {"t": t} | {f"{name}_{{t}}": value for name, value in state.items()}
        values |= self._symbolic({"theta": theta, "g": g} | hyperparameters)
        after = self._run(values)
        missing = {"theta", *self.state} - {name.removesuffix("_{t + 1}") for name in after}
        if missing:
            raise EquationError(f"{self.name}: nothing defines {', '.join(sorted(missing))} at t + 1")
        return after["theta_{t + 1}"], {name: after[f"{name}_{{t + 1}}"] for name in self.state}

    def evaluate(self, *, t: int | None = None, **arguments: Any) -> dict[str, Any]:
        r"""Run all equations but initial values; return what each defines, under the name that SymPy gives it.

        Arguments go by their names in the docstring. A sequence whose symbol has an index (:math:`s_k`) is looked up
        by index, from 1 to the capital letter of the index (:math:`K`); with any other sequence an equation holds
        element by element. A function (:math:`h`) is called.

        >>> out = equations("cosine").evaluate(t=25, base=0.8, decay_steps=100, end_factor=0.25)
        >>> float(out["eta_{t}"])
        0.7121320343559643
        >>> out = equations("clip_by_norm").evaluate(g=[3, -4], threshold=2.5)
        >>> float(out["n"]), [float(x) for x in out["g'"]]
        (5.0, [1.5, -2.0])
        """
        return self._run(self._symbolic(arguments) | ({} if t is None else {"t": t}))

    def _symbolic(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        unknown = arguments.keys() - self.symbols.keys()
        if unknown:
            raise EquationError(f"{self.name}: the docstring gives {', '.join(sorted(unknown))} no symbol")
        return {self.symbols[name]: value for name, value in arguments.items()}

    def _run(self, given: Mapping[str, Any], initial: bool = False) -> dict[str, Any]:
        from mpmath import mpc, workdps

        with workdps(DIGITS):
            values, index = _bind(given)
            defined = {}
            for equation in self.equations:
                if equation.target.endswith("_{0}") == initial:
                    value = _value(equation, values, index)
                    elements = value if isinstance(value, list) else [value]
                    if any(isinstance(x, mpc) for x in elements):
                        raise EquationError(f"{equation.latex!r} has no real value")
                    value = value if isinstance(value, list) else _exact(value)  # a bare 0 comes as an int
                    defined[equation.target] = values[_at(equation.target, index)] = value
        return defined


def equations(of: str | Rule | Callable[..., Any]) -> Equations:
    """Return the equations of a rule, a schedule or any function with LaTeX in its docstring.

    Parameters
    ----------
    of : str, Rule or function
        A name of `refplay.optim.RULES` or `SCHEDULES`, ``"with_warmup"`` or ``"clip_by_norm"``; or a rule or function.

    Raises
    ------
    InputError
        A name that there is not; SymPy or its parser is not installed.
    EquationError
        No equation in the docstring, or one that cannot be read.
    """
    named = _table()
    if isinstance(of, str) and of not in named:
        raise InputError(f"no equations called {of!r}; there are {', '.join(named)}")
    source = named[of] if isinstance(of, str) else of
    function = source.update if isinstance(source, Rule) else source
    return from_docstring(function.__name__, function.__doc__ or "")


def from_docstring(name: str, docstring: str) -> Equations:
    """Return the equations of a docstring; see `equations`."""
    found = read_equations(docstring)
    if not found:
        raise EquationError(f"{name}: no equation in the docstring")
    return Equations(name, found, read_symbols(docstring))


def _table() -> dict[str, Rule | Callable[..., Any]]:
    from refplay.optim import clip_by_norm, with_warmup

    return {**RULES, **SCHEDULES, "with_warmup": with_warmup, "clip_by_norm": clip_by_norm}


# Evaluation. Values are kept under SymPy's names of their symbols; `index` tells what k and K are, if anything.


def _bind(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, int]]:
    """Return exact values of all symbols, and the lengths (K) of sequences that are looked up by index."""
    values: dict[str, Any] = {}
    index: dict[str, int] = {}
    for name, value in given.items():
        if not isinstance(value, Iterable):
            values[name] = value if callable(value) else _exact(value)
            continue
        elements = [_exact(x) for x in value]
        indexed = re.fullmatch(r"(.+)_\{([a-su-z])\}", name)  # t is the step, not an index of a sequence
        if indexed:
            values |= {f"{indexed[1]}_{{{i}}}": x for i, x in enumerate(elements, start=1)}
            index[indexed[2].upper()] = len(elements)
        else:
            values[name] = elements
    return values, index


def _exact(value: Any) -> Any:
    from mpmath import mpf

    return value if isinstance(value, mpf) else mpf(float(value)) if not isinstance(value, int) else mpf(value)


def _at(name: str, index: Mapping[str, int]) -> str:
    """Return the name with its index worked out: s_{k + 1} is s_{3} where k is 2."""
    parts = re.fullmatch(r"(.+)_\{([A-Za-z])( [+-] \d+)?\}", name)
    if parts and parts[2] in index:
        return f"{parts[1]}_{{{index[parts[2]] + int((parts[3] or '0').replace(' ', ''))}}}"
    return name


def _value(equation: Equation, values: Mapping[str, Any], index: Mapping[str, int]) -> Any:
    if not equation.branches[0].conditions:
        return _evaluate(equation, equation.branches[0].value, values, index)
    holding = []
    for value, conditions in equation.branches:
        names = {symbol.name for part in (value, *conditions) for symbol in part.free_symbols}
        for here in _indices(names, index):
            if all(_evaluate(equation, condition, values, here) for condition in conditions):
                holding.append((value, here))
    if len(holding) != 1:
        raise EquationError(f"{len(holding)} cases of {equation.latex!r} hold at once; it must be one")
    [(value, here)] = holding
    return _evaluate(equation, value, values, here)


def _indices(names: set[str], index: Mapping[str, int]) -> Iterable[Mapping[str, int]]:
    """Yield the index as it is; or, for a branch with a free k, with every k from 1 to K."""
    for capital, length in index.items():
        if any(re.search(rf"_\{{{capital.lower()}\b", name) for name in names):
            return [{**index, capital.lower(): i} for i in range(1, length + 1)]
    return [index]


def _evaluate(equation: Equation, expression: Any, values: Mapping[str, Any], index: Mapping[str, int]) -> Any:
    code = _compile(expression)
    arguments = [values.get(_at(name, index)) for name in code.names]
    for name, argument in zip(code.names, arguments, strict=True):
        if argument is None:
            raise EquationError(f"{equation.latex!r} needs {name}, which nothing before it defines")
    sums = [_total(equation, total, values, index) for total in code.sums]
    if not any(isinstance(argument, list) for argument in arguments):
        return code.function(*arguments, *sums)
    length = max(len(argument) for argument in arguments if isinstance(argument, list))
    columns = [a if isinstance(a, list) else [a] * length for a in (*arguments, *sums)]
    return [code.function(*row) for row in zip(*columns, strict=True)]


def _total(equation: Equation, total: Any, values: Mapping[str, Any], index: Mapping[str, int]) -> Any:
    """Return a sum over the elements of sequences: in the sum over i, g_i is an element of g."""
    body, (counter, first, last) = total.args
    suffix = f"_{{{counter}}}"
    vectors = {name: values.get(name.removesuffix(suffix)) for name in _compile(body).names if name.endswith(suffix)}
    if not vectors or not all(isinstance(vector, list) for vector in vectors.values()):
        raise EquationError(f"{equation.latex!r} sums over no sequence")
    length = {len(vector) for vector in vectors.values() if vector is not None}.pop()
    stop = int(last) if last.is_Integer else length  # P in float[P]
    elements = ({**values, **{name: v[i - 1] for name, v in vectors.items() if v}} for i in range(int(first), stop + 1))
    return sum(_evaluate(equation, body, element, index) for element in elements)


class Code(NamedTuple):
    """A compiled expression: its function of the values of `names`, then of `sums`."""

    names: tuple[str, ...]
    sums: tuple[Any, ...]
    function: Callable[..., Any]


@cache
def _compile(expression: Any) -> Code:
    import sympy
    from sympy.core.function import AppliedUndef

    sums = tuple(expression.atoms(sympy.Sum))
    holes = [sympy.Dummy() for _ in sums]
    flat = expression.xreplace(dict(zip(sums, holes, strict=True)))
    functions = {call.func.__name__ for call in flat.atoms(AppliedUndef)} - {"min", "max"}
    for name in functions:
        if not name.isidentifier():  # what the parser makes of a product without \cdot before the parenthesis
            raise EquationError(f"{name} is applied like a function in {expression}; write \\cdot for a product")
    names = sorted({symbol.name for symbol in flat.free_symbols - set(holes)} | functions)
    arguments = [*(sympy.Symbol(name) for name in names), *holes]
    try:
        function = sympy.lambdify(arguments, flat, modules=[{"min": min, "max": max}, "mpmath"])
    except NotImplementedError:
        raise EquationError(f"{expression} holds what cannot be evaluated") from None
    return Code(tuple(names), sums, function)


def _names(equation: Equation) -> set[str]:
    parts = (part for branch in equation.branches for part in (branch.value, *branch.conditions))
    return {name for part in parts for name in _compile(part).names}

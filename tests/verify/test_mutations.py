r"""Every operator of every equation is changed once, and every change is noticed.

Changed are the equations as they stand in the docstrings, in their LaTeX: signs, products (written out or by
juxtaposition), fractions, powers, roots, functions, comparisons, numbers, and the subscripts t and t+1. What compares
is what compares kernels with equations elsewhere. None of the changes leaves the mathematics as it is: where cases meet
(t < W and t >= W) a change of the comparison makes both hold or none, and the reader refuses that.
"""

import re
from collections import Counter
from functools import partial

import numpy as np
import pytest
from mpmath import mpf, workdps

from refplay.kernels import load
from refplay.optim import RULES, SCHEDULES, clip_by_norm, linear, with_warmup
from refplay.verify.equations import equations, from_docstring
from refplay.verify.latex import EquationError, read_equation

NAMES = [*RULES, *SCHEDULES, "with_warmup", "clip_by_norm"]
HYPERPARAMETERS = {
    "sgd": {},
    "momentum": {"momentum": 0.7},
    "nesterov": {"momentum": 0.7},
    "rmsprop": {"momentum": 0.7, "rho": 0.8, "epsilon": 0.1},
    "adam": {"beta1": 0.7, "beta2": 0.8, "epsilon": 0.1},
    "nadam": {"beta1": 0.7, "beta2": 0.8, "epsilon": 0.1},
}
ARGUMENTS = {
    "constant": {"base": 0.3},
    "linear": {"base": 0.3, "decay_steps": 9, "end_factor": 0.15},
    "cosine": {"base": 0.3, "decay_steps": 9, "end_factor": 0.15},
    "exponential": {"base": 0.3, "decay_steps": 9, "end_factor": 0.15},
    "inverse_sqrt": {"base": 0.3, "timescale": 5},
    "piecewise": {"base": 0.3, "boundaries": [3, 5, 11], "factors": [0.7, 0.2, 0.4]},
}
# Changes. Each function yields the changed LaTeX.

SWAPS = {
    "+": ["-"], "-": ["+"], r"\cdot": ["+", "/"],
    r"\cos": [r"\sin"], r"\min": [r"\max"], r"\sum": [r"\prod"], r"\sqrt": [r"\sqrt[1]", r"\sqrt[3]"],
    "<": [r"\le", r"\ge"], r"\le": ["<", ">"], ">": [r"\ge", "<"], r"\ge": [">", r"\le"],
    "0": ["1"], "1": ["2"], "2": ["3"], r"\pi": ["1"], r"\infty": ["0"],
    "_t": ["_{t+1}"], "_{t+1}": ["_t"], "_k": ["_{k+1}"], "_{k+1}": ["_k"], "_i": ["_{i+1}"],
    "^2": ["", "^3"], "^{t+1}": ["", "^t"], r"^{\min(\frac{t}{T}, 1)}": [""],
}  # fmt: skip
TOKEN = re.compile(r"_\{\w\+1\}|_[tki]|\^2|\^\{t\+1\}|\^\{\\min[^}]*\}\{T\}, 1\)\}|\\[a-zA-Z]+|.")
OPERATORS = {"+", "-", "=", "<", ">", "&", ",", r"\cdot", r"\le", r"\ge", r"\\", "_", "^"}


def swapped(latex):
    for token in tokens(latex):
        gap = " " * latex[token.end() : token.end() + 1].isalnum()
        for other in SWAPS.get(token[0], []):
            yield latex[: token.start()] + other + gap + latex[token.end() :]


def tokens(latex):
    """Yield what stands for an operator; a subscript or a power is one, and so is each operator within a power."""
    i = 0
    while i < len(latex):
        token = TOKEN.match(latex, i)
        yield token
        i = i + 1 if token[0].startswith("^") else token.end()


def inverted(latex):
    """Turn each fraction upside down."""
    for start in (found.end() for found in re.finditer(r"\\frac(?=\{)", latex)):
        middle = closing(latex, start)
        end = closing(latex, middle)
        yield latex[:start] + latex[middle:end] + latex[start:middle] + latex[end:]


def parted(latex):
    """Put an operator between factors that stand side by side."""
    for i in juxtaposed(latex, 0, len(latex)):
        for operator in "+/":
            yield f"{latex[:i]}{operator} {latex[i:]}"


def juxtaposed(latex, i, end):
    """Yield where a factor follows upon a factor, in groups too."""
    after_factor = False
    while i < end:
        word = re.compile(r"\\\\|\\[a-zA-Z]+|\d+|\s+|.").match(latex, i)[0]
        start, i = i, i + len(word)
        if word.isspace() or word in (r"\begin", r"\end"):
            i = closing(latex, i) if word.startswith("\\") else i
            after_factor = after_factor and word.isspace()
            continue
        if word in OPERATORS:
            after_factor = False
            continue
        if after_factor:
            yield start
        if word in "({":
            i = closing(latex, start)
            yield from juxtaposed(latex, start + 1, i - 1)
        while i < end and (latex[i] in "_^'{" or (latex[i] == "(" and word != ")")):
            group = latex[i] in "_^'"
            i += group
            if i < end and latex[i] in "{(":
                inside = i + 1
                i = closing(latex, i)
                yield from juxtaposed(latex, inside, i - 1)
            elif group and latex[i - 1] != "'":
                i += len(re.compile(r"\\[a-zA-Z]+|.").match(latex, i)[0])
        after_factor = word != r"\sum"


def closing(latex, start):
    """Return the end of the group that starts here."""
    pair = {"{": "}", "(": ")"}[latex[start]]
    depth = 0
    for i in range(start, len(latex)):
        depth += (latex[i] == latex[start]) - (latex[i] == pair)
        if depth == 0:
            return i + 1
    raise AssertionError(latex)


def mutants(name):
    """Yield every change of the program: the changed equation, and how to make the changed program."""
    program = equations(name)
    for i, equation in enumerate(program.equations):
        for change in (swapped, inverted, parted):
            for latex in change(equation.latex):
                yield latex, partial(replaced, program, i, latex)


def replaced(program, i, latex):
    changed = [*program.equations]
    changed[i] = read_equation(latex)
    return program._replace(equations=tuple(changed))


# Comparisons: does a program agree with the code?


def agrees_rule(name, program, tools):
    start = RULES[name].init(np.ones(1), load("numpy"))._asdict()
    if {part: float(start[part][0]) for part in start if part != "t"} != program.initial():
        return False
    trace = tools.run(name, "float64", 6, tuple(HYPERPARAMETERS[name].items()))
    if {"theta", *program.state} != set(trace.before):
        return False
    limits = tools.allowed(equations(name), trace, None)
    truth = tools.exact(program, trace)
    error = tools.errors(trace, truth, "numpy")
    return all((error[part] <= limits[part]).all() for part in limits)


def agrees_schedule(name, program, tools):
    if name == "with_warmup":
        after = linear(0.3, decay_steps=9, end_factor=0.15)
        schedule = with_warmup(after, 4, 0.3)
        arguments = {"schedule": lambda t: mpf(after(t)), "warmup_steps": 4, "base": 0.3}
    else:
        schedule, arguments = SCHEDULES[name](**ARGUMENTS[name]), ARGUMENTS[name]
    with workdps(50):
        truth = [program.evaluate(t=t, **arguments).get("eta_{t}", mpf("nan")) for t in range(16)]
        return all(abs(schedule(t) - rate) < 1e-14 for t, rate in enumerate(truth))


def agrees_clipping(name, program, tools):
    for threshold in (0.7, 5.0, 9.0):
        g = np.array([3.0, -4.0, 0.0])
        norm = clip_by_norm(g, threshold, kernels=load("numpy"))
        truth = program.evaluate(g=[3.0, -4.0, 0.0], threshold=threshold)
        if not {"n", "g'"} <= truth.keys() or not isinstance(truth["g'"], list):
            return False
        if abs(truth["n"] - norm) > 1e-14 or max(abs(a - b) for a, b in zip(g, truth["g'"], strict=True)) > 1e-14:
            return False
    return True


def agrees(name, program, tools):
    kind = agrees_rule if name in RULES else agrees_clipping if name == "clip_by_norm" else agrees_schedule
    return kind(name, program, tools)


def fate(name, make, tools):
    """Return what becomes of a change: refused by the reader, no number any more, another number, or unnoticed."""
    try:
        return "unnoticed" if agrees(name, make(), tools) else "caught"
    except EquationError:
        return "refused"
    except ZeroDivisionError:
        return "caught"


@pytest.mark.parametrize("name", NAMES)
def test_every_change_of_every_operator_is_noticed(name, tools):
    assert agrees(name, equations(name), tools)
    fates = [(fate(name, make, tools), latex) for latex, make in mutants(name)]
    tools.mutants.update(Counter(outcome for outcome, _ in fates))  # conftest.py sums them up at the end of the run
    assert not [latex for outcome, latex in fates if outcome == "unnoticed"]


def test_the_changes_of_one_equation_in_full():
    """The machine that finds the operators, against a list by hand."""
    found = [" ".join(latex.split()) for latex, _ in mutants("adam") if re.match(r"m_(t|\{t\+1\}) +=", latex)]
    expected = r"""
        m_t = \beta_1 m_t + (1 - \beta_1) g_t
        m_{t+1} = \beta_2 m_t + (1 - \beta_1) g_t
        m_{t+1} = \beta_1 m_{t+1} + (1 - \beta_1) g_t
        m_{t+1} = \beta_1 m_t - (1 - \beta_1) g_t
        m_{t+1} = \beta_1 m_t + (2 - \beta_1) g_t
        m_{t+1} = \beta_1 m_t + (1 + \beta_1) g_t
        m_{t+1} = \beta_1 m_t + (1 - \beta_2) g_t
        m_{t+1} = \beta_1 m_t + (1 - \beta_1) g_{t+1}
        m_{t+1} = \beta_1 + m_t + (1 - \beta_1) g_t
        m_{t+1} = \beta_1 / m_t + (1 - \beta_1) g_t
        m_{t+1} = \beta_1 m_t + (1 - \beta_1) + g_t
        m_{t+1} = \beta_1 m_t + (1 - \beta_1) / g_t
    """
    assert sorted(found) == sorted(line.strip() for line in expected.strip().splitlines())


@pytest.mark.parametrize("name", RULES)
def test_one_sign_in_one_docstring(name, tools):
    """The same from the text of the docstring on: theta_t + ... in place of theta_t - ..."""
    doc = RULES[name].update.__doc__
    assert doc.count(r"= \theta_t - ") == 1
    assert not agrees(name, from_docstring(name, doc.replace(r"= \theta_t - ", r"= \theta_t + ")), tools)


@pytest.mark.parametrize("name", RULES)
def test_a_kernel_with_one_sign_changed_is_noticed(name, tools, monkeypatch):
    """The other way round: the docstring as it is, and a kernel that goes uphill."""
    trace = tools.run(name, "float64", 6, tuple(HYPERPARAMETERS[name].items()))
    uphill = {"numpy": trace.after["numpy"] | {"theta": 2 * trace.before["theta"] - trace.after["numpy"]["theta"]}}
    program = equations(name)
    error = tools.errors(trace._replace(after=uphill), tools.exact(program, trace), "numpy")["theta"]
    assert (error > tools.allowed(program, trace, None)["theta"]).any()

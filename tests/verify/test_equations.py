"""Every kernel of every rule, step by step, against the equations in the rule's docstring run with 50 digits."""

import subprocess
import sys

import numpy as np
import pytest

from refplay.errors import InputError
from refplay.kernels import load
from refplay.kernels.numpy_ref import optim as reference_kernels
from refplay.optim import RULES
from refplay.verify.equations import equations, from_docstring
from refplay.verify.latex import EquationError

STEPS = 1000
ADAM = [
    {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},  # the defaults
    {"beta1": 0.0, "beta2": 0.99, "epsilon": 1e-3},
    {"beta1": 0.9, "beta2": 0.0, "epsilon": 1e-8},
    {"beta1": 0.99, "beta2": 0.999999, "epsilon": 1e-8},
    {"beta1": 0.999999, "beta2": 0.9999, "epsilon": 1e4},
]
CORNERS = {
    "sgd": [{}],
    "momentum": [{"momentum": 0.9}, {"momentum": 0.0}, {"momentum": 0.99}],
    "nesterov": [{"momentum": 0.9}, {"momentum": 0.0}, {"momentum": 0.99}],
    "rmsprop": [
        {"momentum": 0.9, "rho": 0.95, "epsilon": 1e-10},
        {"momentum": 0.0, "rho": 0.0, "epsilon": 0.1},
        {"momentum": 0.99, "rho": 0.999999, "epsilon": 1e-3},
        {"momentum": 0.5, "rho": 0.9, "epsilon": 1e4},
    ],
    "adam": ADAM,
    "nadam": ADAM,
}
CASES = [pytest.param(name, dtype, corner, id="-".join([name, dtype, *(f"{k}={v:g}" for k, v in corner.items())]))
         for name, corners in CORNERS.items() for corner in corners for dtype in ("float32", "float64")]  # fmt: skip


@pytest.mark.parametrize(("name", "dtype", "corner"), CASES)
def test_every_step_of_every_kernel_is_the_equation(name, dtype, corner, tools):
    """From one state, all backends: 1e-13 in float64; 4 ulp of the update in float32 (`allowed` in conftest.py)."""
    program = equations(name)
    trace = tools.run(name, dtype, STEPS, tuple(corner.items()))
    assert all(np.isfinite(values).all() for values in trace.before.values())  # nothing overflowed: all of it counts
    truth = tools.exact(program, trace)
    limits = tools.allowed(program, trace, truth)
    for backend in trace.after:
        for part, error in tools.errors(trace, truth, backend).items():
            t, column = np.unravel_index(np.argmax(error / limits[part]), error.shape)
            assert (error <= limits[part]).all(), (
                f"{backend}, {part}, {(error > limits[part]).sum()} of {error.size}; the worst at step {t} of "
                f"{trace.families[column]}: {error[t, column]} of {limits[part][t, column]}")  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_the_courses_move_theta_and_every_part_of_the_state(name, tools):
    """What the test above compares is not all zeros: of the families, only that of zero gradients stands still.

    And the second moment of denormal gradients: their squares are below all numbers of the dtype.
    """
    corner = tuple(CORNERS[name][0].items())
    trace = tools.run(name, "float32", STEPS, corner)
    for part, before in trace.before.items():
        moved = (trace.after["numpy"][part] != before).any(axis=0)
        still = {family for family, moves in zip(trace.families, moved, strict=True) if not moves}
        assert still <= {"zero", "denormal" if part == "v" else "zero"}


@pytest.mark.parametrize("name", RULES)
def test_the_state_before_the_first_step_is_that_of_the_docstring(name):
    for backend in ("numpy", "numba"):
        kernels = load(backend)
        state = RULES[name].init(kernels.asarray(np.full(3, 1.7)), kernels)._asdict()
        assert state.pop("t", 0) == 0
        found = {part: kernels.to_host(values).tolist() for part, values in state.items()}
        assert found == {part: [value] * 3 for part, value in equations(name).initial().items()}


@pytest.mark.parametrize("name", RULES)
def test_the_docstring_of_the_kernel_says_the_same(name):
    """The reference kernels state their equations too, in the playbook's own words for the gradient, without v_0."""
    kernel = from_docstring(name, getattr(reference_kernels, name).__doc__)
    rule = [e for e in equations(name).equations if not e.target.endswith("_{0}")]
    assert [(e.target, e.branches) for e in kernel.equations] == [(e.target, e.branches) for e in rule]


def test_an_element_of_a_vector_is_a_number_of_its_own():
    adam, constants = equations("adam"), {"lr": 0.1, "beta1": 0.7, "beta2": 0.8, "epsilon": 0.1}
    theta, g, m, v = [1.0, -2.0], [0.5, 3.0], [0.25, -1.0], [0.5, 4.0]
    both, state = adam.step(theta, g, {"m": m, "v": v}, 3, **constants)
    for i in range(2):
        one, state_of_one = adam.step(theta[i], g[i], {"m": m[i], "v": v[i]}, 3, **constants)
        assert both[i] == one
        assert {name: values[i] for name, values in state.items()} == state_of_one


def test_fifty_digits_are_computed():
    """1/3 + 1e-40: gone in double precision, there with 50 digits."""
    from mpmath import mpf, workdps

    with workdps(60):
        theta, _ = equations("sgd").step(mpf(1) / 3, mpf(1), {}, 0, lr=mpf(10) ** -40)
        assert abs(theta - (mpf(1) / 3 - mpf(10) ** -40)) < mpf(10) ** -50


@pytest.mark.parametrize(("change", "told"), [
    (lambda doc: doc.replace(r"v_{t+1} = \gamma v_t + g_t", r"w_{t+1} = \gamma v_t + g_t"), r"needs v_\{t \+ 1\}"),
    (lambda doc: doc.replace(r"\eta_t v_{t+1}", r"\eta_t (v_{t+1}"), "cannot read"),
    (lambda doc: doc.replace(r"\eta_t v_{t+1}", r"\eta_t v_{t+1})"), "cannot read"),
    (lambda doc: doc.replace(r"\theta_t - \eta_t v_{t+1}", r"\theta_t - \eta_t (1 - v_{t+1})"), "for a product"),
    (lambda doc: doc.replace(":math:`\\gamma`", "gamma"), "no symbol"),
    (lambda doc: doc.replace(".. math::", "::"), "no equation in"),
    (lambda doc: doc.replace(r"\theta_{t+1} = \theta_t", r"\theta_{t+2} = \theta_t"), "nothing defines theta"),
    (lambda doc: doc.replace("v_0 = 0", "2 v_0 = 0"), "does not define one symbol"),
])  # fmt: skip
def test_a_docstring_that_cannot_be_run_is_refused(change, told):
    """The playbook prints Nesterov's last equation without its closing parenthesis: such a slip must not pass."""
    doc = change(RULES["momentum"].update.__doc__)
    with pytest.raises(EquationError, match=told):
        from_docstring("momentum", doc).step(1.0, 2.0, {"v": 0.5}, 0, lr=0.1, momentum=0.9)


def test_an_unknown_name_is_told_with_the_known_ones():
    with pytest.raises(InputError, match=r"no equations called 'adamw'; there are sgd, .*clip_by_norm"):
        equations("adamw")


@pytest.mark.parametrize(("missing", "told"), [("sympy", "needs SymPy"), ("antlr4", "needs antlr4-python3-runtime")])
def test_without_the_extra_one_line_says_what_to_install(missing, told):
    """In a process of its own: SymPy keeps what it has once imported."""
    code = f"import sys; sys.modules[{missing!r}] = None; from refplay.verify.equations import equations as e; e('sgd')"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("refplay.errors.InputError: ")
    assert told in last
    assert "pip install 'refplay[verify]'" in last


@pytest.mark.parametrize("module", ["refplay", "refplay.verify"])
def test_importing_loads_no_extra(module):
    code = f"import sys, {module}; raise SystemExit(bool({{'sympy', 'mpmath', 'antlr4', 'jax'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

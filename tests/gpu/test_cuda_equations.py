"""Every rule on the GPU against the equations in its docstring, run with 50 digits.

As tests/verify/test_equations.py does it for the CPU backends, with its corners, gradients and bounds: 1,000 steps of
each rule, 4 ulp in float32 and 1e-13 in float64. The states that the steps start from are those of the CPU's run. On a
GPU each of them is taken; without one, which is slow, the first six, where bias correction matters, and then every
61st: all families of gradients, all three starts of theta.
"""

import os
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

VERIFY = Path(__file__).parents[1] / "verify"
STEPS = 1000
ON_CPU = "1" in (os.environ.get("NUMBA_ENABLE_CUDASIM"), os.environ.get("REFPLAY_CUDA_ON_CPU"))
CHOSEN = [*range(6), *range(6, STEPS, 61)] if ON_CPU else list(range(STEPS))


def load(name):
    """Return a file of tests/verify as a module; test files cannot import each other otherwise."""
    spec = spec_from_file_location(f"verify_{name}", VERIFY / f"{name}.py")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


conftest, of_the_cpu = load("conftest"), load("test_equations")


def chosen(trace):
    """Return the steps of CHOSEN, without what the CPU made of them."""
    return trace._replace(
        t=CHOSEN, g=trace.g[CHOSEN], lr=[trace.lr[t] for t in CHOSEN],
        before={name: values[CHOSEN] for name, values in trace.before.items()}, after={},
    )  # fmt: skip


def on_the_gpu(gpu, name, trace):
    """Take each step of the trace on the GPU, in a vector that holds the families several times over."""
    rule = conftest.RULES[name]
    taken = []
    for i, (t, lr) in enumerate(zip(trace.t, trace.lr, strict=True)):
        moved = {part: gpu.asarray(np.tile(values[i], conftest.COPIES)) for part, values in trace.before.items()}
        theta, g = moved.pop("theta"), gpu.asarray(np.tile(trace.g[i], conftest.COPIES))
        state = rule.init(theta, gpu)
        state = state._replace(**moved, **({"t": t} if "t" in state._fields else {}))
        state = rule.update(theta, g, state, lr=lr, **trace.hyperparameters, kernels=gpu)
        after = {part: getattr(state, part) for part in moved} | {"theta": theta}
        taken.append({part: gpu.to_host(values) for part, values in after.items()})
    return conftest.narrow(taken)


@pytest.mark.parametrize(("name", "dtype", "corner"), of_the_cpu.CASES)
def test_every_step_of_every_kernel_is_the_equation(gpu, name, dtype, corner):
    program = of_the_cpu.equations(name)
    trace = chosen(conftest.run(name, dtype, STEPS, tuple(corner.items())))
    trace = trace._replace(after={"gpu": on_the_gpu(gpu, name, trace)})
    truth = conftest.exact(program, trace)
    limits = conftest.allowed(program, trace, truth)
    for part, error in conftest.errors(trace, truth, "gpu").items():
        i, column = np.unravel_index(np.argmax(error / limits[part]), error.shape)
        assert (error <= limits[part]).all(), (
            f"{part}, {(error > limits[part]).sum()} of {error.size}; the worst at step {trace.t[i]} of "
            f"{trace.families[column]}: {error[i, column]} of {limits[part][i, column]}")  # fmt: skip


@pytest.mark.parametrize("name", list(of_the_cpu.CORNERS))
def test_the_state_before_the_first_step_is_that_of_the_docstring(gpu, name):
    state = conftest.RULES[name].init(gpu.asarray(np.full(3, 1.7)), gpu)._asdict()
    assert state.pop("t", 0) == 0
    found = {part: gpu.to_host(values).tolist() for part, values in state.items()}
    assert found == {part: [value] * 3 for part, value in of_the_cpu.equations(name).initial().items()}

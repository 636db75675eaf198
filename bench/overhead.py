"""What Python costs around the compiled kernels, where these have next to nothing to do: python bench/overhead.py

1. A training step as it is replayed: an MLP of 8 units, one example, Adam. What is left when its program is taken away
   is Python: pointing it at the batch, the rule's scalars, the check of the labels.
2. Calls of the contract on 16 values: checking the arguments, then writing the instruction down and running it.
3. The same instruction as a `Program` made for one run, and as one that is kept.

On one thread, since a second one would only wait for work.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import perf_counter

import numpy as np

from refplay.kernels import check_vectors, load, recorder
from refplay.kernels.numba_cpu import optim, threads
from refplay.kernels.numba_cpu.program import Program, launch
from refplay.nn import Network, mlp
from refplay.nn.replay import run
from refplay.optim import RULES
from refplay.train.step import record_step

CALLS, ROUNDS = 2000, 15


def microseconds(call: Callable[[], object]) -> float:
    """Return the least of some rounds: what Python takes where nothing disturbs it."""
    call()
    took = []
    for _ in range(ROUNDS):
        start = perf_counter()
        for _ in range(CALLS):
            call()
        took.append((perf_counter() - start) / CALLS)
    return 1e6 * min(took)


def replayed_step() -> None:
    """Time a whole step, and its program alone."""
    kernels = load("numba")
    network = Network(mlp((4,), 3, depth=1, width=8), kernels, seed=0)
    rule = RULES["adam"]
    state, chosen = rule.init(network.theta, kernels), rule.hyperparameters
    recording, loss = record_step(network, "adam", recorder(kernels, "float32"), 1, state, chosen, 0.0, 0)
    recording.point("weights", np.ones(1, np.float32))
    batches = [(np.ones((1, 4), np.float32), np.zeros(1, np.int64)) for _ in range(2)]
    count = 0

    def step() -> float:
        nonlocal state, count
        count += 1
        state = rule.update(network.theta, network.gradient, state, lr=1e-3, **chosen, kernels=recording)
        return run(recording, *batches[count % 2], count - 1, loss)

    whole, program = microseconds(step), microseconds(recording._program.run)
    print(f"a replayed step of {len(recording._program.calls)} instructions: {whole:.1f} us, "
          f"of which its program {program:.1f} us, Python around it {whole - program:.1f} us")


def contract_calls() -> None:
    """Time two rules by the contract, and the parts of such a call."""
    kernels = load("numba")
    theta, g, m, v = (np.zeros(16, np.float32) for _ in range(4))
    adam = (theta, g, m, v, 3, 1e-3, 0.9, 0.999, 1e-8)
    for name, arguments in (("sgd", (theta, g, 1e-3)), ("adam", adam)):
        call, check = getattr(kernels, name), getattr(check_vectors, name)
        whole, checking = microseconds(partial(call, *arguments)), microseconds(partial(check, *arguments))
        print(f"{name} on 16 values by the contract: {whole:.1f} us, of which checking its arguments {checking:.1f} us")
    calls = optim.adam_calls(*adam)
    launched, kept = microseconds(partial(launch, *calls)), microseconds(Program(calls).run)
    made = microseconds(lambda: Program(calls).run())
    print(f"its instruction alone: launched {launched:.1f} us, as a program made for one run {made:.1f} us, as one "
          f"that is kept {kept:.1f} us")


def main() -> None:
    """Run the command."""
    threads.set_threads(1)
    replayed_step()
    contract_calls()


if __name__ == "__main__":
    main()

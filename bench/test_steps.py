"""Times of training steps: python -m pytest bench/test_steps.py. Peers beside them: bench/compare.py."""

import pytest
from training_steps import training_step

CASES = [(model, batch) for model in ("mlp-256", "mlp-1024", "convnet") for batch in (1, 8, 64, 512)]


@pytest.mark.parametrize(("model", "batch"), [*CASES, ("resnet", 8), ("resnet", 64)])
def test_step(benchmark, model, batch):
    call = training_step("ours", model, batch).call
    call()  # compiles
    benchmark(call)

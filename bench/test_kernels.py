"""Times of single kernels: python -m pytest bench/test_kernels.py. Those of the norms, the loss and the pool are the
cases of bench/compare.py; products and convolutions have the shapes of its models at batch 64.
"""

import numpy as np
import pytest
from kernel_cases import OURS, draw, kernel

from refplay.kernels import load


@pytest.mark.parametrize("way", ["forward", "backward"])
@pytest.mark.parametrize("topic", OURS)
def test_at_2_to_the_20(benchmark, topic, way):
    benchmark(kernel("ours", f"{topic}_{way}", 2**20).call)


@pytest.mark.parametrize(("inputs", "outputs"), [(784, 256), (1024, 1024), (128, 10)])
def test_dense(benchmark, inputs, outputs):
    k, x, w, b = load("numba"), draw(64, inputs), draw(inputs, outputs), draw(outputs)
    y, dx, dw, db = np.empty((64, outputs), np.float32), np.empty_like(x), np.empty_like(w), np.empty_like(b)

    def forward_and_backward():
        k.dense_forward(x, w, b, y)
        k.dense_backward(x, w, y, dx, dw, db)

    forward_and_backward()  # compiles
    benchmark(forward_and_backward)


@pytest.mark.parametrize(("size", "inputs", "outputs"), [(28, 1, 32), (14, 32, 64)])
def test_conv2d(benchmark, size, inputs, outputs):
    k, x, w, b = load("numba"), draw(64, size, size, inputs), draw(3, 3, inputs, outputs), draw(outputs)
    y = np.empty((64, size, size, outputs), np.float32)
    dx, dw, db = np.empty_like(x), np.empty_like(w), np.empty_like(b)

    def forward_and_backward():
        k.conv2d_forward(x, w, b, y, 1, 1)
        k.conv2d_backward(x, w, y, dx, dw, db, 1, 1)

    forward_and_backward()
    benchmark(forward_and_backward)


@pytest.mark.parametrize("name", ["relu", "tanh", "gelu"])
def test_activation(benchmark, name):
    k, x = load("numba"), draw(4096, 256)
    y, forward = np.empty_like(x), getattr(load("numba"), f"{name}_forward")
    forward(x, y)
    backward, dx = getattr(k, f"{name}_backward"), np.empty_like(x)
    backward(x, y, x, dx)
    benchmark(lambda: (forward(x, y), backward(x, y, x, dx)))

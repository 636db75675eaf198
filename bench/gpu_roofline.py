"""The roofline of a training step: the least time that the memory and the arithmetic of a GPU leave for it.

A step is a product after the other: for each dense layer and convolution the output, the gradient of its parameters
and (but for the first) that of its input. Each takes as long as its operations at the rate of cuBLAS, or as reading its
factors and writing its result at the bandwidth of a copy, whichever is longer (Williams, Waterman and Patterson 2009,
"Roofline"). Adam then reads theta, gradient, m and v and writes three of them. All else (activations, pools, the loss,
the launches) is taken to cost nothing. Not strictly the least: a step whose arrays stay in the GPU's cache can be
faster, and so can a convolution that leaves out its products with padding (5 % of them at 28 x 28, 18 % at 7 x 7).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import NamedTuple

from refplay.nn import Conv2D, Dense, Model

FLOAT = 4  # bytes
UPDATE = 7  # vectors like theta that Adam reads or writes


class Work(NamedTuple):
    """What a part of a step must do: multiplications and additions, bytes from memory and to it."""

    operations: int
    bytes: int


def step_work(model: Model, batch: int) -> Iterator[Work]:
    """Yield the products of a training step in float32, and its update.

    >>> linear = Model((3,), 2, (Dense(2),))
    >>> for work in step_work(linear, 5): print(work)    # x[5,3] w[3,2], the gradient of w, Adam
    Work(operations=60, bytes=132)
    Work(operations=60, bytes=132)
    Work(operations=0, bytes=224)
    """
    learned, first = 0, True
    for _, layer, shape in model.places():
        values = sum(prod(parameter.shape) for parameter in layer.parameters(shape))
        learned += values
        if not isinstance(layer, Dense | Conv2D):
            continue
        output = layer.output_shape(shape)
        weights = prod(layer.parameters(shape)[0].shape)
        pixels = prod(output[:-1])  # 1 of a dense layer
        # The same three arrays meet in all products; the bias or its gradient only in the first two.
        x, w, y = batch * prod(shape), weights, batch * prod(output)
        operations, biases = 2 * batch * pixels * weights, values - weights
        for _ in range(2):
            yield Work(operations, FLOAT * (x + w + y + biases))
        if not first:
            yield Work(operations, FLOAT * (x + w + y))
        first = False
    yield Work(0, FLOAT * UPDATE * learned)


def least_us(model: Model, batch: int, ceilings: Mapping[str, float]) -> float:
    """Return the microseconds of a step at the roofline.

    Parameters
    ----------
    ceilings : mapping
        "copy", in GB/s, and "float32", in TFLOP/s: as `gpu_clock.Ceilings` measures them.
    """
    return sum(max(work.operations / ceilings["float32"] / 1e6, work.bytes / ceilings["copy"] / 1e3)
               for work in step_work(model, batch))  # fmt: skip

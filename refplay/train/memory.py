"""How much memory a training step needs, known before anything is allocated.

Every part is computed from what allocates it (the layers' own `parameters` and `buffers`, the rule's own `init`), so
the statement cannot drift away from the code. It is held against measurement in `tests/train/test_memory.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import NamedTuple

import numpy as np

from refplay.kernels import load
from refplay.kernels import recorder as new_recorder
from refplay.kernels import resident as new_resident
from refplay.nn import BatchNorm, Conv2D, Dense, Dropout, Layer, LayerNorm, Model, Network
from refplay.nn.layer import Shape
from refplay.nn.norm import ghost_groups
from refplay.optim import RULES
from refplay.train.on_device import AHEAD
from refplay.train.step import record_step

LABEL = 8  # bytes of an int64
DOUBLE = 8


class Memory(NamedTuple):
    """Bytes that a training step holds, part by part."""

    parameters: int  # theta, and the averages of batch norm
    gradient: int  # one vector like theta
    state: int  # of the update rule: none to two vectors like theta
    activations: int  # what the layers keep for the backward pass, and the gradients that flow through it
    batch: int  # the examples of the step, with labels, weights and indices
    scratch: int  # what the backend's kernels allocate beside, at most

    @property
    def total(self) -> int:
        """Bytes of all parts."""
        return sum(self)


def step_memory(model: Model, rule: str, batch_size: int, *, backend: str = "numba", dtype: str = "float32") -> Memory:
    """Return the peak memory of a training step: the host's, or on a device the device's.

    The data set, the interpreter and its libraries come on top; they do not depend on the batch size.

    Parameters
    ----------
    model : Model
    rule : str
        A name of `refplay.optim.RULES`.
    batch_size : int, 1 or more
    backend : str
        A name of `refplay.kernels.load`.
    dtype : {"float32", "float64"}
        Of the network.

    Raises
    ------
    InputError
        A batch size that batch norm cannot split into its ghost batches.

    >>> from refplay.nn import mlp
    >>> memory = step_memory(mlp((64,), 10, depth=1, width=128), "adam", batch_size=32)
    >>> memory.parameters == 4 * (64 * 128 + 128 + 128 * 10 + 10), memory.state == 2 * memory.parameters
    (True, True)
    >>> memory.activations == 4 * 32 * (3 * 128 + 2 * 10 + 1)    # ReLU and its two gradients, logits and theirs, loss
    True
    """
    size = np.dtype(dtype).itemsize
    activations, scratch = _recorded(model, rule, batch_size, backend, dtype) or (
        size * (_buffers(model, batch_size) + batch_size * (1 + model.classes)),  # and of the loss
        SCRATCH.get(backend, _no_scratch)(model, batch_size, size),
    )
    places = [(layer, shape) for _, layer, shape in model.places()]
    learned = sum(prod(p.shape) for layer, shape in places for p in layer.parameters(shape))
    averaged = sum(prod(p.shape) for layer, shape in places for p in layer.statistics(shape))
    return Memory(
        parameters=size * (learned + averaged),
        gradient=size * learned,
        state=size * learned * _state_vectors(rule),
        activations=activations,
        batch=batch_size * (size * (prod(model.input_shape) + 1) + LABEL * (1 + _index_rows(backend))),
        scratch=scratch,
    )


def _index_rows(backend: str) -> int:
    """Return of how many steps the indices are held."""
    return 1 if new_resident(load(backend)) is None else AHEAD


def _recorded(model: Model, rule: str, batch_size: int, backend: str, dtype: str) -> tuple[int, int] | None:
    """Return the bytes of activations and scratch of a recorded step; None where the backend records none.

    The step is recorded as it would be to train, on memory that is asked for and never touched: it takes none. Where
    even that is refused, the plain statement, which is larger, is far above any budget.
    """
    kernels = load(backend)
    recorder = new_recorder(kernels, dtype)
    if recorder is None:
        return None
    network = Network(model, kernels, seed=0, dtype=dtype)
    chosen = RULES[rule]
    state = chosen.init(network.theta, kernels)
    try:
        recording, loss = record_step(network, rule, recorder, batch_size, state, chosen.hyperparameters, 0.0, 0)
    except MemoryError:
        return None
    vectors = [value for value in state if isinstance(value, np.ndarray)]
    held: tuple[int, int] = recording.memory(network.theta, network.gradient, network.statistics, loss, *vectors)
    return held


def _state_vectors(rule: str) -> int:
    state = RULES[rule].init(np.zeros(1), load("numpy"))
    return sum(isinstance(value, np.ndarray) for value in state)


def _buffers(model: Model, batch_size: int) -> int:
    """Return how many values the layers' buffers hold."""
    values = sum(prod(shape) for _, layer, of_input in model.places()
                 for shape in layer.buffers(of_input, batch_size, training=True).values())
    return values - _unused(model, batch_size)


def _unused(model: Model, batch_size: int) -> int:
    """Return the size of the gradient of the examples, which a first dense layer or convolution does without."""
    shape = model.input_shape
    for layer in model.layers:
        if layer.parameters(shape):
            return batch_size * prod(shape) if isinstance(layer, Dense | Conv2D) else 0
        shape = layer.output_shape(shape)
    return 0


def _no_scratch(model: Model, batch_size: int, size: int) -> int:
    return 0


def _numpy_scratch(model: Model, batch_size: int, size: int) -> int:
    """Return what the reference's expressions allocate: one of them at a time, whose parts NumPy frees again.

    In units of the array that is written: up to 6 in an update rule (it computes in double), 4 in a norm's backward
    pass, 8 for the random words of dropout and in the loss; for a convolution the framed images and the patches.
    """
    places = [(layer, shape) for _, layer, shape in model.places()]
    learned = sum(prod(p.shape) for layer, shape in places for p in layer.parameters(shape))
    largest = max(_temporaries(layer, shape) for layer, shape in places)
    return size * max(6 * learned, batch_size * max(largest, 8 * model.classes))


def _temporaries(layer: Layer, shape: Shape) -> int:
    output = layer.output_shape(shape)
    if not isinstance(layer, Conv2D):
        return (8 if isinstance(layer, Dropout) else 4) * max(prod(shape), prod(output))
    return 2 * _framed(layer, shape) + prod(output[:2]) * layer.size**2 * shape[-1] + 2 * prod(output)


def _numba_scratch(model: Model, batch_size: int, size: int) -> int:
    """Return what a convolution in float64 allocates: one framed image and one block of patches, whatever the batch."""
    return size * max((_framed(layer, shape) + max(256, layer.output_shape(shape)[1]) * layer.size**2 * shape[-1]
                       for _, layer, shape in model.places() if isinstance(layer, Conv2D)), default=0)


def _numba_cuda_scratch(model: Model, batch_size: int, size: int) -> int:
    """Return what partial results take: of products and sums of columns that are cut into slices; of norms, at most."""
    from refplay.kernels.numba_cuda.product import partial_results
    from refplay.kernels.numba_cuda.sums import slices_for

    products, sums, rows, statistics = 0, 0, 0, 0
    learned = [place for place, layer, shape in model.places() if layer.parameters(shape)]
    for place, layer, shape in model.places():
        output = layer.output_shape(shape)
        pixels, channels = batch_size * prod(output[:-1]), output[-1]
        if isinstance(layer, Dense | Conv2D):
            inputs = prod(layer.parameters(shape)[0].shape[:-1])
            shapes = [(pixels, channels, inputs), (inputs, channels, pixels)]
            if isinstance(layer, Dense) and place != learned[0]:  # nobody asks for the gradient of the examples
                shapes.append((pixels, inputs, channels))
            products = max(products, *[partial_results(*each, size) for each in shapes])
            slices = slices_for(pixels, channels)[1]
            sums = max(sums, slices * channels if slices > 1 else 0)
        elif isinstance(layer, LayerNorm):
            rows, statistics = max(rows, pixels), max(statistics, SLICES * channels)
        elif isinstance(layer, BatchNorm):
            groups = ghost_groups(batch_size, layer.ghost_size)
            statistics = max(statistics, (groups + 2 * SLICES) * channels)
    return size * (max(products, statistics) + statistics + rows) + DOUBLE * sums


SLICES = 264  # of a norm, at most


def _cupy_scratch(model: Model, batch_size: int, size: int) -> int:
    """Return what a step asks for, which is gone through without memory and without a launch."""
    kernels, dtype = load("cupy"), f"float{8 * size}"
    device = new_resident(kernels)
    with device.rehearsal() as scratch:
        x, labels = kernels.empty((batch_size, *model.input_shape), dtype), kernels.empty((batch_size,), "int64")
        weights = kernels.empty((batch_size,), dtype)
        loss = Network(model, kernels, seed=0, dtype=dtype).backpropagate(kernels, x, labels, weights)
        device.total(loss, kernels.empty((1,), "float64"), 0)
    return sum(array.nbytes for array in scratch.values())


def _framed(layer: Conv2D, shape: Shape) -> int:
    height, width, channels = shape
    return (height + 2 * layer.padding) * (width + 2 * layer.padding) * channels


# What a backend needs beside the layers' buffers, by its name: (model, batch size, bytes of a value) -> bytes. One that
# is not here is taken to work in place.
SCRATCH: dict[str, Callable[[Model, int, int], int]] = {
    "numpy": _numpy_scratch, "numba": _numba_scratch, "numba-cuda": _numba_cuda_scratch,
    "cupy": _cupy_scratch,
}  # fmt: skip

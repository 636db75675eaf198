"""What holds for every compiled kernel: the same bits at every call, place and thread; one compilation per dtype."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher

from refplay import kernels
from refplay.kernels import CONTRACT
from refplay.kernels.numba_cpu import activation, conv, dense, dropout, loss, norm, optim, pool, reduce

NUMBA = kernels.load("numba")
MODULES = (activation, conv, dense, dropout, loss, norm, optim, pool, reduce)
B, I, O = 37, 65, 33  # more than one vector register and a remainder
MAPS = {f"{name}_{way}": count for name in ("relu", "tanh", "gelu") for way, count in (("forward", 2), ("backward", 4))}
VECTORS = {"sgd": 2, "momentum": 3, "nesterov": 3, "rmsprop": 4, "adam": 4, "nadam": 4}
# The arguments of every kernel: a tuple is the shape of an array, "l" the labels, all else itself.
CALLS = {
    "dense_forward": [(B, I), (I, O), (O,), (B, O)],
    "dense_backward": [(B, I), (I, O), (B, O), (B, I), (I, O), (O,)],
    "conv2d_forward": [(5, 11, 9, 3), (3, 3, 3, 7), (7,), (5, 11, 9, 7), 1, 1],
    "conv2d_backward": [(5, 11, 9, 3), (3, 3, 3, 7), (5, 11, 9, 7), (5, 11, 9, 3), (3, 3, 3, 7), (7,), 1, 1],
    "max_pool2d_forward": [(3, 9, 8, 17), (3, 4, 3, 17), 3, 2],
    "max_pool2d_backward": [(3, 9, 8, 17), (3, 4, 3, 17), (3, 4, 3, 17), (3, 9, 8, 17), 3, 2],
    "global_avg_pool_forward": [(3, 9, 8, 17), (3, 17)],
    "global_avg_pool_backward": [(3, 17), (3, 9, 8, 17)],
    **{name: [(B, I)] * count for name, count in MAPS.items()},
    "batch_norm_forward": [(3, B, O), (O,), (O,), (3, B, O), (3, O), (3, O), 0.01],
    "batch_norm_backward": [(3, B, O), (O,), (3, O), (3, O), (3, B, O), (3, B, O), (O,), (O,), 0.01],
    "batch_norm_inference": [(B, O), (O,), (O,), (O,), (O,), (B, O), 0.01],
    "layer_norm_forward": [(B, I), (I,), (I,), (B, I), (B,), (B,), 0.01],
    "layer_norm_backward": [(B, I), (I,), (B,), (B,), (B, I), (B, I), (I,), (I,), 0.01],
    "dropout_forward": [(B, I), (B, I), 0.3, 2**63 + 1, 5, 1],
    "dropout_backward": [(B, I), (B, I), 0.3, 2**63 + 1, 5, 1],
    "softmax_cross_entropy": [(B, I), "l", (B,), 0.1, (B,), (B, I)],
    "sgd": [(B * I,)] * 2 + [0.1],
    "momentum": [(B * I,)] * 3 + [0.1, 0.9],
    "nesterov": [(B * I,)] * 3 + [0.1, 0.9],
    "rmsprop": [(B * I,)] * 4 + [0.1, 0.9, 0.8, 0.01],
    "adam": [(B * I,)] * 4 + [3, 0.1, 0.9, 0.8, 0.01],
    "nadam": [(B * I,)] * 4 + [3, 0.1, 0.9, 0.8, 0.01],
    "l2_norm": [(B * I,)],
    "scale": [(B * I,), 0.3],
    "axpby": [0.3, (B * I,), 0.7, (B * I,)],
}


def array(shape, dtype, rng, offset):
    """Return random numbers between 0.5 and 1.5, that begin `offset` elements after a multiple of 64 bytes."""
    size, item = int(np.prod(shape)), np.dtype(dtype).itemsize
    memory = np.empty(size * item + 128, np.uint8)
    start = -memory.ctypes.data % 64 + offset * item
    values = memory[start : start + size * item].view(dtype).reshape(shape)
    values[...] = rng.uniform(0.5, 1.5, shape)
    return values


def run(name, dtype, offset=0, number=lambda value: value):
    """Call a kernel on arrays that depend on its name and dtype alone; return the bytes of all arrays afterwards."""
    rng = np.random.default_rng(len(name))
    arguments = [
        array(a, dtype, rng, offset) if isinstance(a, tuple) else np.arange(B) % I if a == "l" else number(a)
        for a in CALLS[name]
    ]
    result = getattr(NUMBA, name)(*arguments)
    return [a.tobytes() for a in arguments if isinstance(a, np.ndarray)] + [result]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CALLS)
def test_every_call_gives_the_same_bits_wherever_the_arrays_lie(name, dtype):
    first = run(name, dtype)
    for offset in (0, 0, 1, 3, 5):
        assert run(name, dtype, offset) == first


def test_the_calls_cover_the_contract():
    assert set(CALLS) == set(CONTRACT) - {"empty", "zeros", "asarray", "to_host", "synchronize"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_give_the_bits_of_one_thread(dtype):
    alone = {name: run(name, dtype) for name in CALLS}
    together = Barrier(4)

    def work(shift):
        together.wait()  # all threads in the same kernels at the same time
        names = list(CALLS)
        return all(run(name, dtype) == alone[name] for _ in range(20) for name in names[shift:] + names[:shift])

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(work, [0, 0, 1, 7]))


def compilations():
    return sum(len(f.signatures) for module in MODULES for f in vars(module).values() if isinstance(f, Dispatcher))


def test_a_kernel_is_compiled_once_per_dtype_whatever_type_its_numbers_have():
    for name in CALLS:
        run(name, "float32")
    before = compilations()
    for name in CALLS:
        run(name, "float32", number=lambda v: np.float64(v) if type(v) is float else np.uint64(v))
        if name in ("sgd", "momentum", "nesterov", "scale", "axpby"):
            run(name, "float32", number=lambda _: 1)
    for name in ("dense_backward", "conv2d_backward"):  # the first layer asks for no dx, evaluation for no dz
        call = [np.ones(a, "float32") if isinstance(a, tuple) else a for a in CALLS[name]]
        getattr(NUMBA, name)(*call[:3], None, *call[4:])
    z, weights = np.ones((B, I), "float32"), np.ones(B, "float32")
    NUMBA.softmax_cross_entropy(z, np.zeros(B, int), weights, 0.1, np.empty(B, "float32"), None)
    assert compilations() == before

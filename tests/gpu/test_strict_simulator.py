"""The strict simulator against planted bugs: each raises an error that names the line, and its clean twin does not.

The plain simulator lets nearly all of them pass.
"""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba import cuda
from strict_simulator import KernelError

N = 8  # threads of a block
f4 = np.float32


def line_of(function, marker):
    """Return "file.py:12" of the line of `function` that ends in a comment `# marker`."""
    lines, first = inspect.getsourcelines(function)
    (offset,) = [i for i, line in enumerate(lines) if line.rstrip().endswith(f"# {marker}")]
    return f"{Path(__file__).name}:{first + offset}"


def name(value):
    return getattr(value, "__name__", "")


def launched(function, blocks=1, threads=N, n=N):
    """Launch function(x, y) with x = 0, 1, ... and return y, which began as zeros."""
    x, y = cuda.to_device(np.arange(n, dtype=f4)), cuda.to_device(np.zeros(n, f4))
    cuda.jit(function)[blocks, threads](x, y)
    return y.copy_to_host()


# Barriers


def reversed_(x, y):
    tile = cuda.shared.array(N, f4)
    j = cuda.threadIdx.x
    tile[j] = x[j]
    cuda.syncthreads()
    y[j] = tile[N - 1 - j]


def reversed_without_a_barrier(x, y):
    tile = cuda.shared.array(N, f4)
    j = cuda.threadIdx.x
    tile[j] = x[j]  # here
    y[j] = tile[N - 1 - j]  # there


def reversed_twice(x, y):
    tile = cuda.shared.array(N, f4)
    j = cuda.threadIdx.x
    for r in range(2):
        tile[j] = x[j] + r
        cuda.syncthreads()
        y[j] += tile[N - 1 - j]
        cuda.syncthreads()


def overwritten_while_it_is_read(x, y):
    tile = cuda.shared.array(N, f4)
    j = cuda.threadIdx.x
    for r in range(2):
        tile[j] = x[j] + r  # here
        cuda.syncthreads()
        y[j] += tile[N - 1 - j]  # there


def divergent(x, y):
    if cuda.threadIdx.x < N // 2:
        cuda.syncthreads()  # here
    y[cuda.threadIdx.x] = 1


def together(x, y):
    cuda.syncthreads()
    if cuda.threadIdx.x < N // 2:
        y[cuda.threadIdx.x] = 1


def at_different_lines(x, y):
    if cuda.threadIdx.x < N // 2:
        cuda.syncthreads()  # here
    else:
        cuda.syncthreads()  # there
    y[cuda.threadIdx.x] = 1


def left_before_the_barrier(x, y):
    j = cuda.threadIdx.x
    if j >= N - 1:
        return
    cuda.syncthreads()  # here
    y[j] = 1


def left_after_the_barrier(x, y):
    j = cuda.threadIdx.x
    cuda.syncthreads()
    if j >= N - 1:
        return
    y[j] = 1


@cuda.jit(device=True)
def wait():
    cuda.syncthreads()  # here


def waiting_in_one_place(x, y):
    wait()
    y[cuda.threadIdx.x] = 1


def waiting_in_two_places(x, y):
    if cuda.threadIdx.x < N // 2:
        wait()
    else:
        wait()
    y[cuda.threadIdx.x] = 1


# Indices


def previous(x, y):
    j = cuda.threadIdx.x
    if j > 0:
        y[j] = x[j - 1]


def previous_of_the_first(x, y):
    y[cuda.threadIdx.x] = x[cuda.threadIdx.x - 1]  # here


def next_of_the_last(x, y):
    y[cuda.threadIdx.x] = x[cuda.threadIdx.x + 1]  # here


def written_past_the_end(x, y):
    y[cuda.grid(1)] = x[0]  # here


def in_two_axes(x, y):
    tile = cuda.local.array((2, 2), f4)
    tile[0, 1] = 3
    y[cuda.threadIdx.x] = tile[0, 1]


def in_one_of_two_axes(x, y):
    tile = cuda.local.array((2, 2), f4)
    tile[0] = 3  # here


# Memory that begins as it is found


def shared_not_written(x, y):
    tile = cuda.shared.array(N, f4)
    y[cuda.threadIdx.x] = tile[cuda.threadIdx.x]


def local_not_written(x, y):
    held = cuda.local.array(4, f4)
    y[cuda.threadIdx.x] = held[3]


def shared_of_the_block_before(x, y):
    tile = cuda.shared.array(1, f4)
    if cuda.blockIdx.x == 0:
        tile[0] = 5
    y[cuda.blockIdx.x] = tile[0]


def two_on_two_lines(x, y):
    a = cuda.shared.array(1, f4)
    b = cuda.shared.array(1, f4)
    a[0] = 1
    b[0] = 2
    y[0] = a[0] + 10 * b[0]


def two_on_one_line(x, y):
    a, b = cuda.shared.array(1, f4), cuda.shared.array(1, f4)  # here
    a[0] = 1
    b[0] = 2
    y[0] = a[0] + 10 * b[0]


# Blocks


def each_block_its_own(x, y):
    y[cuda.grid(1)] = x[cuda.grid(1)]


def all_blocks_the_same(x, y):
    y[cuda.threadIdx.x] = x[cuda.threadIdx.x]  # here


def read_of_another_block(x, y):
    if cuda.blockIdx.x == 0:
        y[0] = x[0]
    else:
        y[1] = y[0]  # here


def written_after_another_block_read(x, y):
    if cuda.blockIdx.x == 0:
        y[1] = y[0]
    else:
        y[0] = 1  # here


def read_by_both_blocks_and_written_by_one(x, y):
    before = y[0]
    if cuda.blockIdx.x == 1:
        y[0] = before + 1  # here


def read_by_all_blocks(x, y):
    y[cuda.grid(1)] = x[0]


def the_same_value_by_all(x, y):
    y[0] = 1  # here


def the_value_by_one(x, y):
    if cuda.threadIdx.x == 0:
        y[0] = 1


LINE = rf"{Path(__file__).stem}\.py:\d+"
# Function, what the error says, blocks, length of x and y.
WRONG = [
    (reversed_without_a_barrier, "race: element . of shared memory was .* at ({here}|{there})", 1, N),
    (overwritten_while_it_is_read, "race: element . of shared memory was .* at ({here}|{there})", 1, N),
    (divergent, "divergent barrier: .* wait at {here} and at the end of the kernel", 1, N),
    (at_different_lines, "divergent barrier: .* wait at {here} and at {there}", 1, N),
    (waiting_in_two_places, rf"barrier: .* wait at {LINE}, called at {LINE} and at {LINE}, called at {LINE}$", 1, N),
    (left_before_the_barrier, "divergent barrier: .* {here}", 1, N),
    (previous_of_the_first, r"index -1 is outside of global memory of shape \(8,\) \({here}\)", 1, N),
    (next_of_the_last, r"index 8 is outside of global memory of shape \(8,\) \({here}\)", 1, N),
    (written_past_the_end, r"index \d+ is outside of global memory of shape \(12,\) \({here}\)", 2, 12),
    (in_one_of_two_axes, r"index 0 into 2 axes is not one element \({here}\)", 1, N),
    (two_on_one_line, "two shared arrays on one line, or one in a loop: {here}", 1, N),
    (all_blocks_the_same, "race: .* global memory was written by another block and is written at {here}", 2, N),
    (read_of_another_block, "race: .* was written by another block and is read at {here}", 2, N),
    (written_after_another_block_read, "race: .* was read by another block and is written at {here}", 2, N),
    (read_by_both_blocks_and_written_by_one, "race: .* was read by another block and is written at {here}", 2, N),
    (the_same_value_by_all, "race: .* was written by another thread .* is written at {here}", 1, N),
]
# Their twins, and what these write.
CLEAN = [
    (reversed_, 1, [7, 6, 5, 4, 3, 2, 1, 0]),
    (reversed_twice, 1, [15, 13, 11, 9, 7, 5, 3, 1]),
    (together, 1, [1, 1, 1, 1, 0, 0, 0, 0]),
    (left_after_the_barrier, 1, [1, 1, 1, 1, 1, 1, 1, 0]),
    (waiting_in_one_place, 1, [1] * N),
    (previous, 1, [0, 0, 1, 2, 3, 4, 5, 6]),
    (in_two_axes, 1, [3] * N),
    (each_block_its_own, 2, list(range(16))),
    (read_by_all_blocks, 2, [0] * 16),
    (the_value_by_one, 1, [1, 0, 0, 0, 0, 0, 0, 0]),
]


@pytest.mark.parametrize(("function", "message", "blocks", "n"), WRONG, ids=name)
def test_a_planted_bug_is_an_error_that_names_its_line(function, message, blocks, n):
    single = (read_of_another_block, written_after_another_block_read, read_by_both_blocks_and_written_by_one,
              two_on_one_line)  # fmt: skip
    threads = 1 if function in single else N
    places = {m: re.escape(line_of(function, m)) for m in ("here", "there") if f"{{{m}}}" in message}
    with pytest.raises(KernelError) as raised:
        launched(function, blocks, threads, n)
    pattern = message
    for marker, place in places.items():
        pattern = pattern.replace(f"{{{marker}}}", place)
    assert re.search(pattern, str(raised.value)), str(raised.value)


@pytest.mark.parametrize(("function", "blocks", "expected"), CLEAN, ids=name)
def test_its_clean_twin_passes(function, blocks, expected):
    assert launched(function, blocks, n=N * blocks).tolist() == expected


def test_a_race_is_seen_through_two_arrays_of_one_memory():
    memory = cuda.to_device(np.arange(N, dtype=f4))
    kernel = cuda.jit(previous)
    kernel[1, 4](memory[:4], memory[4:])
    with pytest.raises(KernelError, match=r"race: element . of global memory was (written|read) by another thread"):
        kernel[1, N](memory, memory)
    with pytest.raises(KernelError, match="race"):
        cuda.jit(each_block_its_own)[1, N - 1](memory[:-1], memory[1:])


def test_a_race_is_seen_whoever_read_last():
    def read_by_two_and_written_by_one(x, y):
        before = y[0]
        if cuda.threadIdx.x == 1:
            y[0] = before + 1

    for _ in range(20):  # the order of threads is drawn at each launch
        with pytest.raises(KernelError, match="race"):
            launched(read_by_two_and_written_by_one, threads=2)


def test_elements_of_a_matrix_are_told_apart():
    def transposed(x, y):
        tile = cuda.shared.array((4, 4), f4)
        i, j = cuda.threadIdx.y, cuda.threadIdx.x
        tile[i, j] = x[i, j]
        cuda.syncthreads()
        y[i, j] = tile[j, i]

    x = np.arange(16, dtype=f4).reshape(4, 4)
    on_gpu = cuda.to_device(np.zeros((4, 4), f4))
    cuda.jit(transposed)[1, (4, 4)](cuda.to_device(x), on_gpu)
    np.testing.assert_array_equal(on_gpu.copy_to_host(), x.T)


def test_two_shared_arrays_on_two_lines_are_two():
    assert launched(two_on_two_lines, threads=1)[0] == 21


@pytest.mark.parametrize("function", [shared_not_written, local_not_written])
def test_memory_that_was_not_written_is_nan(function):
    assert np.isnan(launched(function)).all()


def test_integers_that_were_not_written_are_the_least():
    def apply(y):
        held = cuda.local.array(1, np.int32)
        y[0] = held[0]

    y = cuda.to_device(np.zeros(1, "int32"))
    cuda.jit(apply)[1, 1](y)
    assert y.copy_to_host()[0] == np.iinfo("int32").min


def test_shared_memory_does_not_outlive_its_block():
    assert launched(shared_of_the_block_before, blocks=2, threads=1)[0] == 5
    assert np.isnan(launched(shared_of_the_block_before, blocks=2, threads=1)[1])


def test_threads_run_in_an_order_that_changes():
    def apply(order, count):
        order[count[0]] = cuda.threadIdx.x
        count[0] += 1

    def orders():
        order, count = np.zeros(32, int), np.zeros(1, int)
        kernel = cuda.jit(lambda: apply(order, count))  # arrays of the host: not watched
        kernel[1, 32]()
        return order.tolist()

    first, second = orders(), orders()
    assert sorted(first) == sorted(second) == list(range(32))
    assert first != second


def test_an_error_ends_the_launch_and_the_next_one_is_clean():
    with pytest.raises(KernelError):
        launched(divergent)
    assert launched(reversed_).tolist() == [7, 6, 5, 4, 3, 2, 1, 0]


PLAIN = """
import numpy as np
import refplay.kernels

gpu, reference = refplay.kernels.load("numba-cuda"), refplay.kernels.load("numpy")
rng = np.random.default_rng(20231)
x, dy = rng.standard_normal((3, 137)).astype("f4"), rng.standard_normal((3, 137)).astype("f4")
for name in ("relu", "tanh", "gelu"):
    y, dx = np.empty_like(x), np.empty_like(x)
    on_gpu, slope = gpu.empty(x.shape), gpu.empty(x.shape)
    getattr(reference, name + "_forward")(x, y)
    getattr(reference, name + "_backward")(x, y, dy, dx)
    getattr(gpu, name + "_forward")(gpu.asarray(x), on_gpu)
    getattr(gpu, name + "_backward")(gpu.asarray(x), on_gpu, gpu.asarray(dy), slope)
    assert abs(gpu.to_host(on_gpu) - y).max() < 1e-6, name
    assert abs(gpu.to_host(slope) - dx).max() < 1e-5, name
host = [abs(rng.standard_normal(300)).astype("f4") for _ in range(4)]
device = [gpu.asarray(a) for a in host]
reference.adam(*host, 3, 0.1, 0.9, 0.99, 0.01)
gpu.adam(*device, 3, 0.1, 0.9, 0.99, 0.01)
for a, b in zip(host, device):
    assert abs(gpu.to_host(b) - a).max() < 1e-6
assert abs(gpu.l2_norm(gpu.asarray(x.ravel())) / np.linalg.norm(x.astype(float)) - 1) < 1e-12
print("done")
"""


def test_kernels_run_in_the_simulator_as_it_comes_too():
    """Lest strictness hide something: Numba's own threads, barriers and arrays give the same numbers."""
    result = subprocess.run([sys.executable, "-c", PLAIN], capture_output=True, text=True)
    assert result.stdout == "done\n", result.stderr

"""What the caches and the number formats do to a step: four measurements behind the design of the CPU backend.

    python bench/caches.py

1. Whether two threads run on two cores just now: on a virtual machine two CPUs may be one core for a while.
2. What it costs that one core reads what another has written: a matrix updated by rows, then read by rows, by columns.
3. What it costs that long vectors lie at equal places of their pages, as NumPy's do and the backend's do not.
4. What subnormal numbers (below 1.2e-38) cost, by operation.
"""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import numpy as np
from numba import njit

from refplay.kernels import load
from refplay.kernels.numba_cpu import threads
from refplay.kernels.numba_cpu.product import product
from refplay.kernels.numba_cpu.program import Program, call, kernel
from refplay.kernels.numba_cpu.simd import BYTES, LANES, Emitter, Value, emit

ROWS, COLUMNS = 784, 256  # the first layer of an MLP


def microseconds(program: Any, repeats: int = 300) -> float:
    for _ in range(20):
        program.run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        program.run()
        times.append(time.perf_counter() - start)
    return 1e6 * median(times)


def cores() -> None:
    a, b = np.ones((256, 512), np.float32), np.ones((512, 512), np.float32)
    c = np.empty((256, 512), np.float32)
    took = []
    for count in (1, 2):
        threads.set_threads(count)
        took.append(microseconds(Program([product(a, 2048, 4, b, 2048, c, 256, 512, 512)]), 60))
    print(f"a product on 1 thread {took[0]:.0f} us, on 2 {took[1]:.0f} us: {took[0] / took[1]:.2f} times as fast")


@emit
def _scale(e: Emitter, x: Value, row: Value, rows: Value, vectors: Value) -> None:
    def line(i: Value) -> None:
        e.loop(vectors, [], lambda j: e.store(e.load(x + i * row + j * BYTES) * 1.0000001, x + i * row + j * BYTES))

    e.loop(rows, [], line)


@emit
def _sum(e: Emitter, x: Value, row: Value, rows: Value, vectors: Value, to: Value) -> None:
    def line(i: Value, total: Value) -> list[Value]:
        return e.loop(vectors, [total], lambda j, total: [total + e.load(x + i * row + j * BYTES)])

    e.store(e.loop(rows, [e.vector(0.0)], line)[0], to)


@kernel
def scale_rows(a: Any, task: int, scratch: int) -> None:
    """Sixteen tasks, each with some rows."""
    _scale(a[0] + task * (ROWS // 16) * COLUMNS * 4, COLUMNS * 4, ROWS // 16, COLUMNS // LANES)


@kernel
def sum_rows(a: Any, task: int, scratch: int) -> None:
    _sum(a[0] + task * (ROWS // 16) * COLUMNS * 4, COLUMNS * 4, ROWS // 16, COLUMNS // LANES, a[1] + task * 64)


@kernel
def sum_columns(a: Any, task: int, scratch: int) -> None:
    _sum(a[0] + task * (COLUMNS // 16) * 4, COLUMNS * 4, ROWS, COLUMNS // 16 // LANES, a[1] + task * 64)


def shared_lines() -> None:
    x, to = np.ones((ROWS, COLUMNS), np.float32), np.zeros(16 * LANES, np.float32)
    for count in (1, 2):
        threads.set_threads(count)
        for name, read in (("rows", sum_rows), ("columns", sum_columns)):
            took = microseconds(Program([call(scale_rows, 16, x), call(read, 16, x, to)]))
            print(f"{ROWS} x {COLUMNS} written by rows, read by {name}, {count} threads: {took:.1f} us")


def equal_places() -> None:
    kernels = load("numba")
    for n in (2**22, 2**24, 30_000_000, 2**25):
        makers = {"NumPy": np.zeros, "the backend": kernels.zeros}
        vectors = {who: [make(n, "float32") for _ in range(4)] for who, make in makers.items()}
        times: dict[str, list[float]] = {who: [] for who in makers}
        for t in range(15):
            for who, arrays in vectors.items():
                arrays[1].fill(0.01)  # the gradient
                start = time.perf_counter()
                kernels.adam(*arrays, t, 1e-3, 0.9, 0.999, 1e-8)
                times[who].append(time.perf_counter() - start)
        print(f"Adam over {n:,} values, vectors placed by " + ", by ".join(
            f"{who} {1e3 * median(took[2:]):.1f} ms" for who, took in times.items()))


def subnormals() -> None:
    operations = {"a + 1": lambda e, a: a + 1.0, "0.9 a": lambda e, a: a * 0.9, "sqrt(a)": lambda e, a: e.sqrt(a),
                  "a / 3": lambda e, a: a / 3.0, "1 / a": lambda e, a: 1.0 / a}  # fmt: skip
    for name, operation in operations.items():
        took = [_nanoseconds(operation, value) for value in (0.5, 1e-40)]
        print(f"{name:8} a vector: normal {took[0]:.2f} ns, subnormal {took[1]:.2f} ns")


def _nanoseconds(operation: Any, value: float) -> float:
    @emit
    def body(e: Emitter, x: Value, to: Value) -> None:
        e.loop(64, [], lambda i: e.store(operation(e, e.load(x + i * BYTES)), to + i * BYTES))

    @njit
    def repeat(x: int, to: int) -> None:
        for _ in range(1000):
            body(x, to)

    x, to = np.full(64 * LANES, value, np.float32), np.empty(64 * LANES, np.float32)
    at, end = x.ctypes.data, to.ctypes.data
    repeat(at, end)
    times = []
    for _ in range(20):
        start = time.perf_counter()
        repeat(at, end)
        times.append(time.perf_counter() - start)
    return median(times) / 64_000 * 1e9


if __name__ == "__main__":
    cores()
    shared_lines()
    equal_places()
    subnormals()

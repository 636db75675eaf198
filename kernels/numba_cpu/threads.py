"""One pool of threads for all kernels, made for steps that take microseconds and for machines that others use too.

A program is a list of instructions, an instruction a compiled function and a number of tasks, any of which may run at
the same time. The thread that calls `run` leads: it opens one instruction after the other, and takes tasks like
everybody else. The followers take tasks of whatever instruction is open. So nobody waits for a follower that the
operating system has put aside, unless it holds a task; a barrier, where everybody waits for everybody, made a step of
0.1 ms take 12 ms on a busy machine. Nobody spins for long either: a follower without work gives up after PATIENCE and
sleeps until the next program, a leader that waits naps.

Which thread runs a task changes no result: a task writes its own part of the output, and the sum of partial sums is
an instruction of its own, in a fixed order.
"""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

WORDS = 32  # int64 words an instruction: function, number of tasks, arguments
MOST_TASKS = 2**16 - 1  # of one instruction
PATIENCE = 400_000  # clock ticks (0.1 to 0.2 ms) that a thread without work spins for

# Words of the state that the threads share, each in a cache line of its own.
_TICKET, _DONE, _INSTRUCTION, _AWAKE, _RUNNING, _STOP, _SCRATCH, _SCRATCH_SIZE = (8 * i for i in range(8))
_I64 = ir.IntType(64)


class _Pool:
    """The state of the pool; there is one in a process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()  # held by the leader
        self.shared = np.zeros(64, np.int64)
        self.address = self.shared.ctypes.data  # asking NumPy for it takes a microsecond
        self.scratch = np.zeros(0, np.uint8)
        self.count = 0  # of threads, the leader included; 0 before the first use
        self.wake = threading.Semaphore(0)
        self.followers: list[threading.Thread] = []


_pool = _Pool()
_alone = threading.local()


def threads() -> int:
    """Return how many threads run kernels: `REFPLAY_THREADS`, else the CPUs that this process may use."""
    if not _pool.count:
        given = os.environ.get("REFPLAY_THREADS", "")
        if given and not (given.isdecimal() and int(given) > 0):
            raise ValueError(f"REFPLAY_THREADS is {given!r}; it must be a whole number of at least 1")
        _pool.count = int(given) if given else len(_usable_cpus())
    return _pool.count


def set_threads(count: int) -> None:
    """Let kernels run on `count` threads from now on, at least 1; results do not depend on it."""
    if count < 1:
        raise ValueError(f"threads: expected at least 1, got {count}")
    with _pool.lock:
        _stop()
        _pool.count = int(count)


def run(code: int, count: int, scratch: int = 0) -> None:
    """Run the `count` instructions at the address `code`; returns when all is done.

    A second thread that calls this at the same time runs its program by itself.

    Parameters
    ----------
    code, count : int
        Address of int64[count, WORDS], and the number of instructions.
    scratch : int
        Bytes of memory that a task may need to itself.
    """
    if not _pool.lock.acquire(blocking=False):
        _run_alone(code, count, scratch)
        return
    try:
        if _pool.scratch.size < scratch * threads():
            _take_scratch(scratch)
        if _pool.count > 1:
            if len(_pool.followers) < _pool.count - 1:
                _start()
            for _ in range(_pool.count - 1 - _announce(_pool.address)):
                _pool.wake.release()
        _lead(code, count, _pool.address, _pool.count == 1)
    finally:
        _pool.lock.release()


def _run_alone(code: int, count: int, scratch: int) -> None:
    shared = getattr(_alone, "shared", None)
    if shared is None or shared[_SCRATCH_SIZE] < scratch:
        _alone.scratch, shared = np.empty(scratch + 64, np.uint8), np.zeros(64, np.int64)
        shared[_SCRATCH], shared[_SCRATCH_SIZE] = -(-_alone.scratch.ctypes.data // 64) * 64, scratch
        _alone.shared = shared
    _lead(code, count, shared.ctypes.data, True)


def _take_scratch(scratch: int) -> None:
    each = -(-scratch // 4096) * 4096 + 192  # not a multiple of a page: equal offsets would share cache sets
    _pool.scratch = np.zeros(each * _pool.count + 64, np.uint8)
    _pool.shared[_SCRATCH] = -(-_pool.scratch.ctypes.data // 64) * 64
    _pool.shared[_SCRATCH_SIZE] = each


def _start() -> None:
    _pool.shared[_STOP] = 0
    for number in range(len(_pool.followers) + 1, _pool.count):
        thread = threading.Thread(target=_serve, args=(_pool, number), name=f"refplay-{number}", daemon=True)
        _pool.followers.append(thread)
        thread.start()


def _serve(pool: _Pool, number: int) -> None:
    """What a follower does: sleep until a leader calls, take tasks while there are any, sleep again."""
    while True:
        pool.wake.acquire()
        _follow(pool.address, number)
        if pool.shared[_STOP]:
            return


def _stop() -> None:
    _pool.shared[_STOP] = 1
    for _ in _pool.followers:
        _pool.wake.release()
    for thread in _pool.followers:
        thread.join()
    _pool.followers = []
    _pool.wake = threading.Semaphore(0)
    _pool.scratch = np.zeros(0, np.uint8)


def _usable_cpus() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _forget() -> None:
    """A forked child has none of the threads, and a lock that may be held for ever."""
    global _pool
    count, _pool = _pool.count, _Pool()
    _pool.count = count


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


# What runs without Python. A ticket is one int64: the number of the instruction, its tasks, those taken (32, 16, 16
# bits). Whoever raises the last part by one, in one piece with having read the rest, owns that task.


@njit(cache=True)
def _announce(shared: int) -> int:
    """Say that a program runs, and return how many followers will have seen that: nobody falls asleep over it."""
    _write(shared + 8 * _RUNNING, 1)
    return _add(shared + 8 * _AWAKE, 0)


@njit(cache=True, nogil=True)
def _lead(code: int, count: int, shared: int, alone: bool) -> None:
    scratch = _read(shared + 8 * _SCRATCH)
    for i in range(count):
        at = code + i * (8 * WORDS)
        function, tasks = _read(at), _read(at + 8)
        if alone or tasks == 1:
            for task in range(tasks):
                _call(function, at + 16, task, scratch)
            continue
        number = (_read(shared + 8 * _TICKET) >> 32) + 1
        _write(shared + 8 * _INSTRUCTION, at)
        _write(shared + 8 * _DONE, 0)
        _write(shared + 8 * _TICKET, (number << 32) | (tasks << 16))
        _take_tasks(shared, scratch)
        since = _ticks()
        while _read(shared + 8 * _DONE) < tasks:
            _relax()
            if _ticks() - since > PATIENCE // 4:  # a follower holds a task and may have been put aside
                _nap()
    _write(shared + 8 * _RUNNING, 0)


@njit(cache=True, nogil=True)
def _follow(shared: int, number: int) -> None:
    _add(shared + 8 * _AWAKE, 1)
    since = _ticks()
    while not _read(shared + 8 * _STOP):
        ticket = _read(shared + 8 * _TICKET)
        if (ticket & 0xFFFF) < ((ticket >> 16) & 0xFFFF):
            _take_tasks(shared, _read(shared + 8 * _SCRATCH) + number * _read(shared + 8 * _SCRATCH_SIZE))
            since = _ticks()
        elif _ticks() - since < PATIENCE:
            _relax()
        elif _add(shared + 8 * _RUNNING, 0):  # a long stretch of single tasks
            _nap()
        else:
            _add(shared + 8 * _AWAKE, -1)
            if not _add(shared + 8 * _RUNNING, 0):
                return
            _add(shared + 8 * _AWAKE, 1)  # a leader has counted on this follower in between
    _add(shared + 8 * _AWAKE, -1)


@njit(cache=True, nogil=True)
def _take_tasks(shared: int, scratch: int) -> None:
    """Take and run tasks until all of the open instruction have been taken."""
    while True:
        ticket = _read(shared + 8 * _TICKET)
        task, tasks = ticket & 0xFFFF, (ticket >> 16) & 0xFFFF
        if task >= tasks:
            return
        if _claim(shared + 8 * _TICKET, ticket):
            at = _read(shared + 8 * _INSTRUCTION)
            _call(_read(at), at + 16, task, scratch)
            _add(shared + 8 * _DONE, 1)


def _primitive(result: Any, emit: Any, *arguments: Any) -> Any:
    """Make a function of int64 arguments for compiled code from `emit(builder, *values)`."""
    def typing(typing_context: Any, *given: Any) -> Any:
        return result(*arguments), lambda context, b, signature, values: emit(b, *values)

    names = ["typing_context", *(f"a{i}" for i in range(len(arguments)))]
    typing.__signature__ = _signature(names)  # type: ignore[attr-defined]
    return intrinsic(typing)


def _signature(names: list[str]) -> Any:
    from inspect import Parameter, Signature

    return Signature([Parameter(name, Parameter.POSITIONAL_OR_KEYWORD) for name in names])


def _pointer(b: Any, address: Any) -> Any:
    return b.inttoptr(address, _I64.as_pointer())


def _emit_claim(b: Any, address: Any, ticket: Any) -> Any:
    pair = b.cmpxchg(_pointer(b, address), ticket, b.add(ticket, _I64(1)), "acq_rel", "acquire")
    return b.extract_value(pair, 1)


def _emit_call(b: Any, function: Any, arguments: Any, task: Any, scratch: Any) -> Any:
    kind = ir.FunctionType(ir.VoidType(), [_I64] * 3)
    b.call(b.inttoptr(function, kind.as_pointer()), [arguments, task, scratch])
    return cgutils.get_null_value(ir.IntType(8).as_pointer())


def _emit_external(name: str, result: Any, *arguments: Any) -> Any:
    def emit(b: Any) -> Any:
        kind = ir.FunctionType(result, [a.type for a in arguments])
        value = b.call(cgutils.get_or_insert_function(b.module, kind, name), arguments)
        return cgutils.get_null_value(ir.IntType(8).as_pointer()) if result == ir.VoidType() else value

    return emit


def _emit_write(b: Any, address: Any, value: Any) -> Any:
    b.store_atomic(value, _pointer(b, address), "seq_cst", 8)
    return cgutils.get_null_value(ir.IntType(8).as_pointer())


def _emit_add(b: Any, address: Any, value: Any) -> Any:
    return b.atomic_rmw("add", _pointer(b, address), value, "seq_cst")


_int, _none = types.int64, types.void
_read = _primitive(_int, lambda b, address: b.load_atomic(_pointer(b, address), "acquire", 8), _int)
_write = _primitive(_none, _emit_write, _int, _int)
_add = _primitive(_int, _emit_add, _int, _int)  # returns what was there before
_claim = _primitive(types.boolean, _emit_claim, _int, _int)
_call = _primitive(_none, _emit_call, _int, _int, _int, _int)
_ticks = _primitive(_int, _emit_external("llvm.readcyclecounter", _I64))
if "x86" in os.uname().machine if hasattr(os, "uname") else True:
    _relax = _primitive(_none, _emit_external("llvm.x86.sse2.pause", ir.VoidType()))
else:
    _relax = _primitive(_none, _emit_external("llvm.aarch64.hint", ir.VoidType(), ir.IntType(32)(1)))  # yield
_nap = _primitive(_none, _emit_external("usleep", ir.VoidType(), ir.IntType(32)(20)))

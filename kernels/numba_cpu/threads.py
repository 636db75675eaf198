"""One pool of threads for all kernels, made for steps that take microseconds and for machines that others use too.

A program is a list of instructions, an instruction a compiled function and a number of tasks, any of which may run at
the same time. The thread that calls `run` leads: it opens one instruction after the other, and takes tasks like
everybody else. The followers take tasks of whatever instruction is open. So nobody waits for a follower that the
operating system has put aside, unless it holds a task; a barrier, where everybody waits for everybody, made a step of
0.1 ms take 12 ms on a busy machine. Nobody spins for long either: a follower without work gives up after PATIENCE and
sleeps until the next program, a leader that waits naps.

Of the tasks of an instruction each thread has a share, always the same: at the next step it finds what it has written
in its own cache. Taken from one common queue, half of it was in the other core's, and two threads were slower than one.
Whoever is done with its share helps the others with theirs.

Which thread runs a task changes no result: a task writes its own part of the output, and the sum of partial sums is
an instruction of its own, in a fixed order.
"""

from __future__ import annotations

import os
import threading
import time
from functools import cache

import numpy as np
from numba import njit

from .atomic import add, call_function, claim, nap, read, relax, ticks, write

WORDS = 32  # int64 words an instruction: function, number of tasks, arguments
MOST_TASKS = 2**16 - 1  # of one instruction
PATIENCE = 150e-6  # seconds that a thread without work spins for

# Words of the state that the threads share, each in a cache line of its own; then one ticket for each thread.
_OPEN, _DONE, _INSTRUCTION, _AWAKE, _RUNNING, _STOP, _PATIENCE, _SCRATCH, _SCRATCH_SIZE, _TICKETS = range(0, 80, 8)
_MOST_THREADS = 256


class _Pool:
    """The state of the pool; there is one in a process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()  # held by the leader
        self.shared = np.zeros(_TICKETS + 8 * _MOST_THREADS, np.int64)
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
        _pool.count = min(_MOST_THREADS, int(given) if given else len(_usable_cpus()))
    return _pool.count


def set_threads(count: int) -> None:
    """Let kernels run on `count` threads from now on, at least 1; results do not depend on it."""
    if count < 1:
        raise ValueError(f"threads: expected at least 1, got {count}")
    with _pool.lock:
        _stop()
        _pool.count = min(_MOST_THREADS, int(count))


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
        others = threads() - 1
        if _pool.shared[_SCRATCH_SIZE] < scratch:
            _take_scratch(scratch)
        if others:
            if len(_pool.followers) < others:
                _start()
            for _ in range(others - _announce(_pool.address)):
                _pool.wake.release()
        _lead(code, count, _pool.address, _pool.count)
    except BaseException:  # Ctrl+C, before the program was begun: the followers are awake and wait for it
        _pool.shared[_RUNNING] = 0
        raise
    finally:
        _pool.lock.release()


def _run_alone(code: int, count: int, scratch: int) -> None:
    shared, _ = getattr(_alone, "kept", (None, None))
    if shared is None or shared[_SCRATCH_SIZE] < scratch:
        memory, shared = np.empty(scratch + 64, np.uint8), np.zeros(_TICKETS + 8, np.int64)
        shared[_SCRATCH], shared[_SCRATCH_SIZE] = -(-memory.ctypes.data // 64) * 64, scratch
        _alone.kept = shared, memory  # both or, should an interrupt come, none
    _lead(code, count, shared.ctypes.data, 1)


def _take_scratch(scratch: int) -> None:
    each = -(-scratch // 4096) * 4096 + 192  # not a multiple of a page: equal offsets would share cache sets
    _pool.shared[_SCRATCH_SIZE] = 0  # should an interrupt come before the new address: what is no more has no room
    _pool.scratch = np.zeros(each * _pool.count + 64, np.uint8)
    _pool.shared[_SCRATCH] = -(-_pool.scratch.ctypes.data // 64) * 64
    _pool.shared[_SCRATCH_SIZE] = each


def _start() -> None:
    _pool.shared[_STOP], _pool.shared[_PATIENCE] = 0, _patience()
    for number in range(len(_pool.followers) + 1, _pool.count):
        thread = threading.Thread(target=_serve, args=(_pool, number), name=f"refplay-{number}", daemon=True)
        _pool.followers.append(thread)
        thread.start()


@cache
def _patience() -> int:
    """Return PATIENCE in ticks of the CPU's clock, which some CPUs count a hundred times as slowly as others."""
    _ticks_now()  # compiles it, which takes longer than all that is to be measured
    start, ticks_then = time.perf_counter(), _ticks_now()
    while time.perf_counter() - start < 1e-3:
        pass
    return max(1, int((_ticks_now() - ticks_then) / (time.perf_counter() - start) * PATIENCE))


def _serve(pool: _Pool, number: int) -> None:
    """What a follower does: sleep until a leader calls, take tasks while there are any, sleep again."""
    while True:
        pool.wake.acquire()
        _follow(pool.address, number, pool.count)
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
    _pool.shared[_SCRATCH_SIZE], _pool.scratch = 0, np.zeros(0, np.uint8)


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


# What runs without Python. A ticket is one int64: the number of the instruction, the end of a share of its tasks, and
# the next of them (32, 16, 16 bits). Whoever raises the last part by one, in one piece with having read the rest, owns
# that task.


@njit(cache=True)
def _ticks_now() -> int:
    return int(ticks())


@njit(cache=True)
def _announce(shared: int) -> int:
    """Say that a program runs, and return how many followers will have seen that: nobody falls asleep over it."""
    write(shared + 8 * _RUNNING, 1)
    return int(add(shared + 8 * _AWAKE, 0))


@njit(cache=True, nogil=True)
def _lead(code: int, count: int, shared: int, threads: int) -> None:
    scratch, patience = read(shared + 8 * _SCRATCH), read(shared + 8 * _PATIENCE)
    for i in range(count):
        at = code + i * (8 * WORDS)
        function, tasks = read(at), read(at + 8)
        if threads == 1 or tasks == 1:
            for task in range(tasks):
                call_function(function, at + 16, task, scratch)
            continue
        number = read(shared + 8 * _OPEN) + 1
        write(shared + 8 * _INSTRUCTION, at)
        write(shared + 8 * _DONE, 0)
        for who in range(threads):
            first, end = who * tasks // threads, (who + 1) * tasks // threads
            write(shared + 8 * (_TICKETS + 8 * who), (number << 32) | (end << 16) | first)
        write(shared + 8 * _OPEN, number)
        _take_tasks(shared, 0, threads)
        since = ticks()
        while read(shared + 8 * _DONE) < tasks:
            relax()
            if ticks() - since > patience:  # a follower holds a task and may have been put aside
                nap()
    write(shared + 8 * _RUNNING, 0)


@njit(cache=True, nogil=True)
def _follow(shared: int, number: int, threads: int) -> None:
    add(shared + 8 * _AWAKE, 1)
    since, seen, patience = ticks(), 0, read(shared + 8 * _PATIENCE)
    while not read(shared + 8 * _STOP):
        opened = read(shared + 8 * _OPEN)
        if opened != seen:
            seen = opened
            _take_tasks(shared, number, threads)
            since = ticks()
        elif ticks() - since < patience:
            relax()
        elif add(shared + 8 * _RUNNING, 0):  # a long stretch of single tasks
            nap()
        else:
            add(shared + 8 * _AWAKE, -1)
            if not add(shared + 8 * _RUNNING, 0):
                return
            add(shared + 8 * _AWAKE, 1)  # a leader has counted on this follower in between
    add(shared + 8 * _AWAKE, -1)


@njit(cache=True, nogil=True)
def _take_tasks(shared: int, me: int, threads: int) -> None:
    """Take and run the tasks of my share, then what is left of the others'."""
    for k in range(threads):
        mine = shared + 8 * (_TICKETS + 8 * ((me + k) % threads))
        while True:
            ticket = read(mine)
            task, end = ticket & 0xFFFF, (ticket >> 16) & 0xFFFF
            if task >= end:
                break
            if claim(mine, ticket):  # only now: who was put aside may hold a task of a later program than it came for
                at = read(shared + 8 * _INSTRUCTION)
                scratch = read(shared + 8 * _SCRATCH) + me * read(shared + 8 * _SCRATCH_SIZE)
                call_function(read(at), at + 16, task, scratch)
                add(shared + 8 * _DONE, 1)

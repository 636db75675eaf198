"""The pool: every task once, whatever the number of threads, who calls, and who has forked."""

import multiprocessing
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from refplay.kernels.numba_cpu import threads
from refplay.kernels.numba_cpu.atomic import add, nap, read
from refplay.kernels.numba_cpu.program import Program, call, ints_at, kernel


@kernel
def count_up(a, task, scratch):
    """counts[task] += step; also uses the scratch, so that two tasks on the same would be seen."""
    own, counts, work = ints_at(scratch), ints_at(a[0]), a[2]
    own[0] = 0
    for _ in range(work):
        own[0] += 1
    counts[task] += a[1] * own[0] // work


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = threads.threads()
    yield
    threads.set_threads(before)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_task_of_every_instruction_runs_once(count):
    threads.set_threads(count)
    counts = [np.zeros(tasks, np.int64) for tasks in (1, 2, 7, 300)]
    program = Program([call(count_up, len(c), c, i + 1, 50, scratch=64) for i, c in enumerate(counts)])
    for _ in range(200):
        program.run()
    for i, c in enumerate(counts):
        np.testing.assert_array_equal(c, 200 * (i + 1))


@kernel
def look_at_scratch(a, task, scratch):
    """places[task] = the address of the scratch, as soon as each of the tasks is in the hands of another thread."""
    places, begun, tasks = ints_at(a[0]), a[1], a[2]
    add(begun, 1)
    while read(begun) < tasks:
        nap()
    places[task] = scratch


@pytest.mark.parametrize("count", [1, 2, 5])
def test_no_scratch_reaches_into_another_thread_s_or_past_the_end(count):
    threads.set_threads(count)
    places = np.zeros(count, np.int64)
    for size in (4096, 4096 + 192, 4096 + 192 + 8, 4096 + 192 + 64):  # what is taken is a page and 192 bytes more
        Program([call(look_at_scratch, count, places, np.zeros(1, np.int64), count, scratch=size)]).run()
        memory = threads._pool.scratch
        assert min(np.diff([*sorted(places), memory.ctypes.data + memory.size])) >= size


def test_several_threads_of_python_may_run_programs_at_the_same_time():
    threads.set_threads(2)
    counts = np.zeros((4, 64), np.int64)

    def run(mine):
        program = Program([call(count_up, 64, mine, 1, 500, scratch=64)] * 3)
        for _ in range(50):
            program.run()

    workers = [threading.Thread(target=run, args=(mine,)) for mine in counts]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    np.testing.assert_array_equal(counts, 150)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
def test_a_forked_child_has_a_pool_of_its_own():
    threads.set_threads(2)
    counts = np.zeros(64, np.int64)
    Program([call(count_up, 64, counts, 1, 50, scratch=64)]).run()

    def child(queue):
        mine = np.zeros(64, np.int64)
        Program([call(count_up, 64, mine, 2, 50, scratch=64)]).run()
        queue.put(mine.sum())

    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    assert queue.get(timeout=60) == 128
    process.join()


def test_the_environment_sets_the_number_of_threads():
    code = "from refplay.kernels.numba_cpu.threads import threads; print(threads())"
    for given, expected in (("3", "3"), ("", str(len(os.sched_getaffinity(0))))):
        found = subprocess.run([sys.executable, "-c", code], env={**os.environ, "REFPLAY_THREADS": given},
                               capture_output=True, text=True, check=True)
        assert found.stdout.strip() == expected
    wrong = subprocess.run([sys.executable, "-c", code], env={**os.environ, "REFPLAY_THREADS": "two"},
                           capture_output=True, text=True, check=False)
    assert "REFPLAY_THREADS is 'two'; it must be a whole number of at least 1" in wrong.stderr


TRAIN = """
import os, threading
import numpy as np
cpus = os.sched_getaffinity(0)
os.sched_setaffinity(0, sorted(cpus)[:{cpus}])
from refplay.kernels import load
from refplay.nn import Network, convnet
from refplay.train import make_step
k = load("numba")
rng = np.random.default_rng(0)
x, w = (rng.integers(-9, 9, shape).astype(np.float32) for shape in ((210, 300), (300, 450)))
y = np.zeros((210, 450), np.float32)
k.dense_forward(x, w, np.zeros(450, np.float32), y)
assert np.array_equal(y, x @ w)
network = Network(convnet((8, 8, 1), 10, width=8), k, seed=1)
step = make_step(network, "adam", 64)
for _ in range(3):
    loss = step(rng.normal(size=(64, 8, 8, 1)).astype(np.float32), rng.integers(0, 10, 64), 0.01)
workers = sum(thread.name.startswith("refplay-") for thread in threading.enumerate())
print(k.threads.threads(), workers, loss, network.theta.tobytes().hex())
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="a system that binds no process to a CPU")
def test_one_core_has_one_thread_and_trains_to_the_same_bits():
    def train(cpus, threads):
        code = TRAIN.format(cpus=cpus)
        done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "REFPLAY_THREADS": threads},
                              capture_output=True, text=True, check=True)
        return done.stdout.split()

    one = train(1, "")
    assert one[:2] == ["1", "0"]
    for two in train(1, "2"), train(2, "2"):  # two threads on one core; on two, where there are two
        assert two[:2] == ["2", "1"]
        assert two[2:] == one[2:]


def test_a_bad_number_of_threads_is_one_line_of_the_command():
    command = [sys.executable, "-m", "refplay"]
    environment = {**os.environ, "REFPLAY_THREADS": "0"}
    run = subprocess.run([*command, "throughput", "--model", "mlp", "--batch-sizes", "1"], env=environment,
                         capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr.count("\n") == 1
    assert "REFPLAY_THREADS is '0'" in run.stderr
    told = subprocess.run([*command, "backends"], env=environment, capture_output=True, text=True, check=True)
    assert "REFPLAY_THREADS is '0'" in told.stdout


def test_bad_counts_are_refused():
    with pytest.raises(ValueError, match="expected at least 1, got 0"):
        threads.set_threads(0)
    with pytest.raises(ValueError, match="too many"):
        Program([call(count_up, 70_000, np.zeros(1), 1, 1)])


def test_followers_sleep_when_there_is_nothing_to_do():
    threads.set_threads(2)
    counts = np.zeros(8, np.int64)
    program = Program([call(count_up, 8, counts, 1, 50, scratch=64)])
    program.run()
    time.sleep(0.05)
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.1  # of all threads of this process; spinning would take 0.3


def test_an_interrupt_before_the_program_begins_lets_the_followers_sleep_and_the_next_program_run(monkeypatch):
    threads.set_threads(3)
    counts = np.zeros(64, np.int64)
    program = Program([call(count_up, 64, counts, 1, 50, scratch=64)])
    program.run()

    awake = threads._pool.shared[threads._AWAKE :][:1]

    def interrupted(*_):
        while awake < 2:
            time.sleep(0.001)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threads, "_lead", interrupted)
        with pytest.raises(KeyboardInterrupt):
            program.run()
    end = time.monotonic() + 10
    while awake and time.monotonic() < end:
        time.sleep(0.01)
    assert awake == 0
    program.run()
    np.testing.assert_array_equal(counts, 2)

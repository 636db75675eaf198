"""Seconds from the start of a process of its own."""

from compile_time import start_to


def test_times_printed_are_counted_from_the_start_of_python() -> None:
    early, late = start_to("import time\nprint(time.time())\ntime.sleep(0.2)\nprint(time.time())")
    assert 0.0 < early < 60.0
    assert 0.2 <= late - early < 60.0


def test_what_prints_nothing_is_timed_to_its_end() -> None:
    (seconds,) = start_to("import time; time.sleep(0.2)")
    assert 0.2 <= seconds < 60.0


def test_refplay_is_that_of_this_checkout() -> None:
    assert len(start_to("import time, refplay.kernels\nprint(time.time())")) == 1

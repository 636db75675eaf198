"""The table of a measurement: every size with its numbers, in any width of terminal."""

import io

import pytest
from rich.console import Console

from refplay.analysis.throughput import Comparison, Measured, Timing, failure
from refplay.report.throughput import print_throughput, throughput_table


def timing(size: int, seconds: float) -> Timing:
    return Timing(size, seconds, 0.95 * seconds, 1.1 * seconds, (seconds,), 1e-5, 20, size * 3 * 2**20)


@pytest.fixture
def found() -> Measured:
    ours = timing(8, 1e-3), timing(16, 1.1e-3), timing(32, 2.1e-3), failure(64, 2**30, "over the memory budget")
    peers = {"torch": (timing(8, 4e-3), timing(16, 1e-3), failure(32, 0, "out of memory"))}
    key = {"model": "mlp[bold]", "optimizer": "adam", "data": "digits", "backend": "numba", "cpu": "A CPU",
           "cores": "2", "threads": "2", "numpy": "2.4"}
    return Measured(key, 2**29, ours, peers, Comparison("in 4 pieces of 4", timing(16, 1e-3), timing(16, 2e-3)), None,
                    "batch size 64: over the memory budget", 0.0)


def printed(found: Measured, width: int) -> str:
    out = io.StringIO()
    print_throughput(found, Console(file=out, width=width))
    return out.getvalue()


def test_rows_are_the_measurements(found: Measured) -> None:
    table = throughput_table(found)
    assert table.head == ("batch", "examples/s", "step", "spread", "waits", "memory", "gain", "bottleneck", "× torch")
    assert table.rows == [
        ("8", "8,000", "1 ms", "15%", "1.0%", "24 MiB", "", "", "4.00"),
        ("16", "14,545", "1.1 ms", "15%", "0.9%", "48 MiB", "1.82", "–", "0.91"),
        ("32", "15,238", "2.1 ms", "15%", "0.5%", "96 MiB", "1.05", "compute", "out of memory"),
        ("64", "over the memory budget", "", "", "", "1 GiB", "", "", ""),
    ]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 160])
def test_no_number_is_cut_in_any_terminal(found: Measured, width: int) -> None:
    text = printed(found, width)
    assert "…" not in text
    for cell in ("14,545", "1.1 ms", "0.91", "48 MiB", "mlp[bold]"):
        assert cell in " ".join(text.split())


def test_key_findings_and_budget_are_there(found: Measured) -> None:
    text = " ".join(printed(found, 120).split())
    for words in ("adam", "A CPU, 2 cores, 2 threads", "numpy 2.4", "memory budget 512 MiB",
                  "Consider batch sizes up to 16", "in 4 pieces of 4", "0.50 times"):
        assert words in text


def test_nothing_measured_prints_too(found: Measured) -> None:
    nothing = found._replace(ours=(failure(8, 10, "out of memory"),), peers={}, accumulation=None)
    assert "No batch size could be measured" in printed(nothing, 80)

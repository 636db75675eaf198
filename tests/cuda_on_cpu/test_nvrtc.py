"""Every kernel compiles for every architecture, and takes what the committed table says."""

import subprocess

import pytest

from cuda_on_cpu import nvrtc

LOG = """\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'two' for 'sm_90'
ptxas info    : Function properties for two
ptxas         .     96 bytes stack frame, 16 bytes spill stores, 24 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 72 bytes smem
ptxas info    : Compile time = 1.984 ms
ptxas info    : Compiling entry function 'one' for 'sm_90'
ptxas info    : Function properties for one
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 8 registers, used 0 barriers, 360 bytes cmem[0]
"""


def test_the_log_is_read() -> None:
    assert nvrtc.parse(LOG, "file", 90) == [
        ("file", "two", 90, 255, 72, 96, 40),
        ("file", "one", 90, 8, 0, 0, 0),
    ]


def test_a_log_of_another_form_is_an_error() -> None:
    with pytest.raises(ValueError, match="another form"):
        nvrtc.parse(LOG.replace("spill stores", "stores"), "file", 90)


@pytest.mark.parametrize("beside", ["nvrtc"], indirect=True)
def test_the_committed_table(beside: subprocess.CompletedProcess[str]) -> None:
    """`python tests/cuda_on_cpu/nvrtc.py --write` writes it anew, after a change of a kernel or of the compiler."""
    assert beside.returncode == 0, beside.stdout
    assert not nvrtc.differences(nvrtc.TABLE.read_text(), beside.stdout)


def test_differences_are_lines() -> None:
    assert nvrtc.differences("a\nb\n", "a\nc\n") == ["- b", "+ c"]


def test_a_table_is_read() -> None:
    rows = nvrtc.parse(LOG, "file", 90)
    assert nvrtc.from_table(nvrtc.as_table(rows)) == rows


def test_nothing_spills() -> None:
    rows = nvrtc.from_table(nvrtc.TABLE.read_text())
    assert rows
    assert not [row for row in rows if row.spilled or row.local]

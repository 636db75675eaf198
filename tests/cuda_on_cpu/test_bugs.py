"""The catalogue of planted bugs: each is seen, by the tools that the documentation says, its clean twin by none."""

import json
import re
from functools import cache
from pathlib import Path

import pytest

from cuda_on_cpu.build import VARIANTS
from cuda_on_cpu.sanitizers import run_python

HERE = Path(__file__).parent
DOCUMENTATION = HERE.parents[1] / "docs" / "cuda_on_cpu.md"

# Who sees it in the variants plain, address and thread. "result": wrong numbers, which the test of a kernel sees.
SEEN = {
    "out_of_bounds_read": ("", "address", ""),
    "out_of_bounds_write": ("", "address", ""),
    "write_in_front": ("", "address", ""),
    "vector_past_the_end": ("", "address", ""),
    "misaligned_vector": ("undefined", "undefined", "undefined"),
    "misaligned_shared_vector": ("undefined", "undefined", "undefined"),
    "missing_syncthreads": ("order", "result", "thread"),
    "missing_second_syncthreads": ("", "", "thread"),
    "missing_syncwarp": ("order", "result", "thread"),
    "shuffle_as_barrier": ("", "", "thread"),
    "shared_overrun": ("undefined", "undefined", "undefined"),
    "shared_row_overrun": ("undefined", "undefined", "undefined"),
    "dynamic_shared_overrun": ("", "address", ""),
    "uninitialised_shared": ("result", "result", "result"),
    "shared_from_the_block_before": ("result", "result", "result"),
    "uninitialised_register": ("result", "result", "result"),
    "divergent_barrier": ("runtime", "runtime", "runtime"),
    "barrier_after_return": ("runtime", "runtime", "runtime"),
    "shuffle_from_inactive_lane": ("runtime", "runtime", "runtime"),
    "shuffle_without_a_named_lane": ("runtime", "runtime", "runtime"),
    "barrier_against_shuffle": ("runtime", "runtime", "runtime"),
    "race_between_blocks": ("", "", "thread"),
    "missing_fence": ("", "", "thread"),
    "sum_by_float_atomics": ("order", "", ""),
    "warp_found_by_activemask": ("result", "result", "result"),
    "shift_by_the_width": ("", "undefined", ""),
    "index_overflow": ("", "undefined", ""),
    "missing_async_wait": ("result", "result", "result"),
    "async_wait_after_barrier": ("order", "result", "thread"),
    "async_copy_over_what_is_read": ("order", "result", "thread"),
}
CASES = [(variant, bug, tools[i]) for bug, tools in SEEN.items() for i, variant in enumerate(VARIANTS)]


@cache
def verdicts(variant: str) -> dict[str, list[str]]:
    done = run_python([str(HERE / "run_bugs.py")], variant)
    assert done.returncode == 0, done.stdout
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(("variant", "bug", "tool"), CASES)
def test_bug(variant: str, bug: str, tool: str) -> None:
    seen, message = verdicts(variant)[bug]
    assert seen == tool, message
    if tool not in ("", "result", "order"):
        assert marked_line(bug) in lines_of(message)


@pytest.mark.parametrize(("variant", "bug"), [(variant, bug) for variant, bug, _ in CASES])
def test_clean_twin(variant: str, bug: str) -> None:
    assert verdicts(variant)[f"{bug}_clean"] == ["", ""]


def test_every_kernel_of_the_file_is_in_the_catalogue() -> None:
    assert set(verdicts("plain")) == {*SEEN, *(f"{bug}_clean" for bug in SEEN)}


def test_documentation_has_the_catalogue() -> None:
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| (.*?) \| (.*?) \| (.*?) \|$", DOCUMENTATION.read_text(), re.MULTILINE)
    assert {row[0]: tuple(cell.strip("– ") for cell in row[1:]) for row in rows} == SEEN


def marked_line(bug: str) -> int:
    """Return the line of bugs.cu with the bug: of its kernel, the one marked BUG."""
    lines = (HERE / "bugs.cu").read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if f") {bug}(" in line)
    return next(i for i in range(start, len(lines)) if "// BUG" in lines[i]) + 1


def lines_of(message: str) -> range:
    """Return the lines of bugs.cu around the first one that the message names: a race is near the missing barrier."""
    line = int(re.findall(r"bugs\.cu:(\d+)", message)[0])
    return range(line - 4, line + 5)

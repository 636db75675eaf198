"""Every kernel, compiled without a GPU, against the committed table of what it takes."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TABLE = HERE.parents[1] / "kernels" / "numba_cuda" / "resources.tsv"
ARCHITECTURES = ("sm_75", "sm_80", "sm_90", "sm_100")
# Kernels of float32 that compute in double, and why.
DOUBLES = {
    "optim": "sums of decayed state: 0.999 rounded to float32 would be a decay of another length",
    "reduce": "sums over a whole vector, and factors that come from the host",
    "sums": "columns over all pixels of a batch: a GPU adds faster than it reads",
    "resident": "clipping is scaling by a factor from such a sum",
}
REGISTERS, REGISTERS_OF_A_THREAD, THREADS, SHARED = 65536, 255, 1024, 48 * 1024  # limits of all four architectures
UNIT = 8  # registers of a thread are handed out in eights


def outside_of_pytest(*arguments):
    """Run Python in a process of its own: numba-cuda is changed there. Not in the simulator, which cannot compile."""
    environment = {key: value for key, value in os.environ.items() if key != "NUMBA_ENABLE_CUDASIM"}
    return subprocess.run([sys.executable, *arguments], cwd=HERE, env=environment, capture_output=True, text=True)


def parsed(text):
    """Return the line of compilers, and the rows by kernel and types."""
    lines = text.splitlines()
    compilers = next(line for line in lines if line.startswith("# Compilers:"))
    rows = csv.DictReader([line for line in lines if not line.startswith("#")], delimiter="\t")
    return compilers, {(row["kernel"], row["types"]): row for row in rows}


def differences(committed, found):
    """Return what has become other than in the committed table.

    Of the compilers that wrote the table nothing may differ. Others number their registers differently: up to 8 more of
    them are let pass, the unit in which they are handed out, but no spill, no stack, no double where none was.
    """
    (before, old), (now, new) = parsed(committed), parsed(found)
    told = [f"{key}: new" for key in new.keys() - old.keys()] + [f"{key}: gone" for key in old.keys() - new.keys()]
    for key in old.keys() & new.keys():
        for column, value in new[key].items():
            was = old[key][column]
            if before == now or column in ("threads", "shared"):
                worse = value != was
            elif column in ARCHITECTURES:
                worse = int(value) > int(was) + UNIT
            elif column == "f64":
                worse = was == "0" != value
            else:
                worse = column in ("stack", "spills") and int(value) > int(was)
            if worse:
                told.append(f"{key}: {column} was {was}, is {value}")
    return sorted(told)


@pytest.fixture(scope="module")
def committed():
    return TABLE.read_text()


def test_the_compilers_make_of_each_kernel_what_the_table_says(committed):
    result = outside_of_pytest("resources.py")
    assert result.returncode == 0, result.stderr[-4000:]
    told = differences(committed, result.stdout)
    assert not told, "\n".join([*told, "as meant? python tests/cuda_compiled/resources.py --write"])


def test_no_kernel_spills(committed):
    """A local array that is indexed by a variable, or more values than registers, live in memory."""
    spilling = [key for key, row in parsed(committed)[1].items() if row["stack"] != "0" or row["spills"] != "0"]
    assert not spilling


def test_float32_is_computed_in_float32(committed):
    """Most GPUs have 1 unit for doubles to 64 for floats, and one Python float literal makes doubles of all."""
    rows = parsed(committed)[1]
    doubles = {key for key, row in rows.items() if "f64[" not in key[1].split()[0] and row["f64"] != "0"}
    assert not {key for key in doubles if key[0].split(".")[0] not in DOUBLES}
    assert {key[0].split(".")[0] for key in doubles} == set(DOUBLES), "a reason for doubles that nothing needs"


def test_every_launch_fits_on_every_architecture(committed):
    for key, row in parsed(committed)[1].items():
        threads = -(-int(row["threads"]) // 32) * 32
        assert threads <= THREADS, key
        assert int(row["shared"]) <= SHARED, key
        for architecture in ARCHITECTURES:
            registers = int(row[architecture])
            assert registers <= REGISTERS_OF_A_THREAD, key
            assert -(-registers // UNIT) * UNIT * threads <= REGISTERS, (key, architecture)


COLUMNS = ["kernel", "types", "threads", "shared", "stack", "spills", "f64", *ARCHITECTURES]
HEAD = "# Compilers: {}.\n" + "\t".join(COLUMNS)
ROW = ["a.b", "f32[:]", "256", "0", "0", "0", "0", "30", "31", "32", "33"]


def written(compilers, *rows):
    return "\n".join([HEAD.format(compilers), *["\t".join(row) for row in rows]])


@pytest.mark.parametrize(
    ("column", "value", "same", "other"),
    [(2, "128", True, True), (3, "64", True, True), (4, "8", True, True), (5, "4", True, True), (6, "2", True, True),
     (7, "31", True, False), (7, "29", True, False), (10, "41", True, False), (10, "42", True, True)],
)  # fmt: skip
def test_what_counts_as_a_difference(column, value, same, other):
    changed = [*ROW[:column], value, *ROW[column + 1 :]]
    assert bool(differences(written("x 1", ROW), written("x 1", changed))) == same
    assert bool(differences(written("x 1", ROW), written("x 2", changed))) == other


def test_kernels_that_come_and_go_are_differences():
    assert not differences(written("x 1", ROW), written("x 2", ROW))
    assert differences(written("x 1"), written("x 1", ROW)) == ["('a.b', 'f32[:]'): new"]
    assert differences(written("x 1", ROW), written("x 2")) == ["('a.b', 'f32[:]'): gone"]


PLANTED = """
from dry_run import Kernel, launched
from numba import cuda, types
from resources import problems, row

launched()

def indexed(x, y, i):
    held = cuda.local.array(64, x.dtype)
    for k in range(64):
        held[k] = x[k] * x[k + i]
    y[0] = held[i]

def literal(x, y, i):
    y[i] = x[i] * 0.1

def counted(x, y, i):
    cuda.atomic.add(y, 0, x[i])

def shuffled(x, y, i):
    y[i] = cuda.shfl_sync(0xFFFFFFFF, x[i], 3)

def shared(x, y, i):
    held = cuda.shared.array(256, x.dtype)
    held[cuda.threadIdx.x] = x[i]
    cuda.syncthreads()
    y[i] = held[255 - cuda.threadIdx.x]

f = types.Array(types.float32, 1, "C")
rows = [row(Kernel(cuda.jit(k), (f, f, types.int64), 256)) for k in (indexed, literal, counted, shuffled, shared)]
for found in rows:
    print(found.kernel.split('.')[1], found.stack > 0, found.f64 > 0, bool(found.forbidden), found.shared)
print(*problems([*rows, rows[0]]), sep="\\n")
"""


def test_the_table_would_show_what_a_kernel_does_wrong():
    result = outside_of_pytest("-c", PLANTED)
    told = result.stdout.splitlines()
    assert told[:5] == [
        "indexed True False False 0", "literal False True False 0", "counted False False True 0",
        "shuffled False False True 0", "shared False False False 1024",
    ], result.stderr  # fmt: skip
    for line, name in zip(told[5:10], ("counted", "indexed", "literal", "shared", "shuffled"), strict=True):
        assert line == f"__main__.{name}: nothing launches it; call it in dry_run.py, or remove it"
    assert told[10:] == [
        "__main__.counted: uses atom", "__main__.shuffled: uses shfl",
        "__main__.indexed: two kernels have this name and types f32[:] f32[:] i64",
    ]  # fmt: skip

"""From CUDA C++ to machine code: NVRTC's log where it refuses, and the cache on disk. No GPU is needed for either."""

import shutil
import struct

import pytest

KERNEL = """#include "twice.cuh"
extern "C" __global__ void kernel(float* x) {
  x[threadIdx.x] = twice(x[threadIdx.x]);
}
"""
HEADER = """#pragma once
__device__ inline float twice(float x) { return 2 * x; }
"""


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """The module, with sources and cache in folders of the test."""
    from refplay.kernels.cupy_cuda import compile as module

    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "one.cu").write_text(KERNEL)
    (tmp_path / "sources" / "twice.cuh").write_text(HEADER)
    monkeypatch.setattr(module, "FOLDER", tmp_path / "sources")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    module._cache_folder.cache_clear()
    yield module
    module._cache_folder.cache_clear()


@pytest.fixture
def compilations(compiler, monkeypatch):
    """How often the compiler was called."""
    calls = []
    compile_source = compiler.compile_source
    monkeypatch.setattr(compiler, "compile_source", lambda *a: calls.append(a) or compile_source(*a))
    return calls


def assert_is_whole(elf):
    """Its tables of sections and segments lie within the file: their places, and sizes and counts of entries."""
    sections, segments = struct.unpack_from("<Q", elf, 0x28)[0], struct.unpack_from("<Q", elf, 0x20)[0]
    segment, segment_count, section, section_count = struct.unpack_from("<4H", elf, 0x36)
    assert elf[:4] == b"\x7fELF"
    assert max(sections + section * section_count, segments + segment * segment_count) <= len(elf)


@pytest.mark.parametrize(
    ("file", "line", "says"),
    [("one.cu", "  return x + y;", r"one\.cu\(3\): error: identifier \"y\" is undefined"),
     ("twice.cuh", "__device__ float half(float x) { return x /; }", r"twice\.cuh\(3\): error: expected an exp")],
)  # fmt: skip
def test_what_does_not_compile_is_told_with_file_and_line(compiler, file, line, says):
    path = compiler.FOLDER / file
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], line, *lines[3:]]))
    with pytest.raises(compiler.CompileError, match=says) as raised:
        compiler.cubin("one", 90)
    assert str(raised.value).startswith("one.cu does not compile for sm_90")


def test_an_architecture_that_the_compiler_does_not_know_is_named(compiler):
    with pytest.raises(compiler.CompileError, match=r"one\.cu does not compile for sm_61"):
        compiler.cubin("one", 61)


def test_machine_code_is_kept_until_a_source_changes(compiler, compilations):
    first = compiler.cubin("one", 90)
    assert_is_whole(first)
    assert compiler.cubin("one", 90) == first
    assert len(compilations) == 1
    for count, change in enumerate(("one.cu", "twice.cuh"), start=2):
        path = compiler.FOLDER / change
        path.write_text(path.read_text().replace("2 *", "3 *").replace("threadIdx.x] =", "threadIdx.x + 1] ="))
        assert compiler.cubin("one", 90) != first
        assert len(compilations) == count
    compiler.cubin("one", 80)
    assert len(compilations) == 4


def test_without_a_place_to_keep_it_it_is_compiled_each_time(compiler, compilations, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert compiler.cubin("one", 90) == compiler.cubin("one", 90)
    assert len(compilations) == 2


def test_a_cache_that_is_deleted_is_made_again(compiler, compilations, tmp_path):
    first = compiler.cubin("one", 90)
    shutil.rmtree(tmp_path / "cache")
    assert compiler.cubin("one", 90) == first
    assert len(compilations) == 2

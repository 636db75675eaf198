"""rewrite.py: what it makes of declarations and kernels, and that it refuses what it does not know."""

from pathlib import Path

import pytest

from cuda_on_cpu.launch import Module
from cuda_on_cpu.rewrite import SourceError, rewrite


def rewritten(folder: Path, text: str) -> str:
    source = folder / "kernel.cu"
    source.write_text(text)
    return rewrite(source)


@pytest.mark.parametrize(
    ("declaration", "call"),
    [
        ("__shared__ float s[16][TILE + 1];", "auto& s = cuda_cpu::shared<float[16][TILE + 1]>([] {});"),
        ("__shared__ unsigned char flags[4];", "auto& flags = cuda_cpu::shared<unsigned char[4]>([] {});"),
        ("__shared__ float4 one;", "auto& one = cuda_cpu::shared<float4>([] {});"),
        ("__shared__ Pair<float, 2> p[3];", "auto& p = cuda_cpu::shared<Pair<float, 2>[3]>([] {});"),
        ("__shared__ int a, b;", "auto& a = cuda_cpu::shared<int>([] {}); auto& b = cuda_cpu::shared<int>([] {});"),
        ("__shared__ __align__(16) float s[4];", "auto& s = cuda_cpu::shared_aligned<float[4], (16)>([] {});"),
        ("alignas(16) __shared__ float s[4];", "auto& s = cuda_cpu::shared_aligned<float[4], (16)>([] {});"),
        ("extern __shared__ double d[];", "auto* d = cuda_cpu::dynamic_shared<double>();"),
        ("extern __shared__ __align__(128) char d[];", "auto* d = cuda_cpu::dynamic_shared<char>((128));"),
    ],
)
def test_declarations(tmp_path: Path, declaration: str, call: str) -> None:
    assert f"  {call}\n" in rewritten(tmp_path, f"void f() {{\n  {declaration}\n}}\n")


@pytest.mark.parametrize(
    "declaration",
    ["__shared__ float* p;", "__shared__ float s[4] = {0};", "extern __shared__ float d[4];", "__shared__"],
)
def test_unknown_declarations_are_refused_with_their_line(tmp_path: Path, declaration: str) -> None:
    with pytest.raises(SourceError, match=r"kernel.cu:2: "):
        rewritten(tmp_path, f"\n{declaration}\n")


@pytest.mark.parametrize(
    ("head", "bounds"),
    [("void", ""), ("void __launch_bounds__(64)", ", 64"), ("__launch_bounds__(N * f(2), 2) void", ", N * f(2), 2")],
)
def test_kernels_are_listed(tmp_path: Path, head: str, bounds: str) -> None:
    text = rewritten(tmp_path, f'extern "C" __global__ {head} add(float* x) {{}}\n')
    assert f"CUDA_CPU_KERNEL(add{bounds})," in text
    assert "launch_bounds" not in text.split("CUDA_CPU_KERNEL")[0]


def test_a_kernel_with_a_mangled_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match='extern "C" __global__ void'):
        rewritten(tmp_path, "__global__ void add(float* x) {}\n")


def test_comments_and_strings(tmp_path: Path) -> None:
    text = rewritten(tmp_path, '// __shared__ float s;\n/* __global__\n */ const char* s = "// no comment";\n')
    assert "__shared__" not in text
    assert '"// no comment"' in text


def test_includes_are_filled_in_once_and_lines_keep_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "common.cuh").write_text("#pragma once\nconstexpr int kTwo = 2;\n")
    text = rewritten(tmp_path, '#include "common.cuh"\n#include "common.cuh"\nint x = kTwo;\nbroken;\n')
    assert text.count("kTwo = 2") == 1
    with pytest.raises(RuntimeError, match=r"kernel.cu:4:1: error"):
        Module(tmp_path / "kernel.cu")


@pytest.mark.parametrize("include", ["<cmath>", '"missing.cuh"'])
def test_files_that_nvrtc_does_not_have_are_refused(tmp_path: Path, include: str) -> None:
    with pytest.raises(SourceError, match=r"kernel.cu:1: no such file for NVRTC"):
        rewritten(tmp_path, f"#include {include}\n")

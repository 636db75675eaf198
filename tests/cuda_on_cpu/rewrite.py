"""A .cu file as g++ can compile it: `__shared__` declarations made calls, kernels listed.

Everything else of CUDA C++ that the kernels use is ordinary C++ after runtime/cuda_cpu.h. The file goes through the
preprocessor first, so that macros may write declarations and kernels; lines keep their numbers. What is not understood
is an error with file and line: a shared array that became an ordinary one would hide its bugs.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from cuda_on_cpu import compiler

HEADER = Path(__file__).parent / "runtime" / "cuda_cpu.h"

_PARENTHESES = r"\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)"
_ALIGNMENT = rf"(?:__align__|alignas)\s*({_PARENTHESES})"
_SHARED = re.compile(rf"(?P<before>(?:\b(?:extern|static)\s+|{_ALIGNMENT}\s*)*)\b__shared__\b(?P<declaration>[^;]*);")
_DECLARATOR = r"\w+\s*(?:\[[^\]]*\]\s*)*"
_TYPE = r"[\w:]+(?:\s+[\w:]+)*?(?:\s*<[^<>]*>)?"
_DECLARATION = re.compile(
    rf"\s*(?:{_ALIGNMENT})?\s*(?P<type>{_TYPE})\s+(?P<names>{_DECLARATOR}(?:,\s*{_DECLARATOR})*)"
)
_BOUNDS = rf"(?:__launch_bounds__\s*(?P<{{}}>{_PARENTHESES})\s*)?"
_KERNEL = re.compile(
    rf'extern\s+"C"\s+__global__\s+{_BOUNDS.format("early")}void\s+{_BOUNDS.format("late")}(?P<name>\w+)\s*(?=\()'
)
_LINE_MARKER = re.compile(r'^# (\d+) "([^"]*)".*$', re.MULTILINE)


class SourceError(ValueError):
    """A file that cannot be rewritten, with its path and line."""


def rewrite(source: Path, macros: Sequence[str] = ()) -> str:
    """Return the C++ of a .cu file and of what it includes; `macros` are options such as "-DNAME".

    Raises
    ------
    BuildError
        The preprocessor's own, for an #include of what is not there: NVRTC has no headers but those of the project.
    SourceError
        A declaration or kernel that is not understood.
    """
    text = compiler.run("-E", "-x", "c++", "-std=c++20", "-nostdinc", "-DREFPLAY_ON_CPU=1", *macros, str(source))
    text = _SHARED.sub(_shared, text)
    if left := re.search(r"^(?!# ).*__shared__", text, re.MULTILINE):
        raise SourceError(f"{_place(text, left.end())}: a use of __shared__ that rewrite.py does not know")
    kernels = "".join(
        f"  CUDA_CPU_KERNEL({kernel['name']}{', ' + bounds[1:-1] if bounds else ''}),\n"
        for kernel in _KERNEL.finditer(text)
        for bounds in [kernel["early"] or kernel["late"]]
    )
    text = _KERNEL.sub(lambda m: f'extern "C" void {m["name"]}' + "\n" * m[0].count("\n"), text)
    if left := re.search(r"^(?!# ).*__global__", text, re.MULTILINE):
        raise SourceError(f'{_place(text, left.end())}: a kernel has to begin with extern "C" __global__ void')
    return (
        f'#include "{HEADER}"\n{text}\n# 1 "{HEADER}"\n'
        f"static const cuda_cpu::Kernel kernels[] = {{\n{kernels}  {{}}}};\nCUDA_CPU_TABLE\n"
    )


def _shared(match: re.Match[str]) -> str:
    declaration = _DECLARATION.fullmatch(match["declaration"].rstrip())
    if declaration is None:
        where = _place(match.string, match.start())
        raise SourceError(f"{where}: cannot read the declaration: __shared__{match['declaration']};")
    before = re.search(_ALIGNMENT, match["before"])
    alignment = before[1] if before else declaration[1]
    element, calls = declaration["type"], []
    for declarator in re.finditer(r"(\w+)\s*((?:\[[^\]]*\]\s*)*)", declaration["names"]):
        name, extents = declarator[1], declarator[2].strip()
        if "extern" in match["before"]:
            if extents.replace(" ", "") != "[]":
                where = _place(match.string, match.start())
                raise SourceError(f"{where}: dynamic shared memory is declared as an array without a length")
            calls.append(f"auto* {name} = cuda_cpu::dynamic_shared<{element}>({alignment or ''});")
        elif alignment:
            calls.append(f"auto& {name} = cuda_cpu::shared_aligned<{element}{extents}, {alignment}>([] {{}});")
        else:
            calls.append(f"auto& {name} = cuda_cpu::shared<{element}{extents}>([] {{}});")
    return " ".join(calls) + "\n" * match[0].count("\n")


def _place(text: str, position: int) -> str:
    """Return file and line of a position in preprocessed text."""
    marker = list(_LINE_MARKER.finditer(text, 0, position))[-1]
    return f"{marker[2]}:{int(marker[1]) + text.count(chr(10), marker.end(), position) - 1}"

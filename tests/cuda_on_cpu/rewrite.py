"""A .cu file as g++ can compile it: `#include "..."` filled in, `__shared__` declarations made calls, kernels listed.

Everything else of CUDA C++ that the kernels use is ordinary C++ after runtime/cuda_cpu.h. Lines keep their numbers.
What is not understood is an error with file and line: a shared array that became an ordinary one would hide its bugs.
"""

import re
from pathlib import Path

HEADER = Path(__file__).parent / "runtime" / "cuda_cpu.h"

_PARENTHESES = r"\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)"
_COMMENT = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.DOTALL)
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+([<"])([^>"]+)[>"][ \t]*$', re.MULTILINE)
_ALIGNMENT = rf"(?:__align__|alignas)\s*({_PARENTHESES})"
_SHARED = re.compile(rf"(?P<before>(?:\b(?:extern|static)\s+|{_ALIGNMENT}\s*)*)\b__shared__\b(?P<declaration>[^;]*);")
_DECLARATOR = r"\w+\s*(?:\[[^\]]*\]\s*)*"
_DECLARATION = re.compile(
    rf"\s*(?:{_ALIGNMENT})?\s*(?P<type>[\w:]+(?:\s+[\w:]+)*?(?:\s*<[^<>]*>)?)\s+(?P<names>{_DECLARATOR}(?:,\s*{_DECLARATOR})*)"
)
_BOUNDS = rf"(?:__launch_bounds__\s*(?P<{{}}>{_PARENTHESES})\s*)?"
_KERNEL = re.compile(
    rf'extern\s+"C"\s+__global__\s+{_BOUNDS.format("early")}void\s+{_BOUNDS.format("late")}(?P<name>\w+)\s*(?=\()'
)


class SourceError(ValueError):
    """A file that cannot be rewritten, with its path and line."""


def rewrite(source: Path) -> str:
    """Return the C++ of a .cu file and of what it includes."""
    text = _with_includes(source, {source.resolve()})
    kernels = "".join(
        f"  CUDA_CPU_KERNEL({kernel['name']}{', ' + bounds[1:-1] if bounds else ''}),\n"
        for kernel in _KERNEL.finditer(text)
        for bounds in [kernel["early"] or kernel["late"]]
    )
    if text.count("__global__") != kernels.count("\n"):
        raise SourceError(f'{source}: every __global__ function has to begin with extern "C" __global__ void')
    text = _KERNEL.sub(_without_bounds, text)
    return (
        f'#include "{HEADER}"\n#line 1 "{source}"\n{text}\n#line 1 "{HEADER}"\n'
        f"const cuda_cpu::Kernel cuda_cpu::kernels[] = {{\n{kernels}  {{}}}};\n"
    )


def _with_includes(source: Path, seen: set[Path]) -> str:
    text = _without_comments(source.read_text()).replace("#pragma once", "")
    text = _SHARED.sub(lambda match: _shared(match, source), text)
    if "__shared__" in text:
        line = _line(text, text.index("__shared__"))
        raise SourceError(f"{source}:{line}: __shared__ in a place that rewrite.py does not know")

    def fill_in(match: re.Match[str]) -> str:
        line = _line(text, match.start())
        included = (source.parent / match[2]).resolve()
        if match[1] == "<" or not included.is_file():
            raise SourceError(f"{source}:{line}: no such file for NVRTC, which has no headers of its own: {match[2]}")
        if included in seen:
            return ""
        seen.add(included)
        return f'#line 1 "{included}"\n{_with_includes(included, seen)}\n#line {line + 1} "{source}"'

    return _INCLUDE.sub(fill_in, text)


def _without_comments(text: str) -> str:
    """Return the code with its comments empty; strings stay."""
    return _COMMENT.sub(lambda m: m[0] if m[0][0] == '"' else " " + "\n" * m[0].count("\n"), text)


def _without_bounds(match: re.Match[str]) -> str:
    return f'extern "C" void {match["name"]}' + "\n" * match[0].count("\n")


def _shared(match: re.Match[str], source: Path) -> str:
    where = f"{source}:{_line(match.string, match.start())}"
    declaration = _DECLARATION.fullmatch(match["declaration"].rstrip())
    if declaration is None:
        raise SourceError(f"{where}: cannot read the declaration: __shared__{match['declaration']};")
    before = re.search(_ALIGNMENT, match["before"])
    alignment = before[1] if before else declaration[1]
    element, calls = declaration["type"], []
    for declarator in re.finditer(r"(\w+)\s*((?:\[[^\]]*\]\s*)*)", declaration["names"]):
        name, extents = declarator[1], declarator[2].strip()
        if "extern" in match["before"]:
            if extents.replace(" ", "") != "[]":
                raise SourceError(f"{where}: dynamic shared memory is declared as an array without a length")
            calls.append(f"auto* {name} = cuda_cpu::dynamic_shared<{element}>({alignment or ''});")
        elif alignment:
            calls.append(f"auto& {name} = cuda_cpu::shared_aligned<{element}{extents}, {alignment}>([] {{}});")
        else:
            calls.append(f"auto& {name} = cuda_cpu::shared<{element}{extents}>([] {{}});")
    return " ".join(calls) + "\n" * match[0].count("\n")


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1

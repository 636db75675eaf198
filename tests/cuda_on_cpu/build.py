"""Build a .cu file into a library for the CPU: plain, under AddressSanitizer or under ThreadSanitizer.

The libraries are kept in the folder for temporary files under a hash of everything that they are made of.
"""

import getpass
import hashlib
import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from cuda_on_cpu import compiler
from cuda_on_cpu.rewrite import rewrite

RUNTIME = Path(__file__).parent / "runtime"

COMMON = ("-std=c++20", "-g1", "-fPIC", "-march=native")
KERNELS = (
    "-fvisibility=hidden",  # or two libraries would share what has the same name in both
    "-ffp-contract=off",  # only what the source fuses is fused; a GPU's compiler may fuse more
    "-fno-strict-aliasing",  # kernels read four floats as a float4
    "-ftrivial-auto-var-init=pattern",  # a variable without a value holds a strange one
    "-fno-omit-frame-pointer",
    "-fsanitize-recover=all",  # what is found is handed to runtime/faults.cpp, which ends the launch
    *("-Werror=return-type", "-Werror=uninitialized", "-Werror=maybe-uninitialized"),
)
# Loops over bytes stay loops: as calls of memset and memcpy ThreadSanitizer would take them for the kernel's own.
RUNTIME_FLAGS = ("-O2", "-fno-tree-loop-distribute-patterns")

_ARITHMETIC = "shift,signed-integer-overflow,integer-divide-by-zero"  # all of "undefined" compiles three times as long

# What the kernels are compiled with, what the runtime is told, and what is linked. The checks that need no library of
# the compiler's are in every variant.
VARIANTS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "plain": (("-O1", "-fsanitize=bounds,alignment"), (), ()),
    "address": (
        ("-O1", f"-fsanitize=address,bounds,alignment,{_ARITHMETIC}"),
        ("-DCUDA_CPU_ADDRESS",),
        ("-fsanitize=address",),
    ),
    "thread": (("-O1", "-fsanitize=thread,bounds,alignment"), ("-DCUDA_CPU_THREAD",), ("-fsanitize=thread",)),
}


def build(source: Path, variant: str = "plain", defines: Sequence[str] = ()) -> Path:
    """Return the library of a .cu file, compiling what is not yet in the cache.

    Parameters
    ----------
    source : path of the .cu file
    variant : "plain", "address" or "thread"
    defines : names of macros, for the runtime too
    """
    flags, _, link = VARIANTS[variant]
    macros = tuple(f"-D{name}" for name in defines)
    runtime = _runtime(variant, macros)
    code = _object(rewrite(source.resolve(), macros), (*COMMON, *KERNELS, *flags, *macros))
    return _library(code, runtime, link=link)


@cache
def _runtime(variant: str, macros: tuple[str, ...]) -> Path:
    """Return the library of the runtime, one for all kernels: ThreadSanitizer has a limited number of fibers."""
    _, flags, link = VARIANTS[variant]
    flags = (*COMMON, *RUNTIME_FLAGS, *flags, *macros)
    with ThreadPoolExecutor() as pool:
        objects = pool.map(lambda path: _object(path.read_text(), flags, path), sorted(RUNTIME.glob("*.cpp")))
        return _library(*objects, link=link)


def _library(*parts: Path, link: tuple[str, ...]) -> Path:
    library = _cache() / (_hash(*(part.name for part in parts), *link) + ".so")
    if not library.exists():
        _compile(library, *COMMON, *link, "-shared", "-Wl,--no-undefined", *map(str, parts))
    return library


def preload(variant: str) -> str:
    """Return the library that has to be loaded before everything else, or ""."""
    name = {"plain": "", "address": "libasan.so", "thread": "libtsan.so"}[variant]
    return compiler.run(f"-print-file-name={name}").strip() if name else ""


def _object(text: str, flags: tuple[str, ...], path: Path | None = None) -> Path:
    """Compile C++, which is the file `path` or in none."""
    result = _cache() / (_hash(text, str(path), _headers(), *flags) + ".o")
    if result.exists():
        return result
    with tempfile.TemporaryDirectory() as folder:
        code = path or Path(folder) / "kernels.cpp"
        if path is None:
            code.write_text(text)
        _compile(result, *flags, "-c", str(code))
    return result


def _compile(result: Path, *arguments: str) -> None:
    unfinished = result.with_suffix(f".{os.getpid()}{result.suffix}")
    compiler.run(*arguments, "-o", str(unfinished))
    unfinished.replace(result)  # in one go: other processes build too


@cache
def _cache() -> Path:
    folder = Path(tempfile.gettempdir()) / f"refplay-cuda-on-cpu-{getpass.getuser()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise compiler.BuildError(f"{folder} belongs to somebody else")
    return folder


@cache
def _headers() -> str:
    return "".join(path.read_text() for path in sorted(RUNTIME.glob("*.h")))


@cache
def _machine() -> str:
    """What -march=native and the compiler itself depend on."""
    cpu = Path("/proc/cpuinfo")
    flags = [line for line in cpu.read_text().splitlines() if line.startswith("flags")][:1] if cpu.exists() else []
    return compiler.run("--version") + "".join(flags) + sys.platform


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join((_machine(), *parts)).encode()).hexdigest()[:24]

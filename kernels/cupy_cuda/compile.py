"""From `*.cu` to machine code: NVRTC, with our options and ours alone, and a cache on disk.

CuPy would compile for us, but adds `-ftz=true` (subnormal numbers become zero: another arithmetic than on the other
backends) and looks for a cached kernel without looking at the headers. So this file calls NVRTC itself. It needs no
GPU: tests compile every file for every architecture with these very functions.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from functools import cache
from pathlib import Path

from cupy.cuda import nvrtc

FOLDER = Path(__file__).parent
ARCHITECTURES = (75, 80, 90, 100)  # Turing, Ampere, Hopper, Blackwell: those that CUDA 13 knows and tests compile for
OPTIONS = ("--std=c++17", "--ftz=false", "--prec-div=true", "--prec-sqrt=true", "--fmad=true")


class CompileError(Exception):
    """A kernel that NVRTC refuses; the message is its log, with file and line."""


def sources() -> list[str]:
    """Return the names of the files with kernels, without their ending."""
    return sorted(path.stem for path in FOLDER.glob("*.cu"))


def compile_source(file: str, architecture: int, *more_options: str) -> tuple[bytes, str]:
    """Return the cubin of `file`.cu for sm_`architecture`, and the compiler's log.

    Raises
    ------
    CompileError
        The log names file and line.
    """
    headers = _headers()
    program = nvrtc.createProgram((FOLDER / f"{file}.cu").read_text(encoding="utf-8"), f"{file}.cu",
                                  [text.encode() for text in headers.values()], [name.encode() for name in headers])
    try:
        nvrtc.compileProgram(program, (*OPTIONS, f"--gpu-architecture=sm_{architecture}", *more_options))
        # CuPy drops the last byte, a zero that belongs to the ELF file: tools that read it as one would refuse.
        return nvrtc.getCUBIN(program) + b"\0", nvrtc.getProgramLog(program)
    except nvrtc.NVRTCError as error:
        log = nvrtc.getProgramLog(program)
        raise CompileError(f"{file}.cu does not compile for sm_{architecture} ({error}):\n{log}") from None
    finally:
        nvrtc.destroyProgram(program)


def cubin(file: str, architecture: int) -> bytes:
    """Return the cubin of `file`.cu, from the cache if it was compiled before from the same sources."""
    path = _cache_folder() / f"{file}-sm{architecture}-{_stamp(file, architecture)}.cubin"
    if path.exists():
        return path.read_bytes()
    code, _ = compile_source(file, architecture)
    scratch = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_bytes(code)
        os.replace(scratch, path)  # whole or not at all: another process may be at the same
    except OSError:
        pass  # no place to keep it: it is compiled again next time
    return code


def _headers() -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.cuh"))}


def _stamp(file: str, architecture: int) -> str:
    """Return a digest of all that makes a difference: sources, options, compiler."""
    parts = [(FOLDER / f"{file}.cu").read_text(encoding="utf-8"), *_headers().values(), *OPTIONS, str(architecture),
             str(nvrtc.getVersion())]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


@cache
def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = Path(base) / "refplay" / "cupy_cuda"
    return folder if os.path.isabs(folder) else Path(tempfile.gettempdir()) / "refplay-cupy_cuda"

"""Compiled kernels on disk are used again only while every source file of their backend is as it was.

Numba looks at the file of a function alone. But a kernel contains what it calls in other files, and would go on doing
what those said when it was compiled, also after an upgrade. So the stamp of our functions covers the package. It also
has a place for kernels where neither the package nor the home directory nor NUMBA_CACHE_DIR can be written: a temporary
folder, for this process only.
"""

from __future__ import annotations

import atexit
import hashlib
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

_KERNELS = Path(__file__).parent


def cover_package(caching: Any, package: str) -> None:
    """Make Numba's module `caching` stamp the functions in kernels/ with all sources of `package`.

    Before anything of the package is compiled. numba-cuda has a copy of Numba's module of its own.
    """
    known: Any = getattr(caching, "CacheImpl", None) or getattr(caching, "_CacheImpl")  # noqa: B009 (before 0.66)
    known = known._locator_classes  # those for NUMBA_CACHE_DIR, for __pycache__, for the home directory, and others

    class Temporary(known[1]):  # type: ignore[misc, name-defined]  # a class that Numba keeps in a list
        def get_cache_path(self) -> str:
            return _temporary_folder()

    known[:0] = [_stamped(locator, package) for locator in (*known[:3], Temporary)]


@cache
def source_stamp(package: str) -> str:
    """Return a digest of all source files that the kernels of `package` are made of."""
    digest = hashlib.sha256()
    for path in sorted([*_KERNELS.glob("*.py"), *_KERNELS.glob(f"{package}/*.py")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


@cache
def _temporary_folder() -> str:
    folder = tempfile.mkdtemp(prefix="refplay-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _stamped(locator: Any, package: str) -> Any:
    """Return the form of one of Numba's cache locators for functions of the kernels."""

    class Stamped(locator):  # type: ignore[misc]  # which class, only the caller knows
        @classmethod
        def from_function(cls, py_func: Any, py_file: str) -> Any:
            return super().from_function(py_func, py_file) if _KERNELS in Path(py_file).parents else None

        def get_source_stamp(self) -> str:
            return source_stamp(package)

    return Stamped

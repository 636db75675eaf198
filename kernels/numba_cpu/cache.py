"""Compiled kernels on disk are used again only while every source file of the kernels is as it was.

Numba looks at the file of a function alone. But a kernel contains what it calls in other files (the register tile, the
emitter), and would go on doing what those said when it was compiled, also after an upgrade. So the stamp of our
functions covers the package. Importing this module, before anything is compiled, sees to it.

Where neither the package nor the home directory nor NUMBA_CACHE_DIR can be written, kernels are kept for this process
only, in a temporary folder.
"""

from __future__ import annotations

import atexit
import hashlib
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from numba.core import caching

_KERNELS = Path(__file__).parent.parent


@cache
def source_stamp() -> str:
    """Return a digest of all source files of the kernels that run on the CPU."""
    digest = hashlib.sha256()
    for path in sorted([*_KERNELS.glob("*.py"), *_KERNELS.glob("numba_cpu/*.py")]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


@cache
def _temporary_folder() -> str:
    folder = tempfile.mkdtemp(prefix="refplay-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _stamped(locator: Any) -> Any:
    """Return the form of one of Numba's cache locators for functions of this package."""

    class Stamped(locator):  # type: ignore[misc]  # which class, only the caller knows
        @classmethod
        def from_function(cls, py_func: Any, py_file: str) -> Any:
            return super().from_function(py_func, py_file) if _KERNELS in Path(py_file).parents else None

        def get_source_stamp(self) -> str:
            return source_stamp()

    return Stamped


_known: Any = getattr(caching, "CacheImpl", None) or getattr(caching, "_CacheImpl")  # noqa: B009 (its name before 0.66)
_known = _known._locator_classes  # those for NUMBA_CACHE_DIR, for __pycache__, for the home directory, and others


class _Temporary(_known[1]):  # type: ignore[misc]  # a class that Numba keeps in a list
    def get_cache_path(self) -> str:
        return _temporary_folder()


_known[:0] = [_stamped(locator) for locator in (*_known[:3], _Temporary)]

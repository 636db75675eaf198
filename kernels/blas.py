"""One thread for BLAS: the same sums in the same order, and no second thread pool that fights for the cores.

NumPy and SciPy each bring an OpenBLAS of their own in their wheels (Numba calls SciPy's). OpenBLAS splits a product
over as many threads as there are cores, and the split decides the order of the additions: a result would depend on
the machine's core count and on its load.
"""

import ctypes
from functools import cache
from importlib.util import find_spec
from pathlib import Path

# NumPy's library counts in 64-bit integers and says so in its names; SciPy's does not.
_SETTERS = ("scipy_openblas_set_num_threads64_", "scipy_openblas_set_num_threads", "openblas_set_num_threads")
_GETTERS = ("scipy_openblas_get_num_threads64_", "scipy_openblas_get_num_threads", "openblas_get_num_threads")


def one_thread() -> None:
    """Limit the OpenBLAS of NumPy and of SciPy to one thread, in this process and those forked from it.

    Where a package was built against another BLAS (a Linux distribution's, Apple's Accelerate) there is nothing to
    limit by this way and nothing happens: set that library's own variable, such as `OMP_NUM_THREADS`.
    """
    for library in _libraries():
        for setter in _SETTERS:
            if hasattr(library, setter):
                getattr(library, setter)(1)
                break


def threads() -> list[int]:
    """Return the number of threads of every OpenBLAS found.

    >>> one_thread()
    >>> set(threads()) <= {1}
    True
    """
    return [
        next(getattr(library, getter)() for getter in _GETTERS if hasattr(library, getter)) for library in _libraries()
    ]


@cache
def _libraries() -> list[ctypes.CDLL]:
    libraries = []
    for package in ("numpy", "scipy"):
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            continue
        folder = Path(spec.origin).parent
        # Where wheels keep their shared libraries on Linux and Windows, and on macOS.
        for place in (folder.parent / f"{package}.libs", folder / ".dylibs"):
            for path in sorted(place.glob("*openblas*")):
                try:
                    libraries.append(ctypes.CDLL(str(path)))  # the same handle that the package itself uses
                except OSError:  # not loadable here: then the package does not use it either
                    continue
    return libraries

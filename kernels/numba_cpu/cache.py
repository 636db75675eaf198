"""Importing this module, before anything is compiled, makes the kernels on disk follow the sources; see `numba_cache`."""

from numba.core import caching

from ..numba_cache import cover_package

cover_package(caching, "numba_cpu")

"""Imported before anything is compiled: kernels on disk follow the sources of this backend; see `numba_cache`."""

from numba.core import caching

from ..numba_cache import cover_package

cover_package(caching, "numba_cpu")

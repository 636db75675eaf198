"""Arrays: those of NumPy, as on the reference backend."""

from ..numpy_ref.array import asarray, empty, synchronize, to_host, zeros

__all__ = ["asarray", "empty", "synchronize", "to_host", "zeros"]

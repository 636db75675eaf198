"""With which numbers products of float32 arrays are computed: float32, unless the caller chooses otherwise.

    from refplay.kernels.cupy_cuda.precision import precision

    with precision("tf32"):       # or "bf16"
        dense_forward(x, w, b, y)

Inside, `dense_*` and `conv2d_*` round both factors of every product, and add the products up in float32 on the tensor
cores: tf32 keeps 10 bits of the mantissa (relative error up to 2^-11), bf16 keeps 7 (up to 2^-8). Biases, their
gradients and everything else stay float32; products of float64 arrays stay float64. Convolutions know float32 and tf32:
under "bf16" they refuse. A graph keeps the precision under which it was captured.

There is no switch that stays on: the choice ends with the block, and holds in the thread that made it alone. The trials
of a study run in processes or threads of their own; for them the plan chooses (`precision` of the built-in classifier).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

from ..contract import PrecisionError
from .device import architecture

PRECISIONS = ("float32", "tf32", "bf16")
_chosen: ContextVar[str] = ContextVar("precision", default="float32")


def precision(name: str) -> AbstractContextManager[None]:
    """Compute products of float32 arrays from factors of precision `name` inside of a `with` block.

    Raises
    ------
    PrecisionError
        No such precision, or the GPU has no tensor cores for it (compute capability below 8.0).
    """
    if name not in PRECISIONS:
        raise PrecisionError(f"precision: {name!r} is none of {', '.join(PRECISIONS)}")
    if name != "float32" and architecture() < 80:
        raise PrecisionError(f"precision: {name} needs compute capability 8.0 or more, this GPU has "
                         f"{architecture() // 10}.{architecture() % 10}; float32 runs on every GPU")  # fmt: skip
    return _computing_in(name)


@contextmanager
def _computing_in(name: str) -> Iterator[None]:
    token = _chosen.set(name)
    try:
        yield
    finally:
        _chosen.reset(token)


def chosen(dtype: str) -> str:
    """Return the precision of products of arrays of `dtype`: "float64", or the one chosen for float32."""
    return dtype if dtype == "float64" else _chosen.get()

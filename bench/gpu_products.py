"""Square products on a GPU: ours in each precision that a backend has, against cuBLAS in the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from gpu_cases import CLOSE, Arrays, Case, size_of
from gpu_clock import tf32
from summary import OURS, OURS_ROUNDED

PRECISIONS = {"products": "float32", "tf32": "tf32", "bf16": "bf16"}  # of the groups of cases
# Both sides round both factors, to 11 or 8 bits: each moves a term by 2 u at most, relatively, and a bf16 result of
# cuBLAS is rounded once more. Terms are moved independently, so their errors add up as the terms themselves do, in
# squares, and 5 u bounds the relative distance of whole results too.
HOW_CLOSE = {"float32": CLOSE, "tf32": 5 * 2.0**-11, "bf16": 5 * 2.0**-8}
TILED = "4"  # the version of Numba-CUDA's product that is used; the slower ones are not measured above 4096
Product = Callable[[Any, Any, Any], None]  # (x, w, y): y = x w


def products(a: Arrays, group: str, backend: str, side: int) -> Iterator[Case]:
    """Return the cases of a group, of `side` x `side` matrices."""
    precision = PRECISIONS[group]
    (x, tx), (w, tw), y = a.draw(side, side), a.draw(side, side), a.empty(side, side)
    cublas = _cublas(a.torch, precision, tx, tw)
    for name, contenders in _ours(backend, precision).items():
        if backend == "numba-cuda" and name != TILED and side > 4096:
            continue
        ours = {who: lambda multiply=multiply: (multiply(x, w, y), y)[1] for who, multiply in contenders.items()}
        yield Case(f"product {name} {side}", {**ours, **cublas}, size_of(*[(side, side)] * 3), 2 * side**3, precision,
                   HOW_CLOSE[precision], short=True)


def _ours(backend: str, precision: str) -> Mapping[str, Mapping[str, Product]]:
    """Return our products by name, each with its contenders."""
    if backend == "numba-cuda":
        from refplay.kernels.numba_cuda.product import VERSIONS, product_version

        return {name: {OURS: lambda x, w, y, name=name: product_version(name, x, w, y)} for name in VERSIONS}
    from refplay.kernels.cupy_cuda import product
    from refplay.kernels.cupy_cuda.precision import precision as products_in

    def multiply(x: Any, w: Any, y: Any) -> None:
        with products_in(precision):
            product.nn(x, w, None, y)

    return {precision: {OURS: multiply, **({OURS_ROUNDED: _multiply_rounded()} if precision == "bf16" else {})}}


def _multiply_rounded() -> Product:
    """Return CuPy's product of bf16 without the rounding of its factors, which is done at the first call.

    The rounded factors lie in scratch memory, where other calls with the same factors put the same.
    """
    from refplay.kernels.cupy_cuda import product_bf16

    rounded: list[Any] = []

    def multiply(x: Any, w: Any, y: Any) -> None:
        if not rounded:
            rounded.extend([product_bf16._along_rows(x, "a"), product_bf16._along_columns(w, "b")])
        product_bf16._multiply(*rounded, None, y, 0, None, x.shape[1])

    return multiply


def _cublas(torch: Any, precision: str, x: Any, w: Any) -> dict[str, Callable[[], Any]]:
    """Return cuBLAS's products: bf16 of factors that are so already, and from float32 to float32, which ours does."""
    if precision == "bf16":
        rx, rw = x.bfloat16(), w.bfloat16()
        return {"cublas": lambda: rx @ rw, "cublas-float32": lambda: (x.bfloat16() @ w.bfloat16()).float()}

    def multiply() -> Any:
        with tf32(torch, precision == "tf32"):
            return x @ w

    return {"cublas": multiply}

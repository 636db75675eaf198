"""Equations that verify themselves, and a verifier for optimizers of any framework.

Nothing is loaded before it is used: SymPy, mpmath and the frameworks are extras (``pip install refplay[verify]``).
"""

from importlib import import_module
from typing import Any

_MODULE_OF = {
    "Equations": "refplay.verify.equations",
    "assert_matches": "refplay.verify.identify",
}

__all__ = list(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)

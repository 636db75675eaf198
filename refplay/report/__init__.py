"""Reports about rounds: one self-contained HTML page, and the same in the terminal.

Importing this package is light; matplotlib is imported when the page is written.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from refplay.report.page import write_report
    from refplay.report.terminal import print_report

__all__ = ["print_report", "write_report"]

_HOMES = {"write_report": "page", "print_report": "terminal"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"refplay.report.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

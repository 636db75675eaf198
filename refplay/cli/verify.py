"""`refplay verify`: which rule an optimizer is, and the matrix of everybody's."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

from refplay.errors import InputError


def verify(target: str | None, *, rule: str | None, dialect: str, settings: list[str]) -> int:
    """Print the verdict on one optimizer; return 0 if it is what it should be, else 1."""
    from refplay.verify.identify import identify
    from refplay.verify.report import explain

    if target is None:
        raise InputError("nothing to verify; give torch.optim.NAME, optax.NAME, keras.optimizers.NAME or "
                         "module:factory, or --matrix")
    verdict = identify(target, rule, dialect, dict(setting(text) for text in settings))
    print(explain(verdict))
    return 0 if verdict.matches else 1


def matrix(path: str) -> int:
    """Print the conformance matrix, or write it between the markers of a page."""
    from refplay.verify.matrix import conformance, written_into

    page = Path(path) if path else None
    if page and page.is_dir():
        raise InputError(f"{page} is a folder; name a file")
    if page and not page.parent.is_dir():
        raise InputError(f"{page}: there is no folder {page.parent}; make it first")
    before = page.read_text(encoding="utf-8") if page and page.exists() else None
    if before is not None:
        written_into(before, "", page)  # before the work, not after it
    table = conformance()
    if page is None:
        print(table)
        return 0
    try:
        page.write_text(written_into(before, table, page), encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {page}: {error.strerror}") from None
    return 0


def setting(text: str) -> tuple[str, Any]:
    """Read "name=value" of the command line; a value that is no Python literal is a string."""
    name, equals, value = text.partition("=")
    if not (name.isidentifier() and equals and value):
        raise InputError(f"--set {text}: needs name=value, such as momentum=0.9")
    if value.lower() in ("true", "false", "none"):
        value = value.title()
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value

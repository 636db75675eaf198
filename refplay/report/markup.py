"""HTML that cannot be written unescaped by accident: text is escaped unless it already is markup."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from refplay.plot.words import printable

_NAME = re.compile(r"[a-z][a-z0-9-]*")
_VOID = frozenset({"br", "hr", "img", "meta"})


class Markup(str):
    """Text that is HTML already. Only `tag` and constants of this package make it; everything else is escaped.

    Joining it with plain text gives plain text, which is escaped again: a mistake shows on the page, and harms nobody.
    """

    __slots__ = ()


Child = str | int | float | None | Iterable["Child"]


def escape(text: object) -> Markup:
    """Return text as HTML, for the content of an element or an attribute alike; control characters become U+FFFD.

    >>> escape("<script>'x' & \\"y\\"</script>")
    '&lt;script&gt;&#x27;x&#x27; &amp; &quot;y&quot;&lt;/script&gt;'
    """
    return Markup(html.escape(printable(text), quote=True))


def tag(name: str, /, *children: Child, **attributes: str | int | bool | None) -> Markup:
    """Return an HTML element.

    Parameters
    ----------
    name : str
        The element's name.
    *children : str, number, Markup, None or iterables of these
        Plain text is escaped, Markup kept, None left out.
    **attributes : str, int, bool or None
        Values are escaped; True gives an attribute without a value, False and None none. A trailing underscore is
        dropped (`class_`), others become hyphens (`aria_label`).

    >>> tag("p", "a < b ", tag("b", "and"), None, [" c", " & d"], class_="x", hidden=True)
    '<p class="x" hidden>a &lt; b <b>and</b> c &amp; d</p>'
    """
    _check_name(name)
    written = []
    for key, value in attributes.items():
        key = key.rstrip("_").replace("_", "-")
        _check_name(key)
        if value is True:
            written.append(f" {key}")
        elif value is not None and value is not False:
            written.append(f' {key}="{escape(value)}"')
    opening = f"<{name}{''.join(written)}>"
    return Markup(opening if name in _VOID else f"{opening}{''.join(_flat(children))}</{name}>")


def _flat(children: Child) -> Iterable[str]:
    if isinstance(children, Markup):
        yield str(children)
    elif isinstance(children, str) or (children is not None and not isinstance(children, Iterable)):
        yield escape(children)
    elif children is not None:
        for child in children:
            yield from _flat(child)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a name of HTML")

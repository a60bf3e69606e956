"""Links from a box to the line of the program that made it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlsplit

from ..graphlib.errors import GraphError

__all__ = ["address_of"]

# What a browser may follow from a picture; anything that runs a program is out.
_SCHEMES = ("file", "http", "https", "vscode", "vscode-insiders", "pycharm", "idea")


def address_of(links: Any) -> Callable[[Any], str] | None:
    """The function from an operation to the address of its line.

    ``links`` is True (``file://``), or a text such as
    ``"vscode://file{path}:{line}"``; None and False give no links.

    Raises:
        GraphError: ``links`` is no text with ``{path}``, or of an unknown scheme.
    """
    if links is None or links is False:
        return None
    form = "file://{path}#L{line}" if links is True else str(links)
    scheme = urlsplit(form.replace("{", "").replace("}", "")).scheme
    if "{path}" not in form or scheme not in _SCHEMES:
        raise GraphError(
            f'links={links!r}: give True, or a text such as "vscode://file{{path}}:'
            f'{{line}}" that begins with one of {_SCHEMES}'
        )

    def address(op: Any) -> str:
        where = op.source
        if where is None:
            return ""
        path = str(where.filename).replace("\\", "/")
        if not path.startswith("/"):
            path = f"/{path}"
        path = quote(path.encode("utf-8", "replace"), safe="/:.-_~")
        return form.replace("{path}", path).replace("{line}", str(where.lineno))

    return address

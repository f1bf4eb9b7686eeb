"""Reads the plain options of ``greenroom server`` without the command-line library.

Importing that library takes as long as importing the server's protocol. Whatever is not a plain
``--name VALUE``, an error included, is left to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from greenroom.cli._options import ServerOptions

_LIST: Final = "list[str] | None"
_READERS: Final[dict[object, Callable[[str], object]]] = {
    "str | None": str,
    "int | None": int,
    "Path | None": Path,
    _LIST: str,
}


def quick_server(arguments: Sequence[str]) -> ServerOptions | None:
    """Return the options of ``server …``; ``None`` when they are anything but plain."""
    if not arguments or arguments[0] != "server":
        return None
    known = {f"--{field.name.replace('_', '-')}": field for field in fields(ServerOptions)}
    given: dict[str, Any] = {}
    rest = iter(arguments[1:])
    for argument in rest:
        name, equals, value = argument.partition("=")
        field = known.get(name)
        if field is None or (field.name in given and field.type != _LIST):
            return None
        if field.type == "bool":
            if equals:
                return None
            given[field.name] = True
            continue
        text = value if equals else next(rest, "")
        if not text or text.startswith("-"):
            return None
        try:
            read = _READERS[field.type](text)
        except ValueError:
            return None
        given[field.name] = [*given.get(field.name, ()), read] if field.type == _LIST else read
    return ServerOptions(**given)

"""Reply templates: ``{slot}``, ``{result}``, ``{result.field}``, with ``{{`` and ``}}`` for braces."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

_FIELD: Final = re.compile(r"\{\{|\}\}|\{(?P<path>[A-Za-z_]\w*(?:\.\w+)*)\}|(?P<stray>[{}])")


class TemplateError(ValueError):
    """A template's braces do not add up."""


class UnresolvedError(LookupError):
    """A value has no such field."""


def fields(template: str) -> list[str]:
    """List the dotted paths that ``template`` refers to. Raises :class:`TemplateError`."""
    paths = []
    for found in _FIELD.finditer(template):
        if found["stray"]:
            raise TemplateError(f"'{template}' has a stray '{found['stray']}'; write it twice to mean it")
        if found["path"]:
            paths.append(found["path"])
    return paths


def roots(template: str) -> list[str]:
    """List the names that ``template`` refers to, without what follows a dot."""
    return [path.partition(".")[0] for path in fields(template)]


def single(template: str) -> str | None:
    """Return the path when ``template`` is one field and nothing else."""
    found = _FIELD.fullmatch(template)
    return found["path"] if found else None


def render(template: str, values: Mapping[str, Any]) -> str:
    """Fill ``template``; a missing name renders as nothing.

    Raises :class:`UnresolvedError` for a field that its value does not have.
    """

    def fill(found: re.Match[str]) -> str:
        return spoken(resolve(found["path"], values)) if found["path"] else found[0][0]

    return re.sub(r"[ \t]+", " ", _FIELD.sub(fill, template)).strip()


def resolve(path: str, values: Mapping[str, Any]) -> Any:
    """Follow a dotted path. ``None`` for an unknown first name; :class:`UnresolvedError` for an unknown field."""
    name, *rest = path.split(".")
    value = values.get(name)
    for step in rest:
        value = structured(value)
        if isinstance(value, Mapping) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            raise UnresolvedError(path)
    return value


def structured(value: Any) -> Any:
    """Read a tool's output, which LiveKit hands over as text: JSON, or what ``str()`` made of a Python value."""
    if not isinstance(value, str):
        return value
    for read in (json.loads, ast.literal_eval):
        try:
            return read(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return value


def spoken(value: Any) -> str:
    """Put a value into words: a list as ``a, b and c``, nothing for ``None``."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {spoken(item)}" for key, item in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        words = [spoken(item) for item in value]
        return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
    return str(value)

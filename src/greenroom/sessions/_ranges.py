"""HTTP ranges (RFC 9110, 14) over a stored recording, so that players can seek."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)")


class Range(NamedTuple):
    """The bytes asked for: from ``start`` up to, without, ``end``."""

    start: int
    end: int


class Unsatisfiable(Exception):  # noqa: N818 - HTTP's own word
    """The range lies outside the content."""


def range_of(header: str, size: int) -> Range | None:
    """Read a ``Range`` header; ``None`` for the whole. Several ranges, or another unit, also get the whole.

    :raises Unsatisfiable: when the range begins past the end.
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None or match.group() == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        length = min(int(last), size)
        if not length:
            raise Unsatisfiable
        return Range(size - length, size)
    start = int(first)
    end = min(int(last) + 1, size) if last else size
    if last and int(last) < start:
        return None
    if start >= size:
        raise Unsatisfiable
    return Range(start, end)

"""Statements over many rows.

Each statement run hands the interpreter's lock back and forth: few long ones are quick beside a busy event loop, where
thousands of short ones starve.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Final, TypeVar

_Item = TypeVar("_Item")

# Few different lengths, so that their statements stay prepared.
_LENGTHS: Final = (128, 32, 8, 1)


def insert(connection: sqlite3.Connection, into: str, rows: Sequence[tuple[Any, ...]], conflict: str = "") -> None:
    """Insert rows. ``into`` names the table and its columns."""
    for some in chunks(rows):
        values = ", ".join([f"({marks(some[0])})"] * len(some))
        connection.execute(f"{into} VALUES {values} {conflict}", tuple(chain.from_iterable(some)))


def chunks(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    """Cut into few pieces of few different lengths."""
    start = 0
    for length in _LENGTHS:
        while len(items) - start >= length:
            yield items[start : start + length]
            start += length


def marks(values: Sequence[object]) -> str:
    """Return a question mark for each value."""
    return ", ".join("?" * len(values))

"""Reads the log from SQLite, beside the writer."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from greenroom.eventlog._chain import Row
from greenroom.eventlog._model import StreamHead
from greenroom.eventlog._sqlite_file import connect, translated
from greenroom.eventlog._store import Page, Query

_COLUMNS: Final = (
    "e.position, e.tenant, s.name, e.seq, e.type, e.version, e.at, e.recorded_at, e.key, e.digest, e.hash, "
    "p.salt, p.payload"
)
_JOINED: Final = "events e JOIN streams s ON s.id = e.stream LEFT JOIN payloads p ON p.position = e.position"
# How many events are searched at a time for those a query selects.
_STRETCH: Final = 20_000


class SqliteReader:
    """A connection that cannot write. Source of the contract: :class:`greenroom.eventlog._store.Reader`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection = connect(path, write=False)

    def head(self) -> int:
        """Return the last position."""
        return int(self._rows("SELECT coalesce(max(position), 0) FROM events")[0][0])

    def page(self, after: int, limit: int, query: Query) -> Page:
        """Return the first ``limit`` events past a position, of those within a stretch when they are selected."""
        head = max(after, self.head())
        last = head
        where = ["e.position > ?", "e.position <= ?"]
        values: list[Any] = [after, last]
        if query != Query():
            if query.streams is not None and head - after > _STRETCH:
                # Far behind: what the streams themselves hold is less than what lies between.
                where = ["+e.position > ?", "+e.position <= ?"]
            else:
                values[1] = last = min(head, after + _STRETCH)
        if query.streams is not None:
            where.append(f"s.name IN ({_marks(query.streams)})")
            values += query.streams
        if query.types is not None:
            where.append(f"e.type IN ({_marks(query.types)})")
            values += query.types
        if query.tenant is not None:
            where.append("e.tenant = ?")
            values.append(query.tenant)
        order = where[0].removesuffix(" > ?")
        rows = self._rows(
            f"SELECT {_COLUMNS} FROM {_JOINED} WHERE {' AND '.join(where)} ORDER BY {order} LIMIT ?",  # noqa: S608
            *(*values, limit),
        )
        found = [Row(*row) for row in rows]
        return Page(found, found[-1].position if len(found) == limit else last)

    def stream(self, tenant: str, stream: str, after_seq: int, limit: int) -> list[Row]:
        """Return the first ``limit`` events of a stream past a sequence number."""
        rows = self._rows(
            f"SELECT {_COLUMNS} FROM {_JOINED} "  # noqa: S608
            "WHERE s.tenant = ? AND s.name = ? AND e.seq > ? ORDER BY e.seq LIMIT ?",
            *(tenant, stream, after_seq, limit),
        )
        return [Row(*row) for row in rows]

    def heads(self, tenant: str | None, kind: str) -> list[StreamHead]:
        """Return the ends of all streams of a kind."""
        where = ["true"]
        values: list[Any] = []
        if tenant is not None:
            where.append("tenant = ?")
            values.append(tenant)
        if kind:
            # Names are kind:id, and ";" follows ":".
            where.append("name >= ? AND name < ?")
            values += [f"{kind}:", f"{kind};"]
        rows = self._rows(
            f"SELECT tenant, name, seq, hash, recorded_at FROM streams WHERE {' AND '.join(where)} "  # noqa: S608
            "ORDER BY tenant, name",
            *values,
        )
        return [
            StreamHead(tenant=owner, stream=name, seq=seq, hash=hashed, recorded_at=at / 1_000_000)
            for owner, name, seq, hashed, at in rows
        ]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _rows(self, statement: str, *values: Any) -> list[Any]:
        with translated(self._path):
            cursor: sqlite3.Cursor = self._connection.execute(statement, values)
            return cursor.fetchall()


def _marks(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))

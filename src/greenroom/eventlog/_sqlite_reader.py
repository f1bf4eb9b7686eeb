"""Reads the log from SQLite, beside the writer."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from greenroom.eventlog._chain import Head, Row, StreamKey
from greenroom.eventlog._checkpoints import Checkpoint
from greenroom.eventlog._errors import LogCorruptError
from greenroom.eventlog._model import StreamHead
from greenroom.eventlog._sqlite_file import MARK_EVERY, connect, corrupt, translated
from greenroom.eventlog._sqlite_rows import chunks, marks
from greenroom.eventlog._store import Page, Place, Query

_COLUMNS: Final = (
    "e.position, e.tenant, s.name, e.seq, e.type, e.version, e.at, e.recorded_at, e.key, e.digest, e.hash, "
    "p.salt, p.payload, e.previous"
)
_JOINED: Final = "events e JOIN streams s ON s.id = e.stream LEFT JOIN payloads p ON p.position = e.position"
_LOOSE: Final = (
    "events e LEFT JOIN streams s ON s.id = e.stream AND s.tenant = e.tenant "
    "LEFT JOIN payloads p ON p.position = e.position"
)
CHECKPOINTS: Final = "SELECT number, position, at, streams, root, hash, key_id, signature FROM checkpoints"
_CHECKS: Final = (
    (
        "a payload belongs to no event",
        "SELECT position FROM payloads WHERE position NOT IN (SELECT position FROM events) LIMIT 100",
    ),
    (
        "a blob is kept for no payload",
        "SELECT position FROM blobs WHERE position NOT IN (SELECT position FROM payloads) LIMIT 100",
    ),
    ("it is not known which keys are filed", "SELECT 0 WHERE (SELECT count(*) FROM filed) != 1"),
    (
        "a key is filed wrongly",
        "SELECT k.position FROM keys k LEFT JOIN events e ON e.position = k.position "
        "WHERE (e.tenant, e.key, e.seq) IS NOT (k.tenant, k.key, k.seq) LIMIT 100",
    ),
    (
        "a key is not filed",
        "SELECT e.position FROM events e WHERE e.key != '' AND e.position <= (SELECT position FROM filed) "
        "AND NOT EXISTS (SELECT 1 FROM keys k WHERE (k.tenant, k.key, k.position) = (e.tenant, e.key, e.position)) "
        "LIMIT 100",
    ),
    (
        "a mark is wrong",
        "SELECT m.position FROM marks m LEFT JOIN events e ON e.position = m.position "
        "WHERE (e.stream, e.seq) IS NOT (m.stream, m.seq) LIMIT 100",
    ),
    (
        "a mark is missing",
        f"SELECT position FROM events WHERE seq % {MARK_EVERY} = 0 "  # noqa: S608
        "AND position NOT IN (SELECT position FROM marks) LIMIT 100",
    ),
)
# From a position back to the first event of its stream past another position.
WALK: Final = """
WITH RECURSIVE walk (position, seq, previous) AS (
    SELECT position, seq, previous FROM events WHERE position = ?
    UNION ALL
    SELECT e.position, e.seq, e.previous
    FROM walk w JOIN events e ON e.position = w.previous AND e.position < w.position
    WHERE e.position > ?
)
"""
_WALKED: Final = WALK + "SELECT position FROM walk"  # noqa: S608
# How many events are searched at a time for those a query selects.
_STRETCH: Final = 20_000


class SqliteReader:
    """A connection that cannot write. Source of the contract: :class:`greenroom.eventlog._store.Reader`."""

    def __init__(self, path: Path, *, tolerant: bool = False) -> None:
        self._path = path
        self._connection = connect(path, tolerant=tolerant)

    def head(self) -> int:
        """Return the last position."""
        return int(self._rows("SELECT coalesce(max(position), 0) FROM events")[0][0])

    def page(self, after: int, limit: int, query: Query) -> Page:
        """Return the first ``limit`` events past a position, of those within a stretch when they are selected."""
        head = max(after, self.head())
        where, values, last = self._between(after, limit, head, query)
        if query.types is not None:
            where.append(f"e.type IN ({marks(query.types)})")
            values += query.types
        if query.tenant is not None:
            where.append("e.tenant = ?")
            values.append(query.tenant)
        rows = self._rows(
            f"SELECT {_COLUMNS} FROM {_JOINED} WHERE {' AND '.join(where)} ORDER BY e.position LIMIT ?",  # noqa: S608
            *(*values, limit),
        )
        found = self._whole(rows)
        return Page(found, found[-1].position if len(found) == limit else last)

    def _between(self, after: int, limit: int, head: int, query: Query) -> tuple[list[str], list[Any], int]:
        """Return how to select by place and stream, and up to where that looks."""
        if query == Query():
            return ["e.position > ?", "e.position <= ?"], [after, head], head
        if query.streams is None or head - after <= _STRETCH:
            last = min(head, after + _STRETCH)
            where, values = ["e.position > ?", "e.position <= ?"], [after, last]
            if query.streams is None:
                return where, values, last
            names = f"SELECT id FROM streams WHERE name IN ({marks(query.streams)})"  # noqa: S608
            return [*where, f"e.stream IN ({names})"], [*values, *query.streams], last
        # Far behind: what the streams themselves hold is less than what lies between.
        places: list[int] = []
        last = head
        for name in query.streams:
            for number, end in self._rows("SELECT id, position FROM streams WHERE name = ?", name):
                start, full = self._start(number, "position", after, limit, end)
                places += [row[0] for row in self._rows(_WALKED, start, after)]
                last = min(last, start) if full else last
        places = sorted(place for place in places if after < place <= last)[:_STRETCH]
        if len(places) == _STRETCH:
            last = places[-1]
        return [f"e.position IN ({marks(places)})"], list(places), last

    def stream(self, tenant: str, stream: str, after_seq: int, limit: int) -> list[Row]:
        """Return the first ``limit`` events of a stream past a sequence number."""
        found = self._rows("SELECT id, position FROM streams WHERE tenant = ? AND name = ?", tenant, stream)
        if not found:
            return []
        number, end = found[0]
        start = end if limit < 0 else self._start(number, "seq", after_seq, limit, end)[0]
        rows = self._rows(
            f"{WALK} SELECT {_COLUMNS} FROM walk w JOIN {_JOINED} "  # noqa: S608
            "WHERE e.position = w.position AND w.seq > ? ORDER BY w.seq LIMIT ?",
            *(start, 0, after_seq, limit),
        )
        return self._whole(rows)

    def last_before(self, tenant: str, stream: str, time: int) -> int:
        """Return the last sequence number of a stream recorded before a time."""
        rows = self._rows(
            f"{WALK} SELECT w.seq FROM walk w JOIN events e ON e.position = w.position "  # noqa: S608
            "WHERE e.recorded_at < ? LIMIT 1",
            *(self._end(tenant, stream), 0, time),
        )
        return int(rows[0][0]) if rows else 0

    def _end(self, tenant: str, stream: str) -> int:
        found = self._rows("SELECT position FROM streams WHERE tenant = ? AND name = ?", tenant, stream)
        return int(found[0][0]) if found else 0

    def _start(self, stream: int, column: str, after: int, limit: int, end: int) -> tuple[int, bool]:
        """Return from where to walk back to find ``limit`` events past a place, and whether there may be more."""
        found = self._rows(
            f"SELECT position FROM marks WHERE stream = ? AND {column} > ? ORDER BY seq LIMIT 1 OFFSET ?",  # noqa: S608
            *(stream, after, max(limit, 0) // MARK_EVERY + 1),
        )
        return (found[0][0], True) if found else (end, False)

    def heads(self, tenant: str | None, kind: str, *, before: int | None = None) -> list[StreamHead]:
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
        if before is not None:
            where.append("recorded_at < ? AND NOT (erased > 0 AND seq = erased + 1)")
            values.append(before)
        rows = self._rows(
            f"SELECT tenant, name, position, seq, hash, recorded_at, erased FROM streams "  # noqa: S608
            f"WHERE {' AND '.join(where)} ORDER BY tenant, name",
            *values,
        )
        try:
            return [
                StreamHead(
                    tenant=row[0],
                    stream=row[1],
                    position=row[2],
                    seq=row[3],
                    hash=row[4],
                    recorded_at=row[5] / 1_000_000,
                    erased=row[6],
                )
                for row in rows
            ]
        except TypeError as error:
            raise corrupt(self._path, "a stream that cannot be read") from error

    def scan(self, after: int, limit: int) -> list[Row]:
        """Return events past a position, their stream and payload there or not."""
        rows = self._rows(
            f"SELECT {_COLUMNS} FROM {_LOOSE} WHERE e.position > ? ORDER BY e.position LIMIT ?",  # noqa: S608
            *(after, limit),
        )
        return [Row(*row) for row in rows]

    def checkpoints(self) -> list[Checkpoint]:
        """Return all checkpoints."""
        return [Checkpoint(*row) for row in self._rows(f"{CHECKPOINTS} ORDER BY number")]

    def ends_between(self, after: int, through: int) -> list[tuple[StreamKey, Head]]:
        """Return where streams ended at a position."""
        rows = self._rows(
            "SELECT e.tenant, s.name, max(e.position), e.seq, e.hash FROM events e JOIN streams s ON s.id = e.stream "
            "WHERE e.position > ? AND e.position <= ? GROUP BY e.stream",
            *(after, through),
        )
        return [((tenant, name), Head(*head)) for tenant, name, *head in rows]

    def blobs(self) -> Iterator[tuple[str, list[Place]]]:
        """Yield each blob that is named, and by which events."""
        last = ""
        while found := self._rows("SELECT min(hash) FROM blobs WHERE hash > ?", last)[0][0]:
            last = found
            yield (
                last,
                [
                    Place(*row)
                    for row in self._rows(
                        "SELECT e.position, e.tenant, s.name, e.seq FROM blobs b JOIN events e "
                        "ON e.position = b.position JOIN streams s ON s.id = e.stream WHERE b.hash = ?",
                        last,
                    )
                ],
            )

    def unnamed(self, blobs: Sequence[str]) -> list[str]:
        """Return those blobs that no event names."""
        named: set[str] = set()
        for some in chunks(blobs):
            rows = self._rows(f"SELECT DISTINCT hash FROM blobs WHERE hash IN ({marks(some)})", *some)  # noqa: S608
            named.update(row[0] for row in rows)
        return [blob for blob in blobs if blob not in named]

    def inconsistencies(self) -> list[tuple[str, int]]:
        """Return what is wrong with SQLite's own structures and with the tables beside the events."""
        try:
            found = [(f"database: {row[0]}", 0) for row in self._rows("PRAGMA integrity_check(100)") if row[0] != "ok"]
            for what, statement in _CHECKS:
                found += [(what, row[0]) for row in self._rows(statement)]
        except LogCorruptError as error:
            return [(f"database: {error.context.get('sqlite')}", 0)]
        return found

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read one state of the log."""
        self._rows("BEGIN")
        try:
            yield
        finally:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _whole(self, rows: list[Any]) -> list[Row]:
        """Return events of which every number is one. Raises :class:`LogCorruptError`."""
        found = [Row(*row) for row in rows]
        for row in found:
            # The last column that is never NULL: where a row is cut off, it is.
            if row.hash is None or row.recorded_at is None:
                raise corrupt(self._path, f"an event at position {row.position} that cannot be read")
        return found

    def _rows(self, statement: str, *values: Any) -> list[Any]:
        with translated(self._path):
            cursor: sqlite3.Cursor = self._connection.execute(statement, values)
            return cursor.fetchall()

"""The log in SQLite: WAL, ``synchronous=FULL``, one transaction for each batch."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec

from greenroom.eventlog._chain import EMPTY, SALT, Append, Encoded, Head, Plan, StreamKey, plan
from greenroom.eventlog._checkpoints import Checkpoint, SigningKey, make
from greenroom.eventlog._errors import EventLogError
from greenroom.eventlog._model import ERASED, Appended, StreamErased
from greenroom.eventlog._sqlite_file import MARK_EVERY, PATIENCE, connect, translated
from greenroom.eventlog._sqlite_keys import Keys
from greenroom.eventlog._sqlite_reader import CHECKPOINTS, WALK, SqliteReader
from greenroom.eventlog._sqlite_rows import chunks, insert, marks
from greenroom.eventlog._store import Erasure

_CACHED_STREAMS: Final = 50_000
# Payloads deleted in one transaction, so that appends do not wait for long.
ERASED_AT_ONCE: Final = 5_000


class SqliteStore:
    """The write side. Source of the contract: :class:`greenroom.eventlog._store.Store`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection = connect(path, write=True)
        self._version = -1
        self._position = 0
        self._last_stream = 0
        self._unscrubbed = False
        self._streams: dict[StreamKey, tuple[int, Head]] = {}
        self._keys = Keys(self._connection)

    def head(self) -> int:
        """Return the last position."""
        with translated(self.path):
            return int(self._one("SELECT coalesce(max(position), 0) FROM events"))

    def reader(self, *, tolerant: bool = False) -> SqliteReader:
        """Open a reader."""
        return SqliteReader(self.path, tolerant=tolerant)

    def close(self) -> None:
        """Close the connection; the last one folds the write-ahead log into the database."""
        self._connection.close()

    def commit(
        self, appends: Sequence[Append], *, now: int, missing: Callable[[str], bool] | None = None
    ) -> list[Appended | EventLogError]:
        """Store a batch in one transaction."""
        with self._transaction():
            planned = self._plan(appends, now, missing)
            ids = self._insert(planned, now)
        self._keep(planned, ids)
        return planned.outcomes

    def erase(self, tenant: str, stream: str, *, through: int | None, reason: str, now: int) -> Erasure:
        """Delete payloads and salts of a stream and append the event that says so."""
        with self._transaction():
            head = self._heads({(tenant, stream)}).get((tenant, stream), EMPTY)
            last = head.seq if through is None else min(through, head.seq)
            found = self._payloads(head.position, last)
            more = len(found) > ERASED_AT_ONCE
            if not found:
                return Erasure(0, ())
            del found[ERASED_AT_ONCE:]
            blobs = self._delete([position for position, _ in found])
            note = StreamErased(through_seq=found[-1][1] if more else last, events=len(found), reason=reason)
            encoded = Encoded(ERASED, 1, None, "", msgspec.json.encode(note), ())
            planned = self._plan([Append(tenant, stream, None, (encoded,))], now, None)
            ids = self._insert(planned, now)
            self._connection.execute(
                "UPDATE streams SET erased = ? WHERE id = ?", (note.through_seq, ids[tenant, stream])
            )
        self._keep(planned, ids)
        self._scrub()
        return Erasure(len(found), blobs, more)

    def _payloads(self, start: int, last: int) -> list[tuple[int, int]]:
        """Return position and sequence number of what can be erased of a stream, in order."""
        found = self._connection.execute(
            f"{WALK} SELECT w.position, w.seq FROM walk w JOIN payloads p ON p.position = w.position "  # noqa: S608
            "JOIN events e ON e.position = w.position WHERE w.seq <= ? AND e.type != ? ORDER BY w.seq LIMIT ?",
            (start, 0, last, ERASED, ERASED_AT_ONCE + 1),
        )
        return found.fetchall()

    def checkpoint(self, *, key: SigningKey | None, now: int) -> bool:
        """Join the ends of the streams that have grown since the last checkpoint."""
        if self._unscrubbed:
            self._scrub()
        with self._transaction():
            row = self._connection.execute(f"{CHECKPOINTS} ORDER BY number DESC LIMIT 1").fetchone()
            last = None if row is None else Checkpoint(*row)
            covered = 0 if last is None else last.position
            if self._position == covered:
                return False
            grown = self._connection.execute(
                "SELECT tenant, name, position, seq, hash FROM streams "
                "WHERE id IN (SELECT stream FROM events WHERE position > ?)",
                (covered,),
            )
            heads = [((tenant, name), Head(*head)) for tenant, name, *head in grown]
            made = make(last, heads, position=self._position, now=now, key=key)
            insert(self._connection, f"INSERT INTO checkpoints ({', '.join(Checkpoint._fields)})", [made])
        return True

    def release(self, blobs: Iterable[str], delete: Callable[[Iterable[str]], int]) -> int:
        """Call ``delete`` with those blobs that no event names, holding the lock that whoever appends needs."""
        wanted = list(blobs)
        if not wanted:
            return 0
        with self._transaction():
            return delete([blob for blob in wanted if not self._named(blob)])

    def _scrub(self) -> None:
        """Fold in and empty the write-ahead log, in which what was deleted still stands."""
        with contextlib.suppress(sqlite3.Error):
            # A reader may be in the way. Appends must not wait for it: the next checkpoint tries again.
            self._connection.execute("PRAGMA busy_timeout = 0")
            self._unscrubbed = bool(self._one("PRAGMA wal_checkpoint(TRUNCATE)"))
            self._connection.execute(f"PRAGMA busy_timeout = {round(PATIENCE * 1000)}")

    def _named(self, blob: str) -> bool:
        return bool(self._one("SELECT EXISTS (SELECT 1 FROM blobs WHERE hash = ?)", blob))

    def _plan(self, appends: Sequence[Append], now: int, missing: Callable[[str], bool] | None) -> Plan:
        return plan(
            appends,
            heads=self._heads({(append.tenant, append.stream) for append in appends}),
            known=self._keys.find(appends),
            position=self._position,
            now=now,
            salts=os.urandom(SALT * sum(len(append.events) for append in appends)),
            missing=missing,
        )

    def _heads(self, wanted: set[StreamKey]) -> dict[StreamKey, Head]:
        heads = {}
        for key in wanted:
            cached = self._streams.get(key)
            if cached is None:
                row = self._connection.execute(
                    "SELECT id, position, seq, hash FROM streams WHERE tenant = ? AND name = ?", key
                ).fetchone()
                if row is None:
                    continue
                cached = self._streams[key] = (row[0], Head(*row[1:]))
            heads[key] = cached[1]
        return heads

    def _insert(self, planned: Plan, now: int) -> dict[StreamKey, int]:
        rows = planned.rows
        self._keys.file(self._position)
        ids = {}
        last = self._last_stream
        for key in planned.heads:
            cached = self._streams.get(key)
            if cached is None:
                last += 1
            ids[key] = last if cached is None else cached[0]
        insert(
            self._connection,
            "INSERT INTO streams (id, tenant, name, position, seq, hash, recorded_at)",
            [(ids[key], *key, *head, now) for key, head in planned.heads.items()],
            "ON CONFLICT (id) DO UPDATE SET position = excluded.position, seq = excluded.seq, hash = excluded.hash, "
            "recorded_at = excluded.recorded_at",
        )
        insert(
            self._connection,
            "INSERT INTO events (position, tenant, stream, seq, type, version, at, recorded_at, key, digest, hash, "
            "previous)",
            [(r[0], r[1], ids[r[1], r[2]], *r[3:11], r[13]) for r in rows],
        )
        insert(self._connection, "INSERT INTO payloads (position, salt, payload)", [(r[0], r[11], r[12]) for r in rows])
        marked = [(ids[r[1], r[2]], r[3], r[0]) for r in rows if not r[3] % MARK_EVERY]
        insert(self._connection, "INSERT INTO marks (stream, seq, position)", marked)
        named = {(blob, r[0]) for r in rows if r[14] for blob in r[14]}
        insert(self._connection, "INSERT INTO blobs (hash, position)", sorted(named))
        return ids

    def _delete(self, positions: list[int]) -> tuple[str, ...]:
        touched: set[str] = set()
        for some in chunks(positions):
            some_marks = marks(some)
            touched.update(
                row[0]
                for row in self._connection.execute(f"SELECT hash FROM blobs WHERE position IN ({some_marks})", some)  # noqa: S608
            )
            self._connection.execute(f"DELETE FROM payloads WHERE position IN ({some_marks})", some)  # noqa: S608
            self._connection.execute(f"DELETE FROM blobs WHERE position IN ({some_marks})", some)  # noqa: S608
        return tuple(sorted(touched))

    def _keep(self, planned: Plan, ids: dict[StreamKey, int]) -> None:
        """Remember what is now durable."""
        self._keys.keep(planned.rows)
        if planned.rows:
            self._position = planned.rows[-1].position
        for key, head in planned.heads.items():
            self._streams[key] = (ids[key], head)
            self._last_stream = max(self._last_stream, ids[key])
        if len(self._streams) > _CACHED_STREAMS:
            for key in list(islice(self._streams, _CACHED_STREAMS // 2)):
                del self._streams[key]

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with translated(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                version = self._one("PRAGMA data_version")
                if version != self._version:
                    self._reload()
                    self._version = version
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                self._version = -1
                with contextlib.suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                raise

    def _reload(self) -> None:
        """Forget what another process may have changed."""
        self._streams.clear()
        self._position = self._one("SELECT coalesce(max(position), 0) FROM events")
        self._last_stream = self._one("SELECT coalesce(max(id), 0) FROM streams")
        self._keys.reload()

    def _one(self, statement: str, *values: Any) -> Any:
        return self._connection.execute(statement, values).fetchone()[0]

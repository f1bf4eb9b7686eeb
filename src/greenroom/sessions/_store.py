"""The projection's tables: one SQLite file beside the log that may be deleted at any time.

States and answers are written with the position they stand for in one transaction, so a crash leaves an older but
consistent projection, which then catches up.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from greenroom.eventlog import Record, StreamErased
from greenroom.sessions._prices import PriceTable
from greenroom.sessions._room import ROOM, step_room
from greenroom.sessions._state import RoomState, SessionState
from greenroom.sessions._step import SESSION, step
from greenroom.sessions._view import Session, view

# Raise it when a step, a view or a table changes: the projection is then made anew from the log.
SCHEMA: Final = 2
_CACHED: Final = 256
_OF_SESSION: Final = ("participant", "tag", "recording")
_TABLES: Final = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE session (
    rowid INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, position INTEGER NOT NULL, state BLOB NOT NULL,
    summary BLOB NOT NULL, full BLOB NOT NULL, agent TEXT NOT NULL, room_name TEXT NOT NULL, room_sid TEXT NOT NULL,
    status TEXT NOT NULL, outcome TEXT NOT NULL, started_at REAL NOT NULL, latency REAL, errors INTEGER NOT NULL,
    recording INTEGER NOT NULL
);
CREATE INDEX session_time ON session (started_at, id);
CREATE INDEX session_agent ON session (agent, started_at, id);
CREATE INDEX session_room ON session (room_sid);
CREATE TABLE room (sid TEXT PRIMARY KEY, state BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE participant (identity TEXT, session TEXT, PRIMARY KEY (identity, session)) WITHOUT ROWID;
CREATE INDEX participant_session ON participant (session);
CREATE TABLE tag (name TEXT, session TEXT, PRIMARY KEY (name, session)) WITHOUT ROWID;
CREATE INDEX tag_session ON tag (session);
CREATE TABLE recording (blob TEXT, session TEXT, PRIMARY KEY (blob, session)) WITHOUT ROWID;
CREATE INDEX recording_session ON recording (session);
CREATE VIRTUAL TABLE words USING fts5 (said, tokenize='unicode61 remove_diacritics 2');
CREATE TABLE peaks (blob TEXT PRIMARY KEY, data BLOB, error TEXT NOT NULL DEFAULT '') WITHOUT ROWID;
"""


def connect(path: Path) -> sqlite3.Connection:
    """Open the file; what was said is for its owner's eyes, and SQLite's other files take its mode."""
    path.touch(mode=0o600)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA busy_timeout = 10000")
    return connection


class Store:
    """Writes the projection; used by one thread."""

    def __init__(self, path: Path, prices: PriceTable) -> None:
        self._prices = prices
        self._encoder = msgspec.json.Encoder(order="deterministic")
        self._session_decoder = msgspec.json.Decoder(SessionState)
        self._room_decoder = msgspec.json.Decoder(RoomState)
        self._sessions: dict[str, SessionState | None] = {}
        self._db = self._open(path)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    @property
    def position(self) -> int:
        """The position of the log up to which the projection stands."""
        return int(self._meta("position") or 0)

    def apply(self, records: Sequence[Record], upto: int) -> set[str]:
        """Take in records, in order of position, and stand for ``upto``. Return the ids of sessions that changed."""
        if not records:
            return set()
        changed: dict[str, tuple[SessionState | None, int]] = {}
        rooms: dict[str, RoomState | None] = {}
        for record in records:
            if record.stream.startswith(SESSION):
                session = record.stream.removeprefix(SESSION)
                state = changed[session][0] if session in changed else self._session(session)
                changed[session] = (step(state, record), record.position)
            elif record.stream.startswith(ROOM):
                sid = record.stream.removeprefix(ROOM)
                rooms[sid] = step_room(rooms[sid] if sid in rooms else self._room(sid), record)
        with self._transaction():
            for sid, room in rooms.items():
                self._write_room(sid, room)
            for session in self._of_rooms(rooms):
                changed.setdefault(session, (self._session(session), 0))
            for session, (found, position) in changed.items():
                self._write(session, found, position)
            self._db.execute("REPLACE INTO meta VALUES ('position', ?)", (str(upto),))
        for session, (found, _) in changed.items():
            self._remember(session, found)
        if any(isinstance(record.data, StreamErased) for record in records):
            self._forget()
        return set(changed)

    def clear(self) -> None:
        """Forget everything, so that it is made anew. Peaks are kept: they belong to recordings, not to the log."""
        with self._transaction():
            for table in ("session", "room", *_OF_SESSION, "words"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - the names are constants
            self._db.execute("REPLACE INTO meta VALUES ('position', '0')")
        self._sessions.clear()

    def wanting_peaks(self) -> list[str]:
        """Return the hashes of recordings whose peaks have not been made."""
        wanting = "SELECT DISTINCT blob FROM recording WHERE blob NOT IN (SELECT blob FROM peaks) ORDER BY blob"
        return [blob for (blob,) in self._db.execute(wanting)]

    def save_peaks(self, blob: str, data: bytes | None, error: str = "") -> set[str]:
        """Keep the peaks of a recording, or why there are none; return the ids of the sessions it is of."""
        of = {session for (session,) in self._db.execute("SELECT session FROM recording WHERE blob = ?", (blob,))}
        if of:
            self._db.execute("REPLACE INTO peaks VALUES (?, ?, ?)", (blob, data, error))
        return of

    def _open(self, path: Path) -> sqlite3.Connection:
        path.parent.mkdir(parents=True, exist_ok=True)
        want = f"{SCHEMA} {self._prices.version}"
        with contextlib.suppress(sqlite3.DatabaseError):
            db = connect(path)
            with contextlib.suppress(sqlite3.OperationalError):
                row = db.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()
                if row == (want,):
                    return db
            db.close()
        for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
            path.with_name(name).unlink(missing_ok=True)
        path.touch(mode=0o600)
        db = connect(path)
        db.executescript(f"BEGIN; {_TABLES} COMMIT;")
        db.execute("INSERT INTO meta VALUES ('schema', ?)", (want,))
        return db

    def _meta(self, name: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    def _session(self, session: str) -> SessionState | None:
        if session in self._sessions:
            return self._sessions[session]
        row = self._db.execute("SELECT state FROM session WHERE id = ?", (session,)).fetchone()
        return self._session_decoder.decode(row[0]) if row else None

    def _room(self, sid: str) -> RoomState | None:
        row = self._db.execute("SELECT state FROM room WHERE sid = ?", (sid,)).fetchone() if sid else None
        return self._room_decoder.decode(row[0]) if row else None

    def _of_rooms(self, sids: Iterable[str]) -> list[str]:
        found: list[str] = []
        for sid in sids:
            found += [row[0] for row in self._db.execute("SELECT id FROM session WHERE room_sid = ?", (sid,))]
        return found

    def _remember(self, session: str, state: SessionState | None) -> None:
        self._sessions.pop(session, None)
        self._sessions[session] = state
        while len(self._sessions) > _CACHED:
            del self._sessions[next(iter(self._sessions))]

    def _write_room(self, sid: str, room: RoomState | None) -> None:
        if room is None:
            self._db.execute("DELETE FROM room WHERE sid = ?", (sid,))
        else:
            self._db.execute("REPLACE INTO room VALUES (?, ?)", (sid, self._encoder.encode(room)))

    def _write(self, session: str, state: SessionState | None, position: int) -> None:
        row = self._db.execute("SELECT rowid, position FROM session WHERE id = ?", (session,)).fetchone()
        if row is not None:
            self._db.execute("DELETE FROM words WHERE rowid = ?", (row[0],))
            self._db.execute("DELETE FROM session WHERE rowid = ?", (row[0],))
            for table in _OF_SESSION:
                self._db.execute(f"DELETE FROM {table} WHERE session = ?", (session,))  # noqa: S608 - constants
        if state is None:
            return
        full = view(state, self._room(state.room_id), self._prices)
        summary = full.summary
        latency = summary.latency.get("e2e")
        values = (
            state.born,
            session,
            max(position, row[1] if row else 0),
            self._encoder.encode(state),
            self._encoder.encode(summary),
            self._encoder.encode(full),
            summary.agent.name,
            summary.room.name,
            summary.room.sid,
            summary.status,
            summary.outcome.outcome if summary.outcome else "",
            summary.started_at or 0.0,
            latency.max if latency else None,
            summary.errors,
            summary.has_recording,
        )
        marks = ", ".join("?" * len(values))
        self._db.execute(f"INSERT INTO session VALUES ({marks})", values)  # noqa: S608 - question marks
        self._db.execute("INSERT INTO words (rowid, said) VALUES (?, ?)", (state.born, _said(full)))
        identities = {each.identity for each in summary.participants if each.identity}
        rows = {
            "participant": sorted(identities),
            "tag": list(summary.tags),
            "recording": sorted(state.recordings),
        }
        for table, names in rows.items():
            pairs = [(name, session) for name in names]
            self._db.executemany(f"INSERT INTO {table} VALUES (?, ?)", pairs)  # noqa: S608 - constants

    def _forget(self) -> None:
        """Leave no trace of what has been erased: not in the index of words, nor in pages no longer used."""
        with self._transaction():
            self._db.execute("DELETE FROM peaks WHERE blob NOT IN (SELECT blob FROM recording)")
            self._db.execute("INSERT INTO words (words) VALUES ('optimize')")
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _said(full: Session) -> str:
    parts: list[str | None] = []
    for turn in full.turns:
        parts.append(turn.user.text if turn.user else None)
        parts += [said.text for said in turn.agent]
        for tool in turn.tools:
            parts += [tool.name, tool.arguments, tool.result]
    return "\n".join(part for part in parts if part)

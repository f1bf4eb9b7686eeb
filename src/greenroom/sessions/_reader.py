"""Reading the projection's tables; each thread has a connection of its own."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import msgspec

from greenroom.errors import GreenroomError
from greenroom.sessions._query import SessionQuery, place_of, sql_of
from greenroom.sessions._state import RoomState
from greenroom.sessions._view import Session, SessionSummary


class SessionNotFoundError(GreenroomError):
    """There is no such session, or what it should have."""

    code = "session_not_found"
    status = 404


class SessionPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of sessions, newest first. ``next`` is empty on the last one."""

    sessions: tuple[SessionSummary, ...]
    next: str = ""


class Peaks(msgspec.Struct, frozen=True):
    """Peaks as they are stored, and why there are none. ``made`` is false while they are being made."""

    data: bytes | None
    error: str
    made: bool


class Reader:
    """Answers questions from the tables."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._summaries = msgspec.json.Decoder(SessionSummary)
        self._sessions = msgspec.json.Decoder(Session)
        self._rooms = msgspec.json.Decoder(RoomState)

    def close(self) -> None:
        """Let go of the file."""
        for connection in self._connections:
            connection.close()

    def search(self, query: SessionQuery) -> SessionPage:
        """Return a page of sessions. Raises :class:`QueryError`."""
        statement, given = sql_of(query)
        rows = self._db.execute(statement, given).fetchall()
        page = rows[: query.limit]
        more = place_of(page[-1][1], page[-1][2]) if len(rows) > query.limit else ""
        return SessionPage(sessions=tuple(self._summaries.decode(row[0]) for row in page), next=more)

    def session(self, session: str) -> Session:
        """Return a session. Raises :class:`SessionNotFoundError`."""
        row = self._db.execute("SELECT full FROM session WHERE id = ?", (session,)).fetchone()
        if row is None:
            raise SessionNotFoundError(f"There is no session '{session[:80]}'", fix="List them: GET /api/sessions")
        return self._sessions.decode(row[0])

    def rooms(self, room: str) -> list[RoomState]:
        """Return the rooms with this name or sid."""
        named = "json_extract(CAST(state AS TEXT), '$.name') = ?"
        rows = self._db.execute(f"SELECT state FROM room WHERE sid = ? OR {named}", (room, room))  # noqa: S608 - constant
        return [self._rooms.decode(row[0]) for row in rows]

    def position(self, session: str) -> int:
        """Return the position of the last event of a session; 0 when there is none."""
        row = self._db.execute("SELECT position FROM session WHERE id = ?", (session,)).fetchone()
        return row[0] if row else 0

    def peaks(self, blob: str) -> Peaks:
        """Return the peaks of a recording."""
        row = self._db.execute("SELECT data, error FROM peaks WHERE blob = ?", (blob,)).fetchone()
        return Peaks(row[0], row[1], True) if row else Peaks(None, "", False)

    @property
    def _db(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True, check_same_thread=False)
            connection.execute("PRAGMA busy_timeout = 10000")
            connection.execute("PRAGMA query_only = ON")
            self._local.connection = connection
            self._connections.append(connection)
        return connection

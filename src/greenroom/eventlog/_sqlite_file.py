"""The database file: its schema, how it is opened, and what SQLite's errors mean to a person."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from greenroom.eventlog._errors import (
    EventLogError,
    LogBusyError,
    LogCorruptError,
    LogFullError,
    LogVersionError,
)
from greenroom.eventlog._files import alone, sync_directory

# "GRLG", so that `file` and we ourselves can tell what the database is.
APPLICATION_ID: Final = 0x47524C47
SCHEMA_VERSION: Final = 1
PATIENCE: Final = 10.0
# Folding the write-ahead log in holds up a commit. Often and little is better for the slowest than seldom and much.
_WAL_PAGES: Final = 500
_WAL_LIMIT: Final = 64 * 1024 * 1024

# An index by stream and sequence number would cost a page of it for each event where many streams grow at once: more
# than all else together. Instead each event knows the position of the one before it in its stream, the stream that
# of its last, and every 256th event stands in `marks`.
MARK_EVERY: Final = 256
_SCHEMA: Final = """
CREATE TABLE streams (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    position INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    hash BLOB NOT NULL,
    recorded_at INTEGER NOT NULL,
    erased INTEGER NOT NULL DEFAULT 0,
    UNIQUE (name, tenant)
) STRICT;
CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    previous INTEGER NOT NULL,
    type TEXT NOT NULL,
    version INTEGER NOT NULL,
    at INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    key TEXT NOT NULL,
    tenant TEXT NOT NULL,
    digest BLOB NOT NULL,
    hash BLOB NOT NULL
) STRICT;
CREATE TABLE keys (
    tenant TEXT NOT NULL,
    key TEXT NOT NULL,
    position INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (tenant, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE filed (position INTEGER NOT NULL) STRICT;
INSERT INTO filed VALUES (0);
CREATE TABLE marks (
    stream INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (stream, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE payloads (
    position INTEGER PRIMARY KEY,
    salt BLOB NOT NULL,
    payload BLOB NOT NULL
) STRICT;
CREATE TABLE blobs (
    hash TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (hash, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX blobs_by_position ON blobs (position);
CREATE TABLE checkpoints (
    number INTEGER PRIMARY KEY,
    position INTEGER NOT NULL,
    at INTEGER NOT NULL,
    streams INTEGER NOT NULL,
    root BLOB NOT NULL,
    hash BLOB NOT NULL,
    key_id TEXT NOT NULL,
    signature BLOB NOT NULL
) STRICT;
"""

_FULL: Final = frozenset({"SQLITE_FULL", "SQLITE_TOOBIG"})
_BUSY: Final = frozenset({"SQLITE_BUSY", "SQLITE_LOCKED"})
_CORRUPT: Final = frozenset({"SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT"})


def connect(path: Path, *, write: bool = False, tolerant: bool = False) -> sqlite3.Connection:
    """Open the database. A writer creates it, readable by its owner alone. Raises :class:`EventLogError`.

    :param tolerant: return text that is no UTF-8 with surrogates in it.
    """
    with translated(path):
        if not write:
            if not path.exists():
                raise EventLogError(f"There is no log at {path}", fix="Name the data directory with --data-dir")
            return _open(path, write=False, tolerant=tolerant)
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            sync_directory(path.parent.parent)
        # Two that find no log must not both make one, nor see each other's halves.
        with alone(path.parent):
            # Where there is a file, this process may have it open. Closing another descriptor would drop its locks.
            with contextlib.suppress(FileExistsError):
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            return _open(path, write=True, tolerant=tolerant)


def _open(path: Path, *, write: bool, tolerant: bool) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=PATIENCE, isolation_level=None, check_same_thread=False, cached_statements=64
    )
    if tolerant:
        connection.text_factory = lambda text: text.decode(errors="surrogateescape")
    try:
        _prepare(connection, path, write=write)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, *, write: bool) -> None:
    connection.execute("BEGIN")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    connection.execute("COMMIT")
    if version > SCHEMA_VERSION and application == APPLICATION_ID:
        raise LogVersionError(
            f"The log {path} has schema {version}; this Greenroom knows {SCHEMA_VERSION}",
            fix="Use the Greenroom that wrote it, or a newer one",
            context={"path": str(path), "schema": version},
        )
    if (tables and application != APPLICATION_ID) or (not write and not tables):
        raise LogCorruptError(
            f"{path} is not an event log",
            fix="Name another --data-dir, or move the file away",
            context={"path": str(path)},
        )
    if not write:
        connection.execute("PRAGMA query_only = ON")
        return
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        "secure_delete = ON",
        f"wal_autocheckpoint = {_WAL_PAGES}",
    ):
        connection.execute(f"PRAGMA {pragma}")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT}")
    if not tables:
        _create(connection)


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise SQLite's and the system's errors as the log's own."""
    try:
        yield
    except sqlite3.Error as error:
        raise explain(error, path) from error
    except UnicodeError as error:
        # SQLite's own message may quote what is damaged.
        raise corrupt(path, "text that is none") from error
    except OSError as error:
        raise EventLogError(
            f"Cannot use the log {path}: {error.strerror or error}",
            fix="Name a directory you may write to with --data-dir",
            context={"path": str(path)},
        ) from error


def explain(error: sqlite3.Error, path: Path) -> EventLogError:
    """Return what an error of SQLite's means, and what to do."""
    name: str = getattr(error, "sqlite_errorname", "") or ""
    base = "_".join(name.split("_")[:2])
    context = {"path": str(path), "sqlite": name or str(error)}
    if base in _FULL or name == "SQLITE_IOERR_WRITE":
        return LogFullError(
            f"The log {path} cannot grow; nothing of this append is stored",
            fix="Free disk space, or raise the limit on the file's size; then append again",
            context=context,
        )
    if base in _BUSY:
        return LogBusyError(
            f"Another process has been writing to {path} for {PATIENCE:.0f} s",
            fix="Find it with: fuser " + str(path),
            context=context,
        )
    if base in _CORRUPT or "decode to UTF-8" in str(error):
        return corrupt(path, name or str(error))
    return EventLogError(
        f"The log {path} failed: {error}",
        fix="See whether the disk and the directory can be written to",
        context=context,
    )


def corrupt(path: Path, what: str) -> LogCorruptError:
    """Return the error for a file that is damaged."""
    return LogCorruptError(
        f"The log {path} is damaged ({what})",
        fix="Stop every Greenroom, keep a copy of the file, and restore the last backup of the data directory",
        context={"path": str(path), "sqlite": what},
    )

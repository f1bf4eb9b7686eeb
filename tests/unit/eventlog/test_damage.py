"""Whatever is changed in a stored log, verification finds it and names the event."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from greenroom.eventlog import EventLogError, SigningKey, Verification
from greenroom.eventlog._chain import Append, Encoded
from greenroom.eventlog._sqlite import SqliteStore
from greenroom.eventlog._sqlite_reader import SqliteReader
from greenroom.eventlog._store import Query
from greenroom.eventlog._verify import verify_log, verify_stream

pytestmark = pytest.mark.unit

KEY = SigningKey(b"k" * 32)
STREAMS = [("", "session:AJ_a"), ("", "session:AJ_b"), ("acme", "session:AJ_a"), ("", "room:RM_c")]
HEADER = ("position", "stream", "seq", "previous", "type", "version", "at", "recorded_at", "key", "tenant", "digest")
COLUMNS = [
    *(("events", column) for column in (*HEADER, "hash")),
    *(("payloads", column) for column in ("position", "salt", "payload")),
    *(("streams", column) for column in ("tenant", "name", "position", "seq", "hash", "recorded_at", "erased")),
    *(("checkpoints", column) for column in ("number", "position", "at", "streams", "root", "hash", "signature")),
    ("checkpoints", "key_id"),
    *(("marks", column) for column in ("stream", "seq", "position")),
]


def encoded(number: int) -> Encoded:
    key = f"key-{number}" if number % 3 == 0 else ""
    return Encoded("test.said", 1, 1_000_000 * number, key, b'{"number": %d}' % number, ())


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with tenants, keys, erased and later events, checkpoints and marks, in one file."""
    path = tmp_path_factory.mktemp("log") / "log.db"
    store = SqliteStore(path)
    for number in range(40):
        tenant, stream = STREAMS[number % len(STREAMS)]
        store.commit([Append(tenant, stream, None, [encoded(number)])], now=number)
        if number in {10, 25}:
            store.checkpoint(key=KEY, now=number)
        if number in {12, 30}:
            store.erase("", "session:AJ_a", through=None, reason="test", now=number)
    store.commit([Append("", "system:x", None, [encoded(1000 + number) for number in range(300)])], now=99)
    store.checkpoint(key=KEY, now=100)
    store.close()
    return path


@pytest.fixture(scope="module")
def copy(written: Path) -> Path:
    """A copy to damage. Whoever does mends it."""
    return Path(shutil.copy(written, written.with_name("copy.db")))


def verified(path: Path) -> Verification:
    with contextlib.closing(SqliteReader(path, tolerant=True)) as reader:
        return verify_log(reader, key=KEY)


def flipped(value: Any, bit: int) -> Any:
    """Return ``value`` with one bit of it changed."""
    if isinstance(value, int):
        changed = value ^ 1 << bit % 64
        return changed - (1 << 64) if changed >= 1 << 63 else changed
    content = bytearray(value if isinstance(value, bytes) else value.encode())
    assume(content)
    content[bit // 8 % len(content)] ^= 1 << bit % 8
    return bytes(content)


@contextlib.contextmanager
def changed(path: Path, table: str, column: str, row: int, bit: int) -> Iterator[list[tuple[Any, ...]]]:
    """Flip a bit in one value; give back what the row said; mend it in the end."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        identity = "rowid" if table != "marks" else "seq"
        rows = connection.execute(f"SELECT {identity}, {column} FROM {table} ORDER BY 1").fetchall()
        number, value = rows[row % len(rows)]
        said = connection.execute(f"SELECT * FROM {table} WHERE {identity} = ?", (number,)).fetchall()
        whole = said[0]
        names = [entry[1] for entry in connection.execute(f"PRAGMA table_info({table})")]
        new = flipped(value, bit)
        mark = "CAST(? AS TEXT)" if isinstance(value, str) else "?"
        try:
            connection.execute(f"UPDATE {table} SET {column} = {mark} WHERE {identity} = ?", (new, number))
        except sqlite3.IntegrityError:
            assume(False)
        try:
            yield [dict(zip(names, whole, strict=True))]
        finally:
            connection.execute("PRAGMA writable_schema = OFF")
            moved = new if column == identity or (column == names[0] and table != "marks") else number
            connection.execute(f"DELETE FROM {table} WHERE {identity} = ?", (moved,))
            marks = ", ".join("?" * len(whole))
            connection.execute(f"INSERT INTO {table} VALUES ({marks})", whole)


def test_the_log_is_whole(written: Path) -> None:
    found = verified(written)
    assert found.problems == ()
    assert (found.events, found.erased, found.checkpoints, found.signed) == (342, 8, 3, 3)


@settings(max_examples=200)
@given(st.sampled_from(COLUMNS), st.integers(0, 400), st.integers(0, 511))
def test_any_bit_changed_is_found_and_its_event_is_named(
    copy: Path, column: tuple[str, str], row: int, bit: int
) -> None:
    table, name = column
    with contextlib.closing(sqlite3.connect(copy)) as connection:
        places = {
            place[0]: place[1:]
            for place in connection.execute(
                "SELECT e.position, s.tenant, s.name, e.seq FROM events e JOIN streams s ON s.id = e.stream"
            )
        }
    with changed(copy, table, name, row, bit) as said:
        found = verified(copy)
        assert found.problems, (table, name)
        if table in {"events", "payloads"}:
            named = {(problem.tenant, problem.stream, problem.seq) for problem in found.problems}
            assert places[said[0]["position"]] in named
        elif table == "streams":
            # Under its own name or, where that is the damage, under the damaged one.
            assert any(problem.stream or problem.seq for problem in found.problems)
        elif table == "checkpoints":
            which = "" if name == "number" else said[0]["number"]
            assert any(f"checkpoint {which}" in problem.what for problem in found.problems)


def test_a_stream_alone_shows_its_damage(written: Path, tmp_path: Path) -> None:
    damaged = Path(shutil.copy(written, tmp_path / "log.db"))
    with contextlib.closing(sqlite3.connect(damaged, isolation_level=None)) as connection:
        connection.execute("UPDATE payloads SET payload = x'00' WHERE position = 200")
    with contextlib.closing(SqliteReader(damaged, tolerant=True)) as reader:
        heads = reader.heads(None, "")
        wrong = [head.stream for head in heads if not verify_stream(reader, head.tenant, head.stream).ok]
    assert wrong == ["system:x"]


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("DELETE FROM events WHERE position = 20", "an event is missing, or stands elsewhere"),
        ("DELETE FROM events WHERE position > 340", "the stream does not end as it says"),
        ("DELETE FROM payloads WHERE position = 20", "the payload is missing"),
        ("DELETE FROM streams WHERE name = 'system:x'", "the stream does not end as it says"),
        ("DELETE FROM checkpoints WHERE number = 2", "checkpoint 2 is missing"),
        ("DELETE FROM marks", "a mark is missing"),
        ("INSERT INTO payloads VALUES (9999, x'00', x'00')", "a payload belongs to no event"),
        ("INSERT INTO blobs VALUES ('00', 9999)", "a blob is kept for no payload"),
        (
            "INSERT INTO streams SELECT 99, '', 'room:RM_z', 1, 1, hash, 0, 0 FROM streams LIMIT 1",
            "the stream has no events",
        ),
    ],
)
def test_what_is_taken_or_added_is_found(written: Path, tmp_path: Path, statement: str, what: str) -> None:
    path = Path(shutil.copy(written, tmp_path / "log.db"))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        assert connection.execute(statement).rowcount
    assert what in [problem.what for problem in verified(path).problems]


def test_a_stream_cut_short_with_its_head_is_found_by_the_checkpoint(written: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(written, tmp_path / "log.db"))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        last = connection.execute("SELECT position, previous, seq FROM events ORDER BY position DESC").fetchone()
        hashed, recorded = connection.execute(
            "SELECT hash, recorded_at FROM events WHERE position = ?", (last[1],)
        ).fetchone()
        connection.execute("DELETE FROM events WHERE position = ?", (last[0],))
        connection.execute("DELETE FROM payloads WHERE position = ?", (last[0],))
        connection.execute(
            "UPDATE streams SET position = ?, seq = ?, hash = ?, recorded_at = ? WHERE position = ?",
            (last[1], last[2] - 1, hashed, recorded, last[0]),
        )
    assert [problem.what for problem in verified(path).problems] == [
        "checkpoint 3 does not match the ends of the streams"
    ]


def contents(path: Path) -> tuple[object, object]:
    with contextlib.closing(SqliteReader(path)) as reader:
        return reader.page(0, 10_000, Query()).rows, reader.heads(None, "")


@settings(max_examples=100)
@given(st.integers(0, 2**32), st.integers(1, 255))
def test_any_byte_changed_in_the_file_is_found_or_harmless(
    written: Path, tmp_path_factory: pytest.TempPathFactory, place: int, change: int
) -> None:
    content = bytearray(written.read_bytes())
    content[place % len(content)] ^= change
    path = tmp_path_factory.getbasetemp() / "byte.db"
    path.write_bytes(content)
    try:
        found = verified(path)
    except EventLogError:
        return
    finally:
        for end in ("-wal", "-shm"):
            path.with_name(path.name + end).unlink(missing_ok=True)
    if found.ok:
        assert contents(path) == contents(written)

"""Files that are no log, or no longer a whole one: each a clear error, and nothing is made worse."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from pathlib import Path

import pytest

from greenroom.eventlog import EventLog, EventLogError, LogCorruptError, LogFullError, LogReader, LogVersionError
from support.logs import Clock, said

pytestmark = pytest.mark.chaos

A = "session:AJ_a"


async def write(path: Path, count: int = 2000) -> None:
    async with await EventLog.open(path) as log:
        for first in range(0, count, 100):
            await log.append(A, [said("x" * 100, number=first + number) for number in range(100)])


@pytest.mark.parametrize(
    "content", [b"no database at all" * 500, b"\x00" * 8192, b"SQLite format 3\x00" + b"\xff" * 5000]
)
async def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "log.db"
    path.write_bytes(content)
    for attempt in (EventLog.open, LogReader.open_reader):
        with pytest.raises(EventLogError) as caught:
            await attempt(path)
        assert caught.value.fix
        assert str(path) in caught.value.message
    assert path.read_bytes() == content


async def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(LogCorruptError, match="not an event log"):
        await EventLog.open(path)


async def test_a_log_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    await write(path, 100)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(LogVersionError, match="schema 99"):
        await EventLog.open(path)


async def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EventLogError, match="Cannot use the log"):
        await EventLog.open(tmp_path / "file" / "log.db")
    with pytest.raises(EventLogError, match="There is no log"):
        await LogReader.open_reader(tmp_path / "none.db")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
async def test_a_truncated_log_is_reported_in_words(tmp_path: Path, share: float) -> None:
    path = tmp_path / "log.db"
    await write(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with contextlib.suppress(LogCorruptError):
        async with await LogReader.open_reader(path) as log:
            assert not (await log.verify()).ok


async def test_damage_under_a_running_log_is_an_error_not_a_crash(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    await write(path)
    chance = random.Random(7)
    content = bytearray(path.read_bytes())
    for page in range(1, len(content) // 4096):
        content[page * 4096 : page * 4096 + 64] = chance.randbytes(64)
    path.write_bytes(content)
    async with await EventLog.open(path) as log:
        for attempt in (log.append(A, [said()]), log.read(), log.erase(A, "test"), log.streams()):
            with pytest.raises(LogCorruptError, match="damaged"):
                await attempt
        assert not (await log.verify()).ok


async def test_a_database_that_may_not_grow_takes_no_event_and_loses_none(tmp_path: Path) -> None:
    async with await EventLog.open(tmp_path / "log.db") as log:
        connection = log._store._connection  # type: ignore[attr-defined]
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 20}")
        stored = 0
        refused: LogFullError | None = None
        while refused is None:
            try:
                stored = (await log.append(A, [said("x" * 1000, number=stored)], expected=stored)).last_seq
            except LogFullError as error:
                refused = error
        assert "cannot grow" in refused.message
        assert refused.fix
        connection.execute("PRAGMA max_page_count = 1000000")
        await log.append(A, [said(number=stored)], expected=stored)
        assert [record.data.number for record in await log.read_stream(A)] == list(range(stored + 1))  # type: ignore[union-attr]
        assert (await log.verify()).ok


async def test_a_clock_that_jumps_about_between_restarts_changes_nothing(tmp_path: Path) -> None:
    chance = random.Random(3)
    clock = Clock()
    for number in range(10):
        clock.now += chance.uniform(-1e8, 1e8)
        async with await EventLog.open(tmp_path / "log.db", clock=clock, retention={"session": 1e9}) as log:
            assert (await log.append(A, [said(number=number)])).last_seq == number + 1
    async with await LogReader.open_reader(tmp_path / "log.db") as log:
        assert [record.data.number for record in await log.read()] == list(range(10))  # type: ignore[union-attr]
        assert (await log.verify()).ok

"""A log whose writer is killed at any moment: what was acknowledged is there, once, and everything verifies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path

import pytest

from greenroom.eventlog import EventLog, LogReader, Record
from support.log_writer import content
from support.logs import said

pytestmark = pytest.mark.chaos

TESTS = Path(__file__).parents[2]
ROUNDS = 60 if os.environ.get("GREENROOM_CHAOS") == "long" else 4
PATIENCE = 60.0


@contextlib.asynccontextmanager
async def writer(directory: Path, first: int, *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the program that writes; killed at the end if it still runs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "support.log_writer", str(directory), str(first), *options),
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def note(lines: list[bytes], promised: dict[int, str]) -> None:
    """Remember what was acknowledged. A line cut off by death is none."""
    for line in lines:
        if line.endswith(b"\n"):
            number, blob = line.decode().split()
            promised[int(number)] = blob


async def check(directory: Path, promised: dict[int, str]) -> int:
    """Compare the log with what its writers were promised; return the first number never used."""
    async with await LogReader.open_reader(directory / "log.db") as log:
        records = [record async for record in everything(log)]
        kept = {record.key: record.data for record in records if record.key}
        assert len(kept) == len([record for record in records if record.key]), "an event is there twice"
        for number, blob in promised.items():
            assert f"key-{number}" in kept, "an acknowledged event is lost"
            if blob != "-" and kept[f"key-{number}"] is not None:
                assert await log.blobs.read(blob) == content(number)
        found = await log.verify()
        assert found.problems == ()
        assert found.events == len(records)
    for path in (directory / "blobs").glob("??/*"):
        assert sha256(path.read_bytes()).hexdigest() == path.name, "a blob is not whole"
    return max((int(key.removeprefix("key-")) for key in kept), default=0) + 1000


async def everything(log: LogReader) -> AsyncIterator[Record]:
    """Yield every event there is."""
    after = 0
    while records := await log.read(after):
        for record in records:
            yield record
        after = records[-1].position


async def test_nothing_acknowledged_is_lost_when_the_writer_is_killed(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    promised: dict[int, str] = {}
    first = 1
    for _ in range(ROUNDS):
        async with writer(tmp_path, first) as process:
            assert process.stdout is not None
            async with asyncio.timeout(PATIENCE):
                lines = [await process.stdout.readline() for _ in range(chance.randint(0, 120))]
            process.kill()
            lines += (await process.stdout.read()).splitlines(keepends=True)
        note(lines, promised)
        if chance.random() < 0.5 and (tmp_path / "log.db-wal").exists():
            # What a torn write may leave behind.
            with (tmp_path / "log.db-wal").open("ab") as wal:
                wal.write(chance.randbytes(chance.randint(1, 9000)))
        if (tmp_path / "log.db").exists():
            first = await check(tmp_path, promised) if promised else first
    assert promised


async def test_two_processes_that_write_to_one_log_lose_nothing(tmp_path: Path) -> None:
    promised: dict[int, str] = {}
    async with writer(tmp_path, 1) as one, writer(tmp_path, 1_000_000) as two, asyncio.timeout(PATIENCE):
        for process in (one, two, one, two):
            assert process.stdout is not None
            note([await process.stdout.readline() for _ in range(60)], promised)
    assert min(promised) < 1_000_000 <= max(promised)
    await check(tmp_path, promised)


async def test_who_repeats_what_was_not_acknowledged_stores_it_once(tmp_path: Path) -> None:
    async with writer(tmp_path, 1) as process:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            last = [await process.stdout.readline() for _ in range(50)]
    top = max(int(line.split()[0]) for line in last) + 40
    async with await EventLog.open(tmp_path / "log.db") as log:
        for number in range(1, top):
            await log.append("session:AJ_again", [said(number=number, key=f"key-{number}")])
        keys = [record.key async for record in everything(log) if record.key]
        assert sorted(keys) == sorted(set(keys))
        assert {f"key-{number}" for number in range(1, top)} <= set(keys)
        assert (await log.verify()).ok


@pytest.mark.parametrize("limit", [400_000, 1_500_000])
async def test_a_full_disk_refuses_clearly_and_loses_nothing(tmp_path: Path, limit: int) -> None:
    async with writer(tmp_path, 1, "--limit", str(limit)) as process:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            lines = (await process.stdout.read()).splitlines(keepends=True)
        assert await process.wait() == 0
    full = lines.index(b"full log_full\n")
    promised: dict[int, str] = {}
    note(lines[:full] + lines[full + 1 :], promised)
    assert len(lines) == full + 2, "it went on once there was room"
    await check(tmp_path, promised)
    assert list((tmp_path / "blobs" / "incoming").iterdir()) == []

"""Blobs: whole or absent, named by their content."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from greenroom.eventlog import BlobMissingError, BlobTooLargeError, EventLog, NewEvent
from support.logs import Said

pytestmark = pytest.mark.conformance

CONTENT = bytes(range(256)) * 4000


async def parts(content: bytes, size: int = 10_000) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def files(log: EventLog, tmp_path: Path) -> list[str]:
    return [path.name for path in (tmp_path / "blobs").rglob("*") if path.is_file()]


async def test_a_blob_is_named_by_its_content(log: EventLog) -> None:
    ref = await log.blobs.put(parts(CONTENT))
    assert (ref.hash, ref.size) == (hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
    assert await log.blobs.read(ref.hash) == CONTENT
    assert log.blobs.path(ref.hash).stat().st_size == len(CONTENT)


async def test_the_same_content_is_stored_once(log: EventLog, tmp_path: Path) -> None:
    assert await log.blobs.put(parts(CONTENT)) == await log.blobs.put_bytes(CONTENT)
    assert len(files(log, tmp_path)) == 1


@pytest.mark.parametrize(
    ("start", "end"), [(0, None), (0, 10), (500_000, 500_001), (1_000_000, None), (5, 5), (10**9, None)]
)
async def test_a_part_of_a_blob_is_read(log: EventLog, start: int, end: int | None) -> None:
    ref = await log.blobs.put_bytes(CONTENT)
    found = b"".join([part async for part in log.blobs.open(ref.hash, start, end)])
    assert found == CONTENT[start:end]


async def test_what_exceeds_the_limit_leaves_nothing(log: EventLog, tmp_path: Path) -> None:
    with pytest.raises(BlobTooLargeError):
        await log.blobs.put(parts(CONTENT), limit=len(CONTENT) - 1)
    assert files(log, tmp_path) == []
    assert (await log.blobs.put(parts(CONTENT), limit=len(CONTENT))).size == len(CONTENT)


async def test_a_source_that_breaks_leaves_nothing(log: EventLog, tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield CONTENT
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await log.blobs.put(broken())
    assert files(log, tmp_path) == []


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "0" * 64, "A" * 64])
async def test_what_is_not_stored_is_said_to_be_missing(log: EventLog, name: str) -> None:
    assert not log.blobs.holds(name)
    with pytest.raises(BlobMissingError):
        await log.blobs.read(name)


async def test_blobs_that_nobody_names_are_swept_after_an_hour(log: EventLog, tmp_path: Path) -> None:
    named, unnamed, young = [await log.blobs.put_bytes(content) for content in (b"named", b"unnamed", b"young")]
    left = tmp_path / "blobs" / "incoming" / "left-by-a-crash"
    left.write_bytes(b"half")
    await log.append("session:AJ_a", [NewEvent(Said(blob=named))])
    long_ago = time.time() - 7200
    for path in (log.blobs.path(named.hash), log.blobs.path(unnamed.hash), left):
        os.utime(path, (long_ago, long_ago))
    assert await log.sweep() == 1
    assert [log.blobs.holds(ref.hash) for ref in (named, unnamed, young)] == [True, False, True]
    assert not left.exists()


async def test_a_damaged_or_lost_blob_is_found_and_its_events_are_named(log: EventLog) -> None:
    kept, damaged, lost = [await log.blobs.put_bytes(content) for content in (b"kept", b"damaged", b"lost")]
    await log.append("session:AJ_a", [NewEvent(Said(blob=ref)) for ref in (kept, damaged, lost)])
    log.blobs.path(damaged.hash).write_bytes(b"DAMAGED")
    log.blobs.path(lost.hash).unlink()
    found = await log.verify()
    assert sorted((problem.seq, problem.what) for problem in found.problems) == [
        (2, "the blob is not what its name says"),
        (3, "the blob is missing"),
    ]
    assert (await log.verify(blobs=False)).ok
    await log.erase("session:AJ_a", "clean up")

"""Reading: cursors, filters, streams, followers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from greenroom.eventlog import EventLog, NewEvent, Record
from support.logs import Done, said

pytestmark = pytest.mark.conformance

A, B = "session:AJ_a", "session:AJ_b"
PATIENCE = 60.0


async def take(records: AsyncIterator[Record], count: int) -> list[Record]:
    found = []
    async with asyncio.timeout(PATIENCE):
        while len(found) < count:
            found.append(await anext(records))
    return found


async def fill(log: EventLog, count: int) -> None:
    """Append ``count`` events to ``A``, and after every tenth one to ``B``."""
    for first in range(0, count, 10):
        await log.append(A, [said(number=number) for number in range(first, first + 10)])
        await log.append(B, [NewEvent(Done())])


async def test_a_cursor_goes_on_where_it_was_left(log: EventLog) -> None:
    await log.append(A, [said(number=number) for number in range(25)])
    found: list[int] = []
    after = 0
    while page := await log.read(after, limit=7):
        assert len(page) <= 7
        found += [record.data.number for record in page]
        after = page[-1].position
    assert found == list(range(25))
    assert await log.read(after) == []
    assert await log.read(after + 1000) == []
    assert await log.read(limit=0) == []


async def test_only_what_is_asked_for_is_read(log: EventLog) -> None:
    await fill(log, 30)
    assert {r.stream for r in await log.read(streams=[B])} == {B}
    assert [r.stream for r in await log.read(types=["test.done"])] == [B, B, B]
    assert await log.read(streams=[A], types=["test.done"]) == []
    assert await log.read(streams=[]) == []
    assert len(await log.read(streams=[A, B])) == 33
    assert [r.data.number for r in await log.read(5, streams=[A], limit=3)] == [5, 6, 7]
    assert await log.read(types=["unheard.of"]) == []


async def test_a_long_stream_is_read_in_parts(log: EventLog) -> None:
    await fill(log, 1200)
    assert [r.seq for r in await log.read_stream(A)] == list(range(1, 1201))
    assert [r.seq for r in await log.read_stream(A, 1195)] == list(range(1196, 1201))
    for after in (0, 1, 254, 255, 256, 257, 700, 1199):
        found = await log.read_stream(A, after, limit=10)
        assert [r.seq for r in found] == list(range(after + 1, min(after + 10, 1200) + 1))
    assert await log.read_stream(A, 1200) == []
    assert await log.read_stream("session:none") == []


async def test_streams_say_where_they_end(log: EventLog) -> None:
    await fill(log, 20)
    await log.append("system:greenroom", [said()])
    last = (await log.read_stream(A))[-1]
    heads = await log.streams("session")
    assert [(head.stream, head.seq) for head in heads] == [(A, 20), (B, 2)]
    assert (heads[0].position, heads[0].hash, heads[0].recorded_at) == (last.position, last.hash, last.recorded_at)
    assert len(await log.streams()) == 3
    assert await log.streams(tenant="other") == []


async def test_a_follower_gets_what_was_and_what_comes(log: EventLog) -> None:
    await log.append(A, [said("before")])
    follower = log.follow(0)
    assert [r.data.text for r in await take(follower, 1)] == ["before"]
    waiting = asyncio.ensure_future(take(follower, 2))
    await log.append(A, [said("after")])
    await log.append(B, [said("and after")])
    assert [r.data.text for r in await waiting] == ["after", "and after"]


async def test_a_slow_follower_misses_nothing(log: EventLog) -> None:
    follower = log.follow(0)

    async def produce() -> None:
        for number in range(120):
            await log.append(A, [said(number=number * 10 + part) for part in range(10)])

    producing = asyncio.ensure_future(produce())
    found = await take(follower, 1)
    await producing
    found += await take(follower, 1199)
    assert [r.data.number for r in found] == list(range(1200))


async def test_a_follower_goes_on_after_a_restart_of_the_log(open_log: Callable[..., Any]) -> None:
    log = await open_log()
    await log.append(A, [said("one"), said("two")])
    first = (await take(log.follow(0), 1))[0]
    await log.close()
    again = await open_log()
    assert [r.data.text for r in await take(again.follow(first.position), 1)] == ["two"]


async def test_a_follower_gets_only_what_it_asked_for(log: EventLog) -> None:
    await fill(log, 50)
    assert [r.seq for r in await take(log.follow(0, types=["test.done"]), 5)] == [1, 2, 3, 4, 5]
    follower = log.follow(await log.head(), streams=[B])
    waiting = asyncio.ensure_future(take(follower, 1))
    await fill(log, 10)
    assert [(r.stream, r.seq) for r in await waiting] == [(B, 6)]


async def test_a_follower_sees_what_another_process_appends(open_log: Callable[..., Any]) -> None:
    reader, writer = await open_log(), await open_log()
    waiting = asyncio.ensure_future(take(reader.follow(0), 1))
    await writer.append(A, [said("from elsewhere")])
    assert [r.data.text for r in await waiting] == ["from elsewhere"]


async def test_followers_end_when_the_log_is_closed(open_log: Callable[..., Any]) -> None:
    log = await open_log()

    async def everything() -> list[Record]:
        return [record async for record in log.follow(0)]

    waiting = asyncio.ensure_future(everything())
    await log.append(A, [said("last")])
    await log.close()
    async with asyncio.timeout(PATIENCE):
        assert [r.data.text for r in await waiting] in ([], ["last"])

"""Erasure and retention: what is gone is gone, and the chains still verify (the fixture checks that each time)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from greenroom.eventlog import Erased, EventLog, NewEvent, StreamErased
from support.logs import Clock, Said, said

pytestmark = pytest.mark.conformance

A, B = "session:AJ_a", "session:AJ_b"
DAY = 86_400.0


async def test_an_erased_stream_keeps_its_headers_and_says_so(log: EventLog) -> None:
    await log.append(A, [said("secret", key="k1"), said("secret too")])
    await log.append(B, [said("stays")])
    assert await log.erase(A, "request 17") == Erased(events=2, blobs=0)
    one, two, note = await log.read_stream(A)
    assert (one.data, two.data) == (None, None)
    assert (one.type, one.key, one.seq) == ("test.said", "k1", 1)
    assert note.data == StreamErased(through_seq=2, events=2, reason="request 17")
    assert [r.data for r in await log.read_stream(B)] == [Said(text="stays")]


async def test_erasing_twice_changes_nothing(log: EventLog) -> None:
    await log.append(A, [said()])
    await log.erase(A, "test")
    head = await log.head()
    assert await log.erase(A, "test") == Erased()
    assert await log.erase("session:none", "test") == Erased()
    assert await log.head() == head


async def test_a_stream_can_go_on_after_its_erasure_and_be_erased_again(log: EventLog) -> None:
    await log.append(A, [said("one")])
    await log.erase(A, "first")
    await log.append(A, [said("two")])
    assert (await log.verify()).ok
    assert await log.erase(A, "second") == Erased(events=1)
    assert [r.data and type(r.data).__name__ for r in await log.read_stream(A)] == [
        None,
        "StreamErased",
        None,
        "StreamErased",
    ]


async def test_a_part_of_a_stream_is_erased(log: EventLog) -> None:
    await log.append(A, [said(number=number) for number in range(5)])
    assert await log.erase(A, "test", through_seq=3) == Erased(events=3)
    assert [r.data is None for r in await log.read_stream(A)] == [True, True, True, False, False, False]


async def test_a_long_stream_is_erased_whole(log: EventLog) -> None:
    for _ in range(11):
        await log.append(A, [said(number=number) for number in range(1000)])
    assert await log.erase(A, "test") == Erased(events=11_000)
    left = [r for r in await log.read_stream(A) if r.data is not None]
    assert {r.type for r in left} == {"stream.erased"}


async def test_a_key_is_remembered_beyond_erasure(log: EventLog) -> None:
    await log.append(A, [said(key="k1")])
    await log.erase(A, "test")
    assert (await log.append(A, [said(key="k1")])).duplicates == 1


async def test_a_tenant_erases_its_own(log: EventLog) -> None:
    await log.append(A, [said("mine")], tenant="acme")
    await log.append(A, [said("theirs")])
    await log.erase(A, "test", tenant="acme")
    assert [r.data for r in await log.read_stream(A)] == [Said(text="theirs")]


async def test_a_blob_goes_with_the_last_event_that_names_it(log: EventLog) -> None:
    shared = await log.blobs.put_bytes(b"shared")
    own = await log.blobs.put_bytes(b"own")
    await log.append(A, [NewEvent(Said(blob=shared, more=(own,)))])
    await log.append(B, [NewEvent(Said(more=(shared,)))])
    assert await log.erase(A, "test") == Erased(events=1, blobs=1)
    assert (log.blobs.holds(shared.hash), log.blobs.holds(own.hash)) == (True, False)
    assert await log.erase(B, "test") == Erased(events=1, blobs=1)
    assert not log.blobs.holds(shared.hash)


async def test_sessions_expire_whole_when_their_last_event_is_old(open_log: Callable[..., Any]) -> None:
    clock = Clock()
    log = await open_log(clock=clock)
    await log.append(A, [said("old")])
    await log.append(B, [said("old, but")])
    clock.now += 2 * DAY
    await log.append(B, [said("it went on")])
    assert await log.expire("session", DAY) == Erased(events=1)
    assert [r.data for r in await log.read_stream(A)][:1] == [None]
    assert all(r.data is not None for r in await log.read_stream(B))


async def test_streams_that_never_end_expire_event_by_event(open_log: Callable[..., Any]) -> None:
    clock = Clock()
    log = await open_log(clock=clock)
    for _ in range(4):
        await log.append("system:greenroom", [said()])
        clock.now += DAY
    assert await log.expire("system", 2.5 * DAY) == Erased(events=2)
    assert [r.data is None for r in await log.read_stream("system:greenroom")] == [True, True, False, False, False]
    assert await log.expire("system", 2.5 * DAY) == Erased()


async def test_what_has_expired_is_left_alone_from_then_on(open_log: Callable[..., Any]) -> None:
    clock = Clock()
    log = await open_log(clock=clock)
    await log.append(A, [said()])
    for _ in range(3):
        clock.now += 2 * DAY
        await log.expire("session", DAY)
    assert await log.head() == 2


async def test_a_clock_that_jumps_back_expires_nothing(open_log: Callable[..., Any]) -> None:
    clock = Clock()
    log = await open_log(clock=clock)
    await log.append(A, [said()])
    clock.now -= 1000 * DAY
    assert await log.expire("session", DAY) == Erased()


async def test_an_open_log_keeps_to_its_retention_by_itself(open_log: Callable[..., Any]) -> None:
    clock = Clock()
    log = await open_log(clock=clock)
    await log.append(A, [said("old")])
    await log.append("room:RM_c", [said("kept longer")])
    await log.close()
    clock.now += 2 * DAY
    again = await open_log(clock=clock, retention={"session": DAY, "room": 3 * DAY})
    async with asyncio.timeout(60):
        note = await anext(again.follow(0, types=["stream.erased"]))
    assert (note.stream, note.data) == (A, StreamErased(through_seq=1, events=1, reason="retention"))
    assert [r.data for r in await again.read(types=["test.said"])] == [None, Said(text="kept longer")]


@pytest.mark.parametrize("reason", ["", "two\nlines", "x" * 201])
async def test_a_reason_is_a_short_line(log: EventLog, reason: str) -> None:
    with pytest.raises(ValueError, match="reason"):
        await log.erase(A, reason)

"""Appending: order, expectations, keys, and what an answer promises."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from greenroom.eventlog import (
    Appended,
    BlobMissingError,
    BlobRef,
    ConflictError,
    EventLog,
    EventTooLargeError,
    LogClosedError,
    NewEvent,
    StreamErased,
)
from support.logs import Clock, Done, Said, said

pytestmark = pytest.mark.conformance

A, B = "session:AJ_a", "session:AJ_b"


async def test_events_stand_in_the_order_they_were_given(log: EventLog) -> None:
    done = await log.append(A, [said("one"), said("two"), NewEvent(Done())])
    assert done == Appended(first_seq=1, last_seq=3, last_position=3)
    records = await log.read()
    assert [(r.position, r.stream, r.seq, r.type, r.version) for r in records] == [
        (1, A, 1, "test.said", 1),
        (2, A, 2, "test.said", 1),
        (3, A, 3, "test.done", 1),
    ]
    assert [r.data for r in records] == [Said(text="one"), Said(text="two"), Done()]


async def test_each_stream_counts_for_itself_and_the_log_for_all(log: EventLog) -> None:
    await log.append(A, [said("a1")])
    await log.append(B, [said("b1"), said("b2")])
    assert await log.append(A, [said("a2")]) == Appended(first_seq=2, last_seq=2, last_position=4)
    assert [(r.stream, r.seq) for r in await log.read()] == [(A, 1), (B, 1), (B, 2), (A, 2)]


async def test_what_is_acknowledged_is_there_when_the_log_is_opened_again(open_log: Callable[..., Any]) -> None:
    first = await open_log()
    await first.append(A, [said("kept")])
    second = await open_log()
    assert [r.data for r in await second.read()] == [Said(text="kept")]


async def test_two_that_have_the_log_open_take_turns(open_log: Callable[..., Any]) -> None:
    logs = [await open_log(), await open_log()]

    async def talk(log: EventLog, name: str) -> None:
        for number in range(20):
            await log.append(A, [said(name, number=number)])
            await log.append(f"session:{name}", [said(name, number=number)])

    await asyncio.gather(talk(logs[0], "x"), talk(logs[1], "y"))
    records = await logs[0].read()
    assert [r.position for r in records] == list(range(1, 81))
    assert [r.seq for r in await logs[1].read_stream(A)] == list(range(1, 41))
    for name in "xy":
        assert [r.data.number for r in await logs[0].read_stream(f"session:{name}")] == list(range(20))


async def test_an_expected_version_lets_one_of_two_win(log: EventLog) -> None:
    results = await asyncio.gather(
        *(log.append(A, [said(name)], expected=0) for name in ("x", "y")), return_exceptions=True
    )
    won = [result for result in results if isinstance(result, Appended)]
    lost = [result for result in results if isinstance(result, ConflictError)]
    assert (len(won), len(lost)) == (1, 1)
    assert (lost[0].expected, lost[0].actual) == (0, 1)
    assert lost[0].fix
    assert len(await log.read()) == 1
    await log.append(A, [said("z")], expected=1)


async def test_a_refused_append_leaves_its_neighbours_alone(log: EventLog) -> None:
    results = await asyncio.gather(
        log.append(A, [said("good")]),
        log.append(B, [said("bad")], expected=7),
        log.append(A, [said("good, too")]),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [Appended, ConflictError, Appended]
    assert [r.data.text for r in await log.read()] == ["good", "good, too"]


async def test_a_key_is_stored_once(log: EventLog) -> None:
    first = await log.append(A, [said("once", key="k1")])
    again = await log.append(A, [said("once", key="k1")])
    assert again == Appended(first_seq=1, last_seq=1, last_position=first.last_position, duplicates=1)
    assert len(await log.read()) == 1


async def test_a_key_is_stored_once_when_it_comes_twice_at_once(log: EventLog) -> None:
    await asyncio.gather(*(log.append(A, [said("once", key="k1"), said("twice", key="k2")]) for _ in range(10)))
    assert [r.key for r in await log.read()] == ["k1", "k2"]


async def test_of_a_repeated_append_only_what_is_new_is_stored(log: EventLog) -> None:
    await log.append(A, [said("one", key="k1")])
    done = await log.append(A, [said("one", key="k1"), said("two", key="k2")])
    assert done == Appended(first_seq=1, last_seq=2, last_position=2, duplicates=1)
    assert [r.data.text for r in await log.read_stream(A)] == ["one", "two"]


async def test_a_repeated_append_keeps_its_expectation(log: EventLog) -> None:
    await log.append(A, [said("one", key="k1")], expected=0)
    again = await log.append(A, [said("one", key="k1")], expected=0)
    assert again.duplicates == 1
    with pytest.raises(ConflictError):
        await log.append(A, [said("one", key="k1"), said("other", key="k2")], expected=0)


async def test_keys_and_streams_belong_to_their_tenant(log: EventLog) -> None:
    for tenant in ("", "acme", "zeta"):
        done = await log.append(A, [said(tenant, key="same")], tenant=tenant)
        assert (done.first_seq, done.duplicates) == (1, 0)
    assert [r.data.text for r in await log.read(tenant="acme")] == ["acme"]
    assert [r.data.text for r in await log.read_stream(A, tenant="zeta")] == ["zeta"]
    assert [r.data.text for r in await log.read_stream(A)] == [""]
    assert [r.tenant for r in await log.read()] == ["", "acme", "zeta"]


async def test_times_are_the_producers_and_the_logs(open_log: Callable[..., Any]) -> None:
    clock = Clock(1_800_000_000.5)
    log = await open_log(clock=clock)
    await log.append(A, [said("told", at=1_700_000_000.123456), said("now")])
    told, now = await log.read()
    assert (told.at, told.recorded_at) == (1_700_000_000.123456, 1_800_000_000.5)
    assert (now.at, now.recorded_at) == (1_800_000_000.5, 1_800_000_000.5)


async def test_a_clock_that_jumps_back_changes_no_order(open_log: Callable[..., Any]) -> None:
    clock = Clock()
    log = await open_log(clock=clock)
    for text in ("one", "two", "three"):
        await log.append(A, [said(text)])
        clock.now -= 86_400
    records = await log.read()
    assert [(r.seq, r.data.text) for r in records] == [(1, "one"), (2, "two"), (3, "three")]
    assert [r.recorded_at for r in records] == sorted((r.recorded_at for r in records), reverse=True)


async def test_an_event_that_names_a_blob_waits_for_it(log: EventLog) -> None:
    with pytest.raises(BlobMissingError, match="is not stored"):
        await log.append(A, [NewEvent(Said(blob=BlobRef(hash="0" * 64, size=1)))])
    ref = await log.blobs.put_bytes(b"content")
    await log.append(A, [NewEvent(Said(blob=ref))])
    assert [r.data.blob for r in await log.read()] == [ref]


@pytest.mark.parametrize(
    ("stream", "event"),
    [
        ("no-kind", said()),
        ("session:with space", said()),
        ("session:", said()),
        ("session:x", said(key="a\nb")),
        ("session:x", said(key="k" * 300)),
        ("session:x", said(at=float("nan"))),
        ("session:x", said(at=float("inf"))),
        ("session:x", said(at=1e15)),
        ("session:x", said(at=-1e15)),
        ("session:x", NewEvent(StreamErased(through_seq=1, events=1, reason="forged"))),
    ],
)
async def test_what_cannot_be_written_is_refused_before_it_is_tried(
    log: EventLog, stream: str, event: NewEvent
) -> None:
    with pytest.raises(ValueError, match=r".+"):
        await log.append(stream, [event])
    assert await log.head() == 0


@pytest.mark.parametrize("tenant", ["a b", "x" * 65, "\udcff", "ä"])
async def test_a_tenant_is_an_opaque_word(log: EventLog, tenant: str) -> None:
    with pytest.raises(ValueError, match="no tenant"):
        await log.append(A, [said()], tenant=tenant)


async def test_nothing_to_append_is_a_mistake(log: EventLog) -> None:
    with pytest.raises(ValueError, match="nothing to append"):
        await log.append(A, [])


async def test_an_undeclared_type_is_a_mistake(log: EventLog) -> None:
    class Unknown(msgspec.Struct):
        pass

    with pytest.raises(TypeError, match="not declared"):
        await log.append(A, [NewEvent(Unknown())])


async def test_a_payload_that_is_too_large_says_where_it_belongs(log: EventLog) -> None:
    with pytest.raises(EventTooLargeError, match="as a blob"):
        await log.append(A, [said("x" * 2_000_000)])


async def test_a_closed_log_says_so(open_log: Callable[..., Any]) -> None:
    log = await open_log()
    await log.close()
    for attempt in (log.append(A, [said()]), log.read(), log.erase(A, "test")):
        with pytest.raises(LogClosedError):
            await attempt


async def test_what_was_given_before_closing_is_stored(open_log: Callable[..., Any]) -> None:
    log = await open_log()
    appends = [asyncio.ensure_future(log.append(A, [said(number=number)])) for number in range(50)]
    await asyncio.sleep(0)
    await log.close()
    assert [done.last_seq for done in await asyncio.gather(*appends)] == list(range(1, 51))
    assert await (await open_log()).head() == 50


async def test_a_cancelled_append_disturbs_no_other(log: EventLog) -> None:
    first = asyncio.ensure_future(log.append(A, [said("given up")]))
    await asyncio.sleep(0)
    first.cancel()
    await log.append(A, [said("kept")])
    assert (await log.read())[-1].data == Said(text="kept")

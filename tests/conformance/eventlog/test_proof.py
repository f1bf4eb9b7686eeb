"""A stream taken away with what proves it, checked without the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from greenroom.eventlog import Anchor, EventLog, Link, SigningKey, broken_link, is_anchored
from support.logs import said

pytestmark = pytest.mark.conformance

KEY = SigningKey(b"k" * 32)
STREAMS = [f"session:AJ_{number}" for number in range(5)]


async def fill(log: EventLog) -> None:
    for round_ in range(3):
        for stream in STREAMS[: 5 - round_]:
            await log.append(stream, [said(f"{round_}"), said("more")])
        await log.checkpoint()


async def proven(log: EventLog, stream: str) -> tuple[list[Link], Anchor]:
    anchor = await log.anchor(stream)
    assert anchor is not None
    carried = msgspec.json.encode((await log.proof(stream), anchor))
    return msgspec.json.decode(carried, type=tuple[list[Link], Anchor])


async def test_a_stream_is_proven_by_the_last_checkpoint_that_holds_it(open_log: Callable[..., Any]) -> None:
    log = await open_log(key=KEY)
    await fill(log)
    await log.append(STREAMS[0], [said("not covered yet")])
    numbers = []
    for stream in STREAMS:
        links, anchor = await proven(log, stream)
        assert broken_link(links) is None
        assert is_anchored(anchor, links, key=KEY)
        numbers.append((anchor.number, anchor.seq, len(links)))
    assert numbers == [(3, 6, 7), (3, 6, 6), (3, 6, 6), (2, 4, 4), (1, 2, 2)]


async def test_a_proof_holds_after_erasure(log: EventLog) -> None:
    await fill(log)
    await log.erase(STREAMS[1], "test")
    links, anchor = await proven(log, STREAMS[1])
    assert [link.payload is None for link in links] == [True] * 6 + [False]
    assert broken_link(links) is None
    assert is_anchored(anchor, links)


async def test_a_changed_proof_does_not_hold(open_log: Callable[..., Any]) -> None:
    log = await open_log(key=KEY)
    await fill(log)
    links, anchor = await proven(log, STREAMS[2])
    forged = [*links[:2], msgspec.structs.replace(links[2], payload='{"text":"forged"}'), *links[3:]]
    assert broken_link(forged) == forged[2]
    assert broken_link([links[0], *links[2:]]) == links[2]
    assert not is_anchored(anchor, links[:-1], key=KEY)
    assert not is_anchored(anchor, (await proven(log, STREAMS[1]))[0], key=KEY)
    for change in ({"number": 9}, {"at": 9}, {"root": "00" * 32, "path": anchor.path[1:]}, {"previous": "00" * 32}):
        assert not is_anchored(msgspec.structs.replace(anchor, **change), links, key=KEY)
    assert not is_anchored(anchor, links, key=SigningKey(b"o" * 32))


async def test_a_stream_that_no_checkpoint_holds_has_no_anchor(log: EventLog) -> None:
    await log.append(STREAMS[0], [said()])
    assert await log.anchor(STREAMS[0]) is None
    assert await log.anchor("session:none") is None
    assert await log.proof("session:none") == []

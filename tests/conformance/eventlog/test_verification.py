"""Verification of logs that are as they were written. What damage it finds is a matter of each store's own tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from greenroom.eventlog import EventLog, NewEvent, SigningKey, _writer
from support.logs import Said, said

pytestmark = pytest.mark.conformance

A, B = "session:AJ_a", "session:AJ_b"
KEY = SigningKey(b"k" * 32)
OTHER = SigningKey(b"o" * 32)


async def test_an_empty_log_verifies(log: EventLog) -> None:
    found = await log.verify()
    assert found.ok
    assert (found.events, found.streams, found.checkpoints, found.head) == (0, 0, 0, 0)


async def test_it_says_what_it_looked_at(log: EventLog) -> None:
    ref = await log.blobs.put_bytes(b"content")
    await log.append(A, [NewEvent(Said(blob=ref)), said()])
    await log.append(B, [said()])
    await log.erase(B, "test")
    assert await log.checkpoint()
    found = await log.verify()
    assert found.problems == ()
    assert (found.events, found.streams, found.erased, found.blobs) == (4, 2, 1, 1)
    assert (found.checkpoints, found.head, found.covered) == (1, 4, 4)


async def test_one_stream_is_verified_alone(log: EventLog) -> None:
    await log.append(A, [said() for _ in range(600)])
    await log.append(B, [said()])
    found = await log.verify(A)
    assert (found.ok, found.events, found.streams) == (True, 600, 1)


async def test_a_checkpoint_covers_what_has_grown_since_the_last(log: EventLog) -> None:
    await log.append(A, [said()])
    assert await log.checkpoint()
    assert not await log.checkpoint()
    await log.append(B, [said()])
    assert await log.checkpoint()
    found = await log.verify()
    assert (found.ok, found.checkpoints, found.covered) == (True, 2, 2)


@pytest.mark.parametrize(("setting", "value"), [("CHECKPOINT_EVENTS", 10), ("CHECKPOINT_SECONDS", 0.0)])
async def test_checkpoints_come_by_themselves(
    open_log: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, setting: str, value: float
) -> None:
    monkeypatch.setattr(_writer, setting, value)
    log = await open_log()
    await log.append(A, [said() for _ in range(10)])
    async with asyncio.timeout(60):
        while not (await log.verify()).checkpoints:
            pass


async def test_closing_leaves_a_checkpoint_over_everything(open_log: Callable[..., Any]) -> None:
    log = await open_log()
    await log.append(A, [said()])
    await log.close()
    found = await (await open_log()).verify()
    assert (found.checkpoints, found.covered) == (1, 1)


async def test_signatures_are_checked_with_the_key(open_log: Callable[..., Any]) -> None:
    log = await open_log(key=KEY)
    await log.append(A, [said()])
    await log.checkpoint()
    found = await log.verify(key=KEY)
    assert (found.ok, found.signed) == (True, 1)
    wrong = await log.verify(key=OTHER)
    assert [problem.what for problem in wrong.problems] == ["checkpoint 1 is not signed with this key"]
    unchecked = await log.verify()
    assert (unchecked.ok, unchecked.signed) == (True, 0)


async def test_an_unsigned_checkpoint_does_not_pass_for_a_signed_one(log: EventLog) -> None:
    await log.append(A, [said()])
    await log.checkpoint()
    assert not (await log.verify(key=KEY)).ok


async def test_a_log_verifies_while_it_grows(log: EventLog) -> None:
    await log.append(A, [said() for _ in range(3000)])
    await log.erase(A, "test", through_seq=1000)
    checking = log.verify()
    await log.append(B, [said() for _ in range(500)])
    await log.erase(A, "test")
    assert (await checking).problems == ()

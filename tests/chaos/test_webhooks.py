"""Webhooks under attack, again and again, and while the one they are for is dead."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from google.protobuf import json_format
from livekit.protocol import models, webhook
from starlette.applications import Starlette

from greenroom.config import Limits, WebhookSettings
from greenroom.eventlog import EventLog
from greenroom.grants import Claims, mint
from greenroom.httpclient import HttpClient
from greenroom.ingest import WebhookIngest
from greenroom.server import listen, serve, url_of
from support.agent_stage import agent_stage
from support.serving import KEY, serve_app

pytestmark = pytest.mark.chaos

PATH = "/webhooks/livekit"


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[EventLog]:
    async with await EventLog.open(tmp_path / "log.db") as opened:
        yield opened


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    client = HttpClient()
    yield client
    await client.aclose()


def signed(body: bytes, *, ttl: float = 300, now: float | None = None) -> dict[str, str]:
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    return {"authorization": mint(KEY, Claims(sha256=digest), ttl=ttl, now=now)}


def joined(sid: str) -> bytes:
    event = webhook.WebhookEvent(
        event="participant_joined",
        id=f"EV_{sid}",
        created_at=100,
        room=models.Room(sid="RM_1", name="lobby"),
        participant=models.ParticipantInfo(sid=sid),
    )
    return msgspec.json.encode(json_format.MessageToDict(event))


async def test_garbage_is_an_error_and_leaves_nothing(log: EventLog, http: HttpClient) -> None:
    body = joined("PA_1")
    bodies = [b"", b"[]", b"null", b"\xff" * 99, b"{" * 9999, os.urandom(4096), body[:-1]]
    strange = b'{"event": "participant_joined", "id": "EV_1", "room": {"sid": "../x:%s"}}' % (b"y" * 500)
    async with serve_app(Starlette(routes=WebhookIngest(log, [KEY]).routes())) as url:
        for each in bodies:
            for headers in ({}, {"authorization": "x"}, {"authorization": mint(KEY)}, signed(body)):
                answer = await http.request("POST", url + PATH, headers=headers, body=each)
                assert answer.status == 401, (each[:20], headers)
        # Signed, but of a room that cannot be, and of nothing at all.
        answer = await http.request("POST", url + PATH, headers=signed(strange), body=strange)
        assert answer.status == 401
        answer = await http.request("POST", url + PATH, headers=signed(b"{}"), body=b"{}")
        assert answer.status == 200
    assert await log.head() == 0


async def test_a_webhook_a_hundred_times_is_one_event(log: EventLog, http: HttpClient) -> None:
    body = joined("PA_1")
    async with serve_app(Starlette(routes=WebhookIngest(log, [KEY]).routes())) as url:
        headers = signed(body)
        answers = await asyncio.gather(
            *(http.request("POST", url + PATH, headers=headers, body=body) for _ in range(100))
        )
        assert {answer.status for answer in answers} == {200}
        late = await http.request("POST", url + PATH, headers=signed(body, ttl=300, now=1.7e9), body=body)
        assert late.status == 401
    assert [record.type for record in await log.read()] == ["room.started", "participant.joined"]


@contextlib.asynccontextmanager
async def listening(log: EventLog, port: int) -> AsyncIterator[str]:
    """Run a control plane on a port of its own."""
    ready, stop = asyncio.Event(), asyncio.Event()
    opened = listen("127.0.0.1", port)

    async def nothing() -> None:
        pass

    app = Starlette(routes=WebhookIngest(log, [KEY]).routes())
    running = asyncio.create_task(serve(app, opened, limits=Limits(), on_ready=ready.set, on_stop=nothing, stop=stop))
    try:
        await ready.wait()
        yield url_of(opened)
    finally:
        stop.set()
        await running
        opened.close()


async def test_who_is_dead_for_a_while_is_told_everything_in_order_afterwards(log: EventLog) -> None:
    async with listening(log, 0) as url:
        port = int(url.rpartition(":")[2])
    async with agent_stage(webhook=WebhookSettings(urls=(f"{url}{PATH}",))) as stage:
        for number in range(20):
            person = await stage.join("ada", f"room-{number}")
            await person.leave()
            await stage.server.rooms.delete(f"room-{number}")
        assert await log.head() == 0
        async with listening(log, port):
            finished = 0
            async for record in log.follow(0):
                finished += record.type == "room.finished"
                if finished == 20:
                    break
    by_room: dict[str, list[str]] = {}
    for record in await log.read():
        assert not record.data.inferred  # type: ignore[union-attr]
        by_room.setdefault(record.stream, []).append(record.type)
    whole = ["room.started", "participant.joined", "participant.left", "room.finished"]
    assert list(by_room.values()) == [whole] * 20

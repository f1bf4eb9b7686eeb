"""Webhooks of the embedded server on their way into the log, and what is asked when some are missing."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from livekit.protocol import models, webhook
from starlette.applications import Starlette

from greenroom.config import ApiKey, WebhookSettings
from greenroom.eventlog import EventLog, LogFullError
from greenroom.httpclient import HttpClient
from greenroom.ingest import WebhookIngest
from greenroom.ingest._webhooks import PATH
from greenroom.link import LiveKit
from support.agent_stage import AgentStage, agent_stage
from support.serving import KEY, serve_app

pytestmark = pytest.mark.conformance


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[EventLog]:
    async with await EventLog.open(tmp_path / "log.db") as opened:
        yield opened


@contextlib.asynccontextmanager
async def telling(log: EventLog, *, key: ApiKey = KEY) -> AsyncIterator[tuple[AgentStage, WebhookIngest]]:
    """A server that tells a control plane of its rooms."""
    ingest = WebhookIngest(log, [KEY])
    async with serve_app(Starlette(routes=ingest.routes())) as url:
        settings = WebhookSettings(urls=(f"{url}{PATH}",))
        async with agent_stage(keys=(key,), webhook=settings) as stage:
            yield stage, ingest
    await ingest.aclose()


def told(event: str, sid: str = "", **fields: Any) -> webhook.WebhookEvent:
    room = models.Room(sid="RM_1", name="lobby", creation_time=100)
    person = models.ParticipantInfo(sid=sid) if sid else None
    return webhook.WebhookEvent(
        event=event, id=f"EV_{event}{sid}", created_at=200, room=room, participant=person, **fields
    )


async def facts(log: EventLog) -> list[str]:
    """Return the log's events, with a question mark behind what was inferred."""
    return [f"{record.type}{'?' if record.data.inferred else ''}" for record in await log.read()]  # type: ignore[union-attr]


async def test_a_call_on_the_embedded_server_is_in_the_log(log: EventLog) -> None:
    async with telling(log) as (stage, _):
        ada = await stage.join("ada")
        await ada.leave()
        await stage.server.rooms.delete("lobby")
    records = await log.read()
    assert [record.type for record in records] == [
        "room.started",
        "participant.joined",
        "participant.left",
        "room.finished",
    ]
    assert len({record.stream for record in records}) == 1
    assert records[0].stream.startswith("room:RM_")
    assert records[1].data.message["participant"]["identity"] == "ada"  # type: ignore[union-attr]
    assert records[1].data.message["event"] == "participant_joined"  # type: ignore[union-attr]
    assert not any("ada" in record.key or "lobby" in record.key for record in records)


async def test_a_webhook_that_comes_again_adds_nothing_even_after_a_restart(log: EventLog) -> None:
    for _ in range(2):
        ingest = WebhookIngest(log, [KEY])
        for _ in range(2):
            await ingest.take(told("participant_joined", "PA_a"))
    assert await facts(log) == ["room.started?", "participant.joined"]


async def test_a_restart_in_the_middle_of_a_call_forgets_nobody(log: EventLog) -> None:
    await WebhookIngest(log, [KEY]).take(told("participant_joined", "PA_a"))
    await WebhookIngest(log, [KEY]).take(told("room_finished"))
    assert await facts(log) == ["room.started?", "participant.joined", "participant.left?", "room.finished"]


async def test_recordings_are_in_the_stream_of_their_room(log: EventLog) -> None:
    ingest = WebhookIngest(log, [KEY])
    event = webhook.WebhookEvent(event="egress_started", id="EV_1", created_at=5)
    event.egress_info.egress_id, event.egress_info.room_id = "EG_1", "RM_1"
    for _ in range(2):
        await ingest.take(event)
    (record,) = await log.read()
    assert (record.stream, record.type, record.at) == ("room:RM_1", "egress.started", 5.0)


async def test_what_was_missed_is_found_by_asking(log: EventLog) -> None:
    async with agent_stage() as stage:
        livekit = LiveKit(stage.url, KEY)
        ingest = WebhookIngest(log, [KEY], livekit)
        ada = await stage.join("ada")
        assert await ingest.compare() == 2
        assert await ingest.compare() == 0
        await ada.leave()
        assert await ingest.compare() == 1
        await stage.server.rooms.delete("lobby")
        assert await ingest.compare() == 1
        assert await ingest.compare() == 0
        await ingest.aclose()
        await livekit.aclose()
    assert await facts(log) == ["room.started?", "participant.joined?", "participant.left?", "room.finished?"]


async def test_a_room_that_ended_while_nobody_listened_is_finished(log: EventLog) -> None:
    await WebhookIngest(log, [KEY]).take(told("participant_joined", "PA_a"))
    async with agent_stage() as stage:
        livekit = LiveKit(stage.url, KEY)
        assert await WebhookIngest(log, [KEY], livekit).compare() == 2
        await livekit.aclose()
    assert await facts(log) == ["room.started?", "participant.joined", "participant.left?", "room.finished?"]


async def test_a_server_that_dropped_events_is_asked(log: EventLog) -> None:
    async with agent_stage() as stage:
        livekit = LiveKit(stage.url, KEY)
        ingest = WebhookIngest(log, [KEY], livekit)
        await stage.join("ada")
        room = stage.server.rooms.get("lobby")
        assert room is not None
        event = webhook.WebhookEvent(event="room_started", id="EV_1", created_at=1, room=room.info(), num_dropped=1)
        await ingest.take(event)
        async for record in log.follow(0):
            if record.type == "participant.joined":
                break
        await ingest.aclose()
        await livekit.aclose()
    assert await facts(log) == ["room.started", "participant.joined?"]


async def test_a_wrong_key_is_refused_and_nothing_is_stored(log: EventLog) -> None:
    async with telling(log, key=ApiKey(key="devkey", secret="another")) as (stage, ingest):
        stage.server.rooms.create("lobby")
    assert await log.head() == 0
    assert ingest.heard_at is None


async def test_a_body_that_is_too_large_is_refused(log: EventLog) -> None:
    async with serve_app(Starlette(routes=WebhookIngest(log, [KEY]).routes())) as url:
        http = HttpClient()
        response = await http.request("POST", f"{url}{PATH}", body=bytes(1024 * 1024 + 1))
        assert response.status == 413
        await http.aclose()


async def test_what_could_not_be_stored_is_asked_for_again(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    append, failures = log.append, iter([True])

    async def failing(*arguments: Any, **options: Any) -> Any:
        if next(failures, False):
            raise LogFullError("The disk is full")
        return await append(*arguments, **options)

    monkeypatch.setattr(log, "append", failing)
    async with telling(log) as (stage, _):
        stage.server.rooms.create("lobby")
        async for record in log.follow(0):
            assert record.type == "room.started"
            break
    assert await facts(log) == ["room.started", "room.finished"]

"""The embedded server's webhooks, taken by LiveKit's own receiver."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from livekit.protocol import models, rtc, webhook

from greenroom._media import FakeEngine
from greenroom.config import ApiKey, ServerConfig, WebhookSettings
from greenroom.server import Server
from support.agent_stage import AgentStage, agent_stage
from support.serving import KEY, running_server
from support.signal_client import SignalClient, token
from support.webhook_receiver import Receiver, receiving

pytestmark = [
    pytest.mark.conformance,
    # The development secret is as short as it is.
    pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning"),
]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as made:
        yield made


def told(receiver: Receiver, **options: Any) -> dict[str, Any]:
    return {"webhook": WebhookSettings(urls=(receiver.url,), **options)}


async def call(stage: AgentStage, room: str = "lobby") -> None:
    """One whole call of one person."""
    alice = await stage.join("alice", room)
    await alice.leave()
    await stage.server.rooms.delete(room)


async def publish(client: SignalClient, cid: str, name: str) -> str:
    """Publish a track; returns its sid."""
    await client.send(add_track=rtc.AddTrackRequest(cid=cid, name=name, source=models.TrackSource.MICROPHONE))
    sid = (await client.receive("track_published")).track_published.track.sid
    sdp = client.peer.offer(more=[("audio", "sendonly", cid)])
    await client.send(offer=rtc.SessionDescription(type="offer", sdp=sdp, id=2))
    await client.receive("answer", lambda answer: answer.id == 2)
    return sid


async def test_a_call_is_told_from_its_beginning_to_its_end(receiver: Receiver) -> None:
    async with agent_stage(**told(receiver)) as stage:
        alice = await stage.join("alice", name="Alice")
        room = stage.server.rooms.get("lobby")
        assert room is not None
        sid = room.sid
        await alice.leave()
        await stage.server.rooms.delete("lobby")
        started, joined, left, finished = await receiver.count(4)
    assert receiver.names == ["room_started", "participant_joined", "participant_left", "room_finished"]
    assert {event.room.sid for event in receiver.events} == {sid}
    assert (started.room.name, started.room.empty_timeout) == ("lobby", 300)
    assert (joined.participant.identity, joined.participant.name) == ("alice", "Alice")
    assert joined.participant.state == models.ParticipantInfo.ACTIVE
    assert left.participant.disconnect_reason == models.CLIENT_INITIATED
    assert finished.room_end_reason == models.ROOM_END_API_DELETE
    assert len({event.id for event in receiver.events}) == 4
    assert all(event.id.startswith("EV_") and event.created_at for event in receiver.events)


async def test_a_request_looks_like_livekits(receiver: Receiver) -> None:
    async with agent_stage(**told(receiver)) as stage:
        stage.server.rooms.create("lobby")
        await receiver.count(1)
    request = receiver.requests[0]
    assert request.headers["content-type"] == "application/webhook+json"
    assert request.headers["user-agent"] == "LiveKit"
    assert not request.headers["authorization"].startswith("Bearer")
    body = json.loads(receiver.attempts[0])
    assert body["event"] == "room_started"
    assert body["createdAt"] == str(receiver.events[0].created_at)
    assert body["room"]["emptyTimeout"] == 300


async def test_somebody_who_never_arrives_is_told_as_aborted(receiver: Receiver) -> None:
    config = ServerConfig(keys=(KEY,), port=0, rtc_port=0, **told(receiver))
    async with running_server(FakeEngine(), config) as (server, url):
        client = await SignalClient.open(url, token("alice"), server=server)
        await client.close()
        await receiver.until(lambda: "participant_connection_aborted" in receiver.names)
    aborted = receiver.events[receiver.names.index("participant_connection_aborted")]
    assert aborted.participant.identity == "alice"
    assert "participant_left" not in receiver.names


async def test_tracks_are_told_with_what_identifies_their_room_and_owner(receiver: Receiver) -> None:
    async with agent_stage(**told(receiver, include=("track_*",))) as stage:
        alice = await stage.join("alice")
        sid = await publish(alice, "mic", "m")
        await alice.leave()
        published, unpublished = await receiver.count(2)
    assert receiver.names == ["track_published", "track_unpublished"]
    assert published.track.sid == unpublished.track.sid == sid
    assert (published.track.name, published.track.type) == ("m", models.AUDIO)
    assert published.participant.identity == "alice"
    assert not published.participant.state
    assert (published.room.name, published.room.empty_timeout) == ("lobby", 0)


async def test_a_failed_event_comes_again_as_it_was_and_before_the_next() -> None:
    def answer(event: webhook.WebhookEvent, attempt: int) -> int:
        return 503 if event.event == "participant_joined" and attempt == 1 else 200

    async with receiving(answer=answer) as receiver, agent_stage(**told(receiver)) as stage:
        await call(stage)
        await receiver.count(4)
        assert receiver.names == ["room_started", "participant_joined", "participant_left", "room_finished"]
        repeats = [body for body in receiver.attempts if b'"participant_joined"' in body]
        assert len(repeats) == 2
        assert repeats[0] == repeats[1]


async def test_an_event_that_is_refused_is_not_sent_again_and_the_next_tells_of_it() -> None:
    def answer(event: webhook.WebhookEvent, _attempt: int) -> int:
        return 400 if event.event == "participant_joined" else 200

    async with receiving(answer=answer) as receiver, agent_stage(**told(receiver)) as stage:
        await call(stage)
        await receiver.count(3)
        assert [event.num_dropped for event in receiver.events] == [0, 1, 0]
        assert len(receiver.attempts) == 4


async def test_a_receiver_that_does_not_answer_delays_neither_rooms_nor_other_rooms(receiver: Receiver) -> None:
    async with agent_stage(**told(receiver)) as stage:
        receiver.open.clear()
        for number in range(5):
            await call(stage, f"room-{number}")
        await receiver.until(lambda: len(receiver.attempts) == 5)
        receiver.open.set()
        await receiver.count(20)
    by_room: dict[str, list[str]] = {}
    for event in receiver.events:
        by_room.setdefault(event.room.sid, []).append(event.event)
    whole = ["room_started", "participant_joined", "participant_left", "room_finished"]
    assert list(by_room.values()) == [whole] * 5


async def test_connections_are_used_again(receiver: Receiver) -> None:
    async with agent_stage(**told(receiver)) as stage:
        await call(stage)
        await receiver.count(4)
    assert len(receiver.peers) == 1


async def test_the_end_of_the_server_is_told_before_it_stops(receiver: Receiver) -> None:
    async with agent_stage(**told(receiver)) as stage:
        await stage.join("alice")
    assert receiver.names == ["room_started", "participant_joined", "participant_left", "room_finished"]
    assert receiver.events[-1].room_end_reason == models.ROOM_END_SERVER_SHUTDOWN


async def test_a_receiver_that_is_gone_does_not_hold_up_the_end() -> None:
    async with receiving() as receiver:
        settings = told(receiver)
    async with agent_stage(**settings) as stage:
        stage.server.rooms.create("lobby")
    assert stage.server._webhooks is not None
    assert stage.server._webhooks._couriers[0].outbox.size == 0


async def test_each_url_is_told_at_its_own_pace_with_the_key_that_was_chosen() -> None:
    other = ApiKey(key="hooks", secret="a secret of the receiver's")
    async with receiving(other) as quick, receiving(other) as slow:
        slow.open.clear()
        urls = (quick.url, slow.url)
        settings = WebhookSettings(urls=urls, api_key="hooks", exclude=("participant_*",))
        async with agent_stage(keys=(KEY, other), webhook=settings) as stage:
            await call(stage)
            await quick.count(2)
            assert slow.names == []
            slow.open.set()
            await slow.count(2)
        assert quick.names == slow.names == ["room_started", "room_finished"]
        assert [event.id for event in quick.events] == [event.id for event in slow.events]


async def test_a_private_address_is_not_told_unless_that_is_allowed(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    # A name that leads to this machine: its own ports are as private as its neighbours'.
    hidden = WebhookSettings(urls=(receiver.url.replace("127.0.0.1", "127.1"),))
    config = ServerConfig(keys=(ApiKey(key="k", secret="s"),), bind="0.0.0.0", webhook=hidden)
    with caplog.at_level(logging.WARNING, "greenroom.server.webhooks"):
        server = Server(config, FakeEngine())
        server.rooms.create("lobby")
        await server.stop()
    assert receiver.attempts == []
    assert "private network" in caplog.records[-1].why
    assert "--webhook-allow-private" in caplog.records[-1].why


async def test_a_private_address_that_is_allowed_is_told() -> None:
    key = ApiKey(key="k", secret="s")
    async with receiving(key) as receiver:
        config = ServerConfig(keys=(key,), bind="0.0.0.0", **told(receiver, allow_private=True))
        server = Server(config, FakeEngine())
        server.rooms.create("lobby")
        await server.stop()
        assert receiver.names == ["room_started", "room_finished"]


async def test_a_server_that_tells_nobody_does_not_load_what_it_would_take() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import sys, greenroom.server._app; print('greenroom.server.webhooks' in sys.modules)",
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert output.strip() == b"False"

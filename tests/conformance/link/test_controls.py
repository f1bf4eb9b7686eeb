"""What an operator may do to a live call of a stock agent, and that all of it is in the log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from greenroom._media import EngineConfig, Str0mEngine
from greenroom.config import RoomDefaults
from greenroom.errors import GreenroomError
from greenroom.eventlog import EventLog, LogFullError
from greenroom.link import Call, Controls, LinkError, LiveKit, ObservePolicy, Observer, When
from support.agent_stage import AgentStage, agent_stage
from support.agent_worker import KEY
from support.sdk import callers
from support.serving import running_server
from support.session_stage import SessionStage, session_stage
from support.signal_client import token
from support.sound import Ear, tone

pytestmark = pytest.mark.conformance


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[EventLog]:
    async with await EventLog.open(tmp_path / "log.db") as opened:
        yield opened


@pytest.fixture
async def sessions(tmp_path: Path) -> AsyncIterator[SessionStage]:
    # What an operator does, may be done where nobody else may.
    async with session_stage(tmp_path, room=RoomDefaults(protect_agent_sessions=True)) as running:
        yield running


@pytest.fixture
async def stage() -> AsyncIterator[AgentStage]:
    async with agent_stage() as running:
        yield running


@pytest.fixture
async def livekit(stage: AgentStage) -> AsyncIterator[LiveKit]:
    made = LiveKit(stage.url, KEY)
    yield made
    await made.aclose()


async def acts(log: EventLog, call: Call) -> list[tuple[str, str]]:
    """Return what was done to a call, and by whom."""
    records = await log.read_stream(f"session:{call.job_id}")
    return [(record.type, record.data.by) for record in records if record.type.startswith("control.")]  # type: ignore[union-attr]


async def in_room(stage: AgentStage) -> Call:
    """Bring an agent without a session into the lobby."""
    worker = await stage.worker("desk")
    stage.server.agents.create_dispatch("lobby", agent_name="desk")
    assignment = await worker.assignment()
    await stage.start(assignment)
    return Call(job_id=assignment.job.id, room="lobby", agent_identity=f"agent-{assignment.job.id}")


async def test_an_operator_listens_types_mutes_and_ends(sessions: SessionStage, log: EventLog) -> None:
    caller, bot, call = await sessions.call()
    observer = Observer(sessions.livekit, log.append)
    controls = Controls(sessions.livekit, observer, log.append)
    observer.began(call)
    try:
        items = await controls.type(call, "book a table for 4", by="olga")
        assert items[-1]["message"]["content"] == [{"text": "You have a table for 4."}]
        assert "function_call" in items[0]
        for muted in (True, False):
            assert await controls.mute(call, muted=muted, by="olga") == "session"

        listening = await controls.listen(call, by="olga")
        listener = await sessions.make().connect(listening.url, listening.token)
        assert listener.me.identity == listening.identity
        assert bot.identity in listener.room.remote_participants
        assert listening.identity not in caller.room.remote_participants

        await controls.end(call, by="olga")
        await caller.event("disconnected")
        await listener.event("disconnected")
        assert await sessions.livekit.list_rooms() == []
    finally:
        await observer.aclose()
    verbs = ["control.type", "control.mute", "control.mute", "control.listen", "control.end"]
    assert await acts(log, call) == [(verb, "olga") for verb in verbs]


async def test_a_listener_may_only_listen_and_does_not_keep_the_room(
    stage: AgentStage, livekit: LiveKit, log: EventLog
) -> None:
    call = await in_room(stage)
    listening = await Controls(livekit, None, log.append).listen(call, by="olga", ttl=60)
    listener = await stage.knock(listening.token)
    await listener.receive("join")
    participant = next(each for each in stage.server.rooms.participants if each.identity == listening.identity)
    permission = participant.permission
    assert (permission.hidden, permission.can_subscribe) == (True, True)
    assert not any((permission.can_publish, permission.can_publish_data, permission.can_update_metadata))
    assert participant.dependent


async def test_a_listener_hears_the_call(log: EventLog) -> None:
    async with running_server(Str0mEngine(EngineConfig())) as (_, url), callers() as make, tone(440, 0.25) as track:
        ada = await make().connect(url, token("ada", key=KEY))
        livekit = LiveKit(url, KEY)
        call = Call(job_id="AJ_test", room="lobby", agent_identity="agent-AJ_test")
        listening = await Controls(livekit, None, log.append).listen(call, by="olga")
        await livekit.aclose()
        listener = await make().connect(listening.url, listening.token)
        await ada.me.publish_track(track)
        heard, _, _ = await listener.event("track_subscribed")
        ear = Ear(heard)
        await ear.hears(440, 0.25)
        await ear.close()
        assert not ada.room.remote_participants


async def test_the_agent_alone_can_be_sent_away(stage: AgentStage, livekit: LiveKit, log: EventLog) -> None:
    ada = await stage.join("ada")
    call = await in_room(stage)
    await Controls(livekit, None, log.append).end(call, by="olga", scope="agent")
    room = stage.server.rooms.get("lobby")
    assert room is not None
    assert set(room.participants) == {"ada"}
    assert ada.join.room.sid == room.sid


async def test_what_fails_is_in_the_log_too(stage: AgentStage, livekit: LiveKit, log: EventLog) -> None:
    call = await in_room(stage)
    observer = Observer(livekit, log.append, ObservePolicy(when=When.NEVER))
    controls = Controls(livekit, observer, log.append)
    with pytest.raises(LinkError, match="switched off"):
        await controls.type(call, "hello", by="olga")
    with pytest.raises(LinkError, match="no voice"):
        await controls.mute(call, muted=True, by="olga")
    with pytest.raises(LinkError, match="nothing to say"):
        await controls.type(call, "  ", by="olga")
    assert [verb for verb, _ in await acts(log, call)] == [
        "control.type",
        "control.failed",
        "control.mute",
        "control.failed",
    ]
    await observer.aclose()


async def test_nothing_is_done_that_cannot_be_put_into_the_log(stage: AgentStage, livekit: LiveKit) -> None:
    call = await in_room(stage)

    async def full(*_: object) -> None:
        raise LogFullError("The disk is full")

    with pytest.raises(GreenroomError, match="disk is full"):
        await Controls(livekit, None, full).end(call, by="olga")
    assert stage.server.rooms.get("lobby") is not None

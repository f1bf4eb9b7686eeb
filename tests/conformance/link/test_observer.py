"""The observer beside a stock agent, in LiveKit's own SDK, in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from livekit.protocol.agent_pb import agent_session as pb

from greenroom.config import RoomDefaults
from greenroom.eventlog import EventLog, Record
from greenroom.link import LinkError, NotFoundError, ObservePolicy, Observer, When
from support.session_stage import PATIENCE, SessionStage, session_stage

pytestmark = pytest.mark.conformance


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[SessionStage]:
    async with session_stage(tmp_path, room=RoomDefaults(departure_timeout=2)) as running:
        yield running


@pytest.fixture
async def log(tmp_path: Path) -> AsyncIterator[EventLog]:
    async with await EventLog.open(tmp_path / "log.db") as opened:
        yield opened


@contextlib.asynccontextmanager
async def observing(stage: SessionStage, log: EventLog, **policy: object) -> AsyncIterator[Observer]:
    observer = Observer(stage.livekit, log.append, ObservePolicy(**policy))
    try:
        yield observer
    finally:
        await observer.aclose()


async def found(log: EventLog, job_id: str, kind: str, **fields: object) -> Record:
    """Wait for an event of the session."""

    def fits(record: Record) -> bool:
        return record.type == kind and all(getattr(record.data, name) == value for name, value in fields.items())

    async with asyncio.timeout(PATIENCE):
        async for record in log.follow(0, streams=[f"session:{job_id}"]):
            if fits(record):
                return record
    raise AssertionError("the log was closed")


async def said(log: EventLog, job_id: str) -> list[tuple[str, str]]:
    """Return the messages in the log: role and text."""
    messages = [
        record.data.message["message"]  # type: ignore[union-attr]
        for record in await log.read_stream(f"session:{job_id}")
        if record.type == "item.added" and "message" in record.data.message  # type: ignore[union-attr]
    ]
    return [(message["role"], message["content"][0]["text"]) for message in messages]


async def told(log: EventLog, job_id: str, text: str) -> None:
    """Wait until the agent has said something."""
    async with asyncio.timeout(PATIENCE):
        async for record in log.follow(0, streams=[f"session:{job_id}"]):
            if record.type == "item.added" and ("ASSISTANT", text) in await said(log, job_id):
                return


async def test_a_session_that_is_watched_is_in_the_log_word_for_word(stage: SessionStage, log: EventLog) -> None:
    _, _, call = await stage.call()
    async with observing(stage, log) as observer:
        observer.began(call)
        with observer.watching(call.job_id):
            observed = await found(log, call.job_id, "session.observed")
            assert (observed.data.reason, observed.data.framework) == ("watched", "python")  # type: ignore[union-attr]
            assert observed.data.framework_version.startswith("1.8")  # type: ignore[union-attr]
            await found(log, call.job_id, "agent.state", state="listening")
            request = pb.SessionRequest(run_input=pb.SessionRequest.RunInput(text="book a table for 4"))
            answer = await observer.ask(call.job_id, request)
            assert answer.run_input.items[-1].message.content[0].text == "You have a table for 4."
            await found(log, call.job_id, "tools.executed")
            await told(log, call.job_id, "You have a table for 4.")
            await observer.flush()
        conversation = await said(log, call.job_id)
        assert conversation[0] == ("ASSISTANT", "Welcome.")
        assert ("USER", "book a table for 4") in conversation
        assert conversation[-1] == ("ASSISTANT", "You have a table for 4.")
        assert len(conversation) == 3
        kinds = {record.type for record in await log.read_stream(f"session:{call.job_id}")}
        assert {"agent.state", "item.added", "tool.updated", "tools.executed"} <= kinds
        with pytest.raises(NotFoundError):
            observer.watching("AJ_nobody").__enter__()


async def test_a_room_with_an_observer_empties_and_ends_on_time(stage: SessionStage, log: EventLog) -> None:
    caller, bot, call = await stage.call()
    async with observing(stage, log, when=When.ALWAYS) as observer:
        observer.began(call)
        await found(log, call.job_id, "session.observed")
        room = stage.server.rooms.get("lobby")
        assert room is not None
        hidden = [each for each in room.participants.values() if each.hidden]
        assert [each.is_agent for each in hidden] == [True]
        # Nobody hears of it, no agent is sent for it, and it is not counted.
        assert set(caller.room.remote_participants) == {bot.identity}
        assert room.info().num_participants == 1
        jobs = [job for each in stage.server.agents.list_dispatch("lobby") for job in each.state.jobs if job.agent_name]
        assert [job.id for job in jobs] == [call.job_id]
        await caller.room.disconnect()
        left = stage.server.rooms.clock()
        await stage.until(lambda: stage.server.rooms.get("lobby") is None)
        assert room.end_reason
        assert room._last_left is not None
        assert stage.server.rooms.clock() - max(left, room._last_left) < room.departure_timeout + 3
        await found(log, call.job_id, "session.detached")


async def test_the_agent_is_linked_to_the_caller_not_to_the_observer(stage: SessionStage, log: EventLog) -> None:
    """The observer is there before the caller, and the agent still waits for the caller's text."""
    call = await stage.agent()
    async with observing(stage, log, when=When.ALWAYS) as observer:
        observer.began(call)
        await found(log, call.job_id, "session.observed")
        caller, _ = await stage.caller(call)
        await caller.me.send_text("when are you open", topic="lk.chat")
        await told(log, call.job_id, "From noon to ten.")


async def test_an_observer_that_is_killed_comes_back_and_misses_nothing(stage: SessionStage, log: EventLog) -> None:
    caller, _, call = await stage.call()
    async with observing(stage, log, when=When.ALWAYS) as observer:
        observer.began(call)
        await found(log, call.job_id, "session.observed", resumed=False)
        assert observer.pid is not None
        os.kill(observer.pid, signal.SIGKILL)
        await stage.until(lambda: not observer.observed)
        await caller.me.send_text("when are you open", topic="lk.chat")
        await found(log, call.job_id, "session.observed", resumed=True)
        await told(log, call.job_id, "From noon to ten.")
        conversation = await said(log, call.job_id)
        assert len(conversation) == len(set(conversation)) == 3


async def test_one_process_listens_to_many_rooms_and_stops_when_nobody_looks(
    stage: SessionStage, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("greenroom.link._observer_process.IDLE", 0.5)
    calls = [(await stage.call(f"room-{number}", identity=f"p{number}"))[2] for number in range(3)]
    async with observing(stage, log, linger=0.1) as observer:
        with contextlib.ExitStack() as looking:
            for call in calls:
                observer.began(call)
                looking.enter_context(observer.watching(call.job_id))
            await stage.until(lambda: len(observer.observed) == 3)
        await stage.until(lambda: not observer.observed)
        for call in calls:
            await found(log, call.job_id, "session.detached", reason="unwatched")
        await stage.until(lambda: observer.pid is None)


async def test_a_stream_that_is_never_closed_does_not_silence_the_agent(
    stage: SessionStage, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stock agent reads one stream after the other; the server ends the one that stalls."""
    monkeypatch.setattr("greenroom.server.data._sessions.STALLED", 1.0)
    caller, _, call = await stage.call()
    await caller.me.stream_bytes(name="stuck", topic="lk.agent.session")
    async with observing(stage, log) as observer:
        observer.began(call)
        answer = await observer.ask(call.job_id, pb.SessionRequest(ping=pb.SessionRequest.Ping()))
        assert answer.HasField("pong")


async def test_a_policy_of_never_means_it(stage: SessionStage, log: EventLog) -> None:
    _, _, call = await stage.call()
    async with observing(stage, log, when=When.NEVER) as observer:
        observer.began(call)
        with observer.watching(call.job_id):
            assert observer.pid is None
        with pytest.raises(LinkError, match="switched off"):
            await observer.ask(call.job_id, pb.SessionRequest(ping=pb.SessionRequest.Ping()))
    assert await log.head() == 0
